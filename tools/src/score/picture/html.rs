//! The picture as a page that needs nothing else: styles and script are in it.

use std::fmt::Write;

use super::colours::{DARK, LEVELS, LIGHT, level, range, rules};
use super::text::{Line, Piece, Token, brief};
use super::{Picture, bits};
use crate::svg::escaped;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Bits per byte that fill the bar beside a line.
const FULL: f64 = 4.0;

/// The file. (Well-formed as XML, too; writing to a string cannot fail.)
pub fn page(picture: &Picture) -> String {
    let mut page = String::new();
    let title = escaped(&picture.title);
    let (light, dark) = (rules(&LIGHT, "background", "color"), rules(&DARK, "background", "color"));
    let _ = write!(
        page,
        r#"<!DOCTYPE html>
<html lang="en" xmlns="http://www.w3.org/1999/xhtml">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{title}: surprisal</title>
<style>
{STYLE}{light}@media (prefers-color-scheme:dark){{
{dark}}}
</style>
</head>
<body>
"#
    );
    header(picture, &mut page);
    page.push_str("<main>\n");
    for line in &picture.lines {
        write_line(picture, line, &mut page);
    }
    let _ = write!(
        page,
        "<footer>Beside each line its bits per byte. The first token is not scored. ␣ ↵ ⇥ are blanks, \
         line ends and tabs; ◌ is a part of a character.</footer>\n</main>\n\
         <div id=\"tip\" hidden=\"hidden\"></div>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    );
    page
}

fn header(picture: &Picture, page: &mut String) {
    let (title, subtitle) = (escaped(&picture.title), escaped(&picture.subtitle));
    let _ = writeln!(page, "<header>\n<h1>{title}</h1>\n<p class=\"sub\">{subtitle}</p>\n<dl>");
    for (name, value) in picture.totals() {
        let _ = writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    page.push_str("</dl>\n<p class=\"legend\">Surprisal in bits");
    for level in 0..LEVELS {
        let _ = write!(page, " <span class=\"s{level}\">{}</span>", escaped(&range(level)));
    }
    page.push_str("</p>\n</header>\n");
}

fn write_line(picture: &Picture, line: &Line, page: &mut String) {
    match line.bits_per_byte() {
        Some(bits) => {
            let full = (bits / FULL).clamp(0.0, 1.0) * 100.0;
            let _ = write!(page, "<div class=\"l\"><i style=\"--b:{full:.0}%\">{bits:.2}</i><p>");
        }
        None => page.push_str("<div class=\"l\"><i></i><p>"),
    }
    for piece in &line.pieces {
        write_piece(&picture.tokens[piece.token], piece, page);
    }
    page.push_str("</p></div>\n");
}

fn write_piece(token: &Token, piece: &Piece, page: &mut String) {
    let text = escaped(&piece.text);
    let class = match token.bits() {
        _ if token.bytes == 0 => "x".to_string(),
        Some(bits) => format!("s{}", level(bits)),
        None => "s0".to_string(),
    };
    let _ = match data(token) {
        Some(data) => {
            write!(page, "<span class=\"{class}\" data-d=\"{}\">{text}</span>", escaped(&data))
        }
        None => write!(page, "<span class=\"{class}\">{text}</span>"),
    };
}

/// `[id, text, p, bits, rank, [[text, p], ...]]`
fn data(token: &Token) -> Option<String> {
    let thought = token.thought.as_ref()?;
    let top = token.alternatives.iter().zip(&thought.top);
    let top: Vec<_> = top.map(|(text, (_, ln_p))| (text, short(libm::exp(*ln_p)))).collect();
    let text = if token.bytes == 0 { token.text.clone() } else { brief(token.text.as_bytes()) };
    let (p, bits) = (short(libm::exp(thought.ln_p)), short(bits(thought.ln_p).min(1e4)));
    serde_json::to_string(&(token.id, text, p, bits, thought.rank, top)).ok()
}

/// Four digits.
fn short(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}
