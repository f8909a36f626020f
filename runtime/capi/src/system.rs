//! What belongs to the caller's thread and must not change: errno, and the floating-point state.

/// errno as it was when this was made, and again when it is dropped.
pub(crate) struct Errno(i32);

impl Errno {
    pub fn keep() -> Errno {
        Errno(errno::get())
    }
}

impl Drop for Errno {
    fn drop(&mut self) {
        errno::set(self.0);
    }
}

/// Rounding to nearest, no flushing to zero, no traps, until it is dropped; the caller's state then.
pub(crate) struct FloatState(float::State);

impl FloatState {
    pub fn standard() -> FloatState {
        let state = FloatState(float::get());
        float::set(float::STANDARD);
        state
    }

    /// Runs something of the caller's in the caller's state.
    pub fn with_callers<R>(&self, work: impl FnOnce() -> R) -> R {
        float::set(self.0);
        let result = work();
        float::set(float::STANDARD);
        result
    }
}

impl Drop for FloatState {
    fn drop(&mut self) {
        float::set(self.0);
    }
}

#[cfg(all(
    feature = "std",
    any(target_os = "linux", target_os = "android", target_vendor = "apple")
))]
mod errno {
    unsafe extern "C" {
        #[cfg_attr(target_os = "linux", link_name = "__errno_location")]
        #[cfg_attr(target_os = "android", link_name = "__errno")]
        #[cfg_attr(target_vendor = "apple", link_name = "__error")]
        fn location() -> *mut i32;
    }

    pub fn get() -> i32 {
        // SAFETY: the C library gives the address of this thread's errno, which is always there.
        unsafe { *location() }
    }

    pub fn set(value: i32) {
        // SAFETY: as in `get`.
        unsafe { *location() = value };
    }
}

/// Elsewhere errno is left to the standard library; without it, nothing touches errno.
#[cfg(not(all(
    feature = "std",
    any(target_os = "linux", target_os = "android", target_vendor = "apple")
)))]
mod errno {
    pub fn get() -> i32 {
        0
    }

    pub fn set(_: i32) {}
}

#[cfg(target_arch = "x86_64")]
mod float {
    use core::arch::asm;

    /// MXCSR.
    pub type State = u32;
    /// Round to nearest, all exceptions masked.
    pub const STANDARD: State = 0x1f80;

    pub fn get() -> State {
        let mut state: State = 0;
        // SAFETY: stores MXCSR where it is told to.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut state, options(nostack, preserves_flags)) };
        state
    }

    pub fn set(state: State) {
        // SAFETY: the state was read from MXCSR or is the standard one, so no reserved bit is set.
        // Nothing of this library computes with floats in any state but the standard one.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &state, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod float {
    use core::arch::asm;

    /// FPCR.
    pub type State = u64;
    /// Round to nearest, no trap enabled.
    pub const STANDARD: State = 0;

    pub fn get() -> State {
        let state: State;
        // SAFETY: reads a register.
        unsafe { asm!("mrs {}, fpcr", out(reg) state, options(nomem, nostack, preserves_flags)) };
        state
    }

    pub fn set(state: State) {
        // SAFETY: the state was read from FPCR or is the standard one. Nothing of this library
        // computes with floats in any state but the standard one.
        unsafe { asm!("msr fpcr, {}", in(reg) state, options(nostack, preserves_flags)) };
    }
}

/// Elsewhere the caller's state is used as it is.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod float {
    #[derive(Clone, Copy)]
    pub struct State;
    pub const STANDARD: State = State;

    pub fn get() -> State {
        State
    }

    pub fn set(_: State) {}
}
