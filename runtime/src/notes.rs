//! What a host may want to know, in one macro for both loggers: the `log` crate's on a system, defmt's
//! on a board. Without their features nothing is left of it.

/// `note!(debug, "{} tokens", n)`: a level, a text with `{}` for each value, the values. A value is a
/// number, a `bool` or a `&str`: what both loggers can write.
macro_rules! note {
    ($level:ident, $($message:tt)+) => {{
        $crate::notes::to_log!($level, $($message)+);
        $crate::notes::to_defmt!($level, $($message)+);
    }};
}

#[cfg(feature = "log")]
macro_rules! to_log {
    ($level:ident, $($message:tt)+) => {
        ::log::$level!($($message)+)
    };
}

#[cfg(not(feature = "log"))]
macro_rules! to_log {
    ($($message:tt)+) => {};
}

#[cfg(feature = "defmt")]
macro_rules! to_defmt {
    ($level:ident, $($message:tt)+) => {
        ::defmt::$level!($($message)+)
    };
}

#[cfg(not(feature = "defmt"))]
macro_rules! to_defmt {
    ($($message:tt)+) => {};
}

pub(crate) use {note, to_defmt, to_log};
