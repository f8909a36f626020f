//! The picture as SVG: for documents, where no script runs.

use std::fmt::Write;

use super::colours::{DARK, LEVELS, LIGHT, level, range, rules};
use super::text::{Token, brief};
use super::{Picture, percent};
use crate::svg::{Anchor, Canvas, escaped};

/// Cells of a row, and a cell's size: of a font that is as wide as 0.6 of its height.
const COLUMNS: usize = 96;
const CELL: f64 = 8.4;
const ROW: f64 = 24.0;
const MARGIN: f64 = 24.0;
/// Where the text begins: left of it stand the lines' bits per byte.
const LEFT: f64 = MARGIN + 52.0;
const WIDTH: f64 = LEFT + COLUMNS as f64 * CELL + MARGIN;

const STYLE: &str = "
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1f2328}
.title{font:600 18px system-ui,sans-serif}.small{font:12px system-ui,sans-serif;fill:#6a737d}
.page{fill:#fff}.rule{stroke:#e3e6ea}.x{fill:#6a737d}.frame{fill:none;stroke:#e3e6ea}
";
const STYLE_DARK: &str = "
text{fill:#dfe3e8}.small,.x{fill:#8d96a0}.page{fill:#15181c}.rule,.frame{stroke:#2c3138}
";

/// The file.
pub fn drawing(picture: &Picture) -> String {
    let mut canvas = Canvas::default();
    canvas.text((MARGIN, 36.0), Anchor::Start, "title", &picture.title);
    canvas.text((MARGIN, 56.0), Anchor::Start, "small", &picture.subtitle);
    let totals = picture.totals().map(|(name, value)| format!("{name} {value}"));
    canvas.text((MARGIN, 76.0), Anchor::Start, "small", totals.join(", "));
    legend(&mut canvas, 92.0);
    canvas.line("rule", &[(MARGIN, 128.0), (WIDTH - MARGIN, 128.0)]);
    let mut pen = Pen { canvas, column: 0, top: 140.0 };
    for line in &picture.lines {
        if let Some(bits) = line.bits_per_byte() {
            let place = (LEFT - 12.0, pen.top + 16.0);
            pen.canvas.text(place, Anchor::End, "small", format_args!("{bits:.2}"));
        }
        for piece in &line.pieces {
            pen.write(&piece.text, &picture.tokens[piece.token]);
        }
        pen.next_row();
    }
    let height = pen.top + MARGIN;
    pen.canvas.finish_styled((WIDTH, height), &picture.title, &style())
}

/// What stands in a token's box has its class, too.
fn style() -> String {
    let rules = |colours| {
        let boxes = rules(colours, "fill", "color");
        let front = |(level, (_, front)): (usize, &(u32, u32))| {
            format!("text.t{level}{{fill:#{front:06x}}}\n")
        };
        boxes + &colours.iter().enumerate().map(front).collect::<String>()
    };
    let (light, dark) = (rules(&LIGHT), rules(&DARK));
    format!("{STYLE}{light}@media (prefers-color-scheme:dark){{{STYLE_DARK}{dark}}}\n")
}

fn legend(canvas: &mut Canvas, top: f64) {
    canvas.text((MARGIN, top + 15.0), Anchor::Start, "small", "surprisal in bits");
    let mut x = MARGIN + 110.0;
    for level in 0..LEVELS {
        let text = range(level);
        let width = 18.0 + 7.5 * text.chars().count() as f64;
        let class = if level == 0 { "frame".to_string() } else { format!("s{level}") };
        canvas.raw(&format!(
            r#"<rect class="{class}" x="{x:.1}" y="{top:.1}" width="{width:.1}" height="22" rx="4"/>"#
        ));
        let class = format!("small t{level}");
        canvas.text((x + width / 2.0, top + 15.0), Anchor::Middle, &class, text);
        x += width + 4.0;
    }
}

/// Where the next character comes.
struct Pen {
    canvas: Canvas,
    column: usize,
    top: f64,
}

impl Pen {
    /// A token, in as many rows as it needs. One that fits in a row is not divided.
    fn write(&mut self, text: &str, token: &Token) {
        let cells: usize = text.chars().map(cells).sum();
        if self.column > 0 && self.column + cells > COLUMNS && cells <= COLUMNS {
            self.next_row();
        }
        let mut part = String::new();
        let mut width = 0;
        for c in text.chars() {
            if self.column + width + self::cells(c) > COLUMNS {
                self.part(&part, width, token);
                part.clear();
                width = 0;
                self.next_row();
            }
            part.push(c);
            width += self::cells(c);
        }
        self.part(&part, width, token);
    }

    /// Characters of one row.
    fn part(&mut self, text: &str, cells: usize, token: &Token) {
        if cells == 0 {
            return;
        }
        let x = |column: usize| LEFT + column as f64 * CELL;
        let level = token.bits().map_or(0, level);
        let (left, width, top) = (x(self.column), cells as f64 * CELL - 1.0, self.top);
        let mut group = format!("<g><title>{}</title>", escaped(&describe(token)));
        let _ = write!(
            group,
            r#"<rect class="s{level}" x="{left:.1}" y="{top:.1}" width="{width:.1}" height="22" rx="3"/>"#
        );
        // Blanks at the ends are places: XML might drop them.
        let blanks = text.len() - text.trim_start_matches(' ').len();
        let inner = text.trim_matches(' ');
        if !inner.is_empty() {
            let class = if token.bytes == 0 { "x".to_string() } else { format!("t{level}") };
            let (x, y) = (x(self.column + blanks), top + 16.0);
            let length = inner.chars().map(self::cells).sum::<usize>() as f64 * CELL;
            let _ = write!(
                group,
                r#"<text class="{class}" x="{x:.1}" y="{y:.1}" textLength="{length:.1}" xml:space="preserve">{}</text>"#,
                escaped(inner)
            );
        }
        group.push_str("</g>");
        self.canvas.raw(&group);
        self.column += cells;
    }

    fn next_row(&mut self) {
        self.column = 0;
        self.top += ROW;
    }
}

/// What pointing at a token shows.
fn describe(token: &Token) -> String {
    let Token { id, text, bytes, thought, alternatives } = token;
    let text = if *bytes == 0 { text.clone() } else { brief(text.as_bytes()) };
    let Some(thought) = thought else { return format!("{text} (token {id}, not scored)") };
    let (p, bits, rank) = (percent(thought.ln_p), super::bits(thought.ln_p), thought.rank);
    let others = alternatives.iter().zip(&thought.top);
    let others: Vec<_> = others.map(|(text, (_, p))| format!("{text} {}", percent(*p))).collect();
    format!("{text} (token {id}): {p}, {bits:.2} bits, rank {rank}; {}", others.join(", "))
}

/// Cells of a monospaced font: two of East Asian characters and emoji.
fn cells(c: char) -> usize {
    match u32::from(c) {
        0x300..0x370 | 0x200d | 0xfe00..0xfe10 => 0,
        0x1100..0x1160
        | 0x2e80..0xa4d0
        | 0xac00..0xd7a4
        | 0xf900..0xfb00
        | 0xfe30..0xfe70
        | 0xff00..0xff61
        | 0xffe0..0xffe7
        | 0x1f300..0x1f650
        | 0x1f900..0x1fa00
        | 0x20000..0x40000 => 2,
        _ => 1,
    }
}
