//! The picture on a terminal.

use std::io::Write;

use super::Picture;
use super::colours::{LEVELS, LIGHT, PALETTE, level, range};
use crate::failure::Result;
use crate::streams::Paint;

/// Marks of levels, where there are no colours; the first has none.
const MARKS: [&str; LEVELS] = ["", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"];

/// The text, each line behind its bits per byte; then what the colours mean, and the totals.
pub fn print(picture: &Picture, paint: Paint, out: &mut dyn Write) -> Result<()> {
    for line in &picture.lines {
        match line.bits_per_byte() {
            Some(bits) => write!(out, "{bits:>6.2} │ ")?,
            None => write!(out, "{:>6} │ ", "")?,
        }
        for piece in &line.pieces {
            match picture.tokens[piece.token].bits() {
                Some(bits) => write!(out, "{}", painted(&piece.text, level(bits), paint))?,
                None => write!(out, "{}", piece.text)?,
            }
        }
        writeln!(out)?;
    }
    write!(out, "\nbits per byte of a line │ surprisal in bits:")?;
    for level in 0..LEVELS {
        write!(out, " {}", painted(&format!(" {} ", range(level)), level, paint))?;
    }
    writeln!(out)?;
    let totals = picture.totals().map(|(name, value)| format!("{name} {value}"));
    Ok(writeln!(out, "{}: {}", picture.title, totals.join(", "))?)
}

fn painted(text: &str, level: usize, paint: Paint) -> String {
    let bytes = |rgb: u32| {
        let [_, r, g, b] = rgb.to_be_bytes();
        format!("{r};{g};{b}")
    };
    match (level, paint) {
        (_, Paint::None) => format!("{text}{}", MARKS[level]),
        (0, _) => text.to_string(),
        (_, Paint::Palette) => {
            let (background, white) = PALETTE[level];
            let front = if white { 231 } else { 16 };
            format!("\x1b[38;5;{front};48;5;{background}m{text}\x1b[0m")
        }
        (_, Paint::True) => {
            let (background, front) = LIGHT[level];
            format!("\x1b[38;2;{};48;2;{}m{text}\x1b[0m", bytes(front), bytes(background))
        }
    }
}
