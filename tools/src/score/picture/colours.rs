//! Surprisal as colours: from none over yellow to red, for light and for dark pages.

use std::fmt::Write;

/// Surprisals in bits at which a new level begins.
pub const STEPS: [f64; 9] = [0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 9.0, 12.0, 16.0];

/// Levels: one more.
pub const LEVELS: usize = STEPS.len() + 1;

/// The level of a surprisal.
pub fn level(bits: f64) -> usize {
    STEPS.iter().take_while(|&&step| bits >= step).count()
}

/// `< 0.5`, `0.5–1`, ..., `≥ 16`
pub fn range(level: usize) -> String {
    match (level.checked_sub(1).and_then(|i| STEPS.get(i)), STEPS.get(level)) {
        (None, Some(end)) => format!("< {end}"),
        (Some(start), Some(end)) => format!("{start}–{end}"),
        (Some(start), None) => format!("≥ {start}"),
        (None, None) => String::new(),
    }
}

/// Background and text, red, green and blue.
pub type Colours = (u32, u32);

/// On a light page. The first level has none.
pub const LIGHT: [Colours; LEVELS] = [
    (0xffffff, 0x1f2328),
    (0xfff8dc, 0x1f2328),
    (0xffefb8, 0x1f2328),
    (0xffe08c, 0x1f2328),
    (0xffcb6e, 0x1f2328),
    (0xffb15c, 0x1f2328),
    (0xfc9452, 0x1f2328),
    (0xf2744b, 0x1f2328),
    (0xd44a43, 0xffffff),
    (0x9c2340, 0xffffff),
];

/// On a dark one: the more surprising, the brighter.
pub const DARK: [Colours; LEVELS] = [
    (0x15181c, 0xdfe3e8),
    (0x2a2618, 0xdfe3e8),
    (0x3b331a, 0xe6e8ea),
    (0x51421b, 0xf0f0f0),
    (0x6b501d, 0xf6f4f0),
    (0x875a20, 0xffffff),
    (0xa55f27, 0xffffff),
    (0xd9703a, 0x15181c),
    (0xf28d63, 0x15181c),
    (0xffb8a0, 0x15181c),
];

/// Backgrounds from the 256 of xterm, and whether the text on them is white.
pub const PALETTE: [(u8, bool); LEVELS] = [
    (231, false),
    (230, false),
    (229, false),
    (222, false),
    (221, false),
    (215, false),
    (209, false),
    (203, false),
    (160, true),
    (88, true),
];

/// A style's rules for `.s0`, `.s1` and so on; `background` and `text` are the properties' names.
pub fn rules(colours: &[Colours; LEVELS], background: &str, text: &str) -> String {
    let mut rules = String::new();
    for (level, (back, front)) in colours.iter().enumerate() {
        let _ = match level {
            0 => writeln!(rules, ".s0{{{background}:transparent}}"),
            _ => writeln!(rules, ".s{level}{{{background}:#{back:06x};{text}:#{front:06x}}}"),
        };
    }
    rules
}
