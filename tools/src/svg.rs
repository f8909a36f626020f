//! As much of SVG as plots and coloured texts need. Text stays text, nothing outside is referred to, and colours
//! follow the reader's light or dark page.

use std::fmt::{Display, Write};

/// A place, from the upper left corner.
pub type Point = (f64, f64);

/// Where a text stands relative to its place.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// How many colours there are for programs; more of them begin again.
pub const COLOURS: usize = 6;

/// How many forms there are for models; more of them begin again.
const FORMS: usize = 6;

/// Colours that colour-blind people can tell apart (Okabe and Ito 2008), `.cN`.
const STYLE: &str = "
text{font:12px system-ui,sans-serif;fill:#222}
.title{font-size:17px;font-weight:600}.head{font-weight:600}.small{font-size:11px;fill:#555}
.page{fill:#fff}.grid{stroke:#e4e4e4}.axis{stroke:#888}.strip{stroke:#bbb}
.roof{stroke:#222;stroke-width:1.6;fill:none}
.c0{fill:#0072b2}.c1{fill:#d55e00}.c2{fill:#009e73}.c3{fill:#cc79a7}.c4{fill:#b8860b}.c5{fill:#777}
.form{fill:#555}
@media (prefers-color-scheme:dark){
text{fill:#e8e8e8}.small{fill:#aaa}.page{fill:#181a1b}.grid{stroke:#303436}.axis{stroke:#888}
.strip{stroke:#555}.roof{stroke:#e8e8e8}.c0{fill:#56b4e9}.c4{fill:#e6b422}.c5{fill:#aaa}.form{fill:#bbb}}
";

/// A picture in the making. Writing to a string cannot fail.
#[derive(Debug, Default)]
pub struct Canvas(String);

impl Canvas {
    /// A line of text in some class of the style.
    pub fn text(&mut self, (x, y): Point, anchor: Anchor, class: &str, text: impl Display) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(&text.to_string());
        let _ = writeln!(
            self.0,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        );
    }

    /// Straight lines through some points.
    pub fn line(&mut self, class: &str, points: &[Point]) {
        let mut list = String::new();
        for (x, y) in points {
            let _ = write!(list, " {x:.1},{y:.1}");
        }
        let _ =
            writeln!(self.0, r#"<polyline class="{class}" fill="none" points="{}"/>"#, list.trim());
    }

    /// A mark of one of the forms; pointing at it shows `title`.
    pub fn mark(&mut self, (x, y): Point, form: usize, class: &str, title: impl Display) {
        const R: f64 = 5.0;
        let title = escaped(&title.to_string());
        let path = match form % FORMS {
            0 => format!("M{:.1} {y:.1}a5 5 0 1 0 10 0a5 5 0 1 0-10 0z", x - R),
            1 => format!("M{:.1} {:.1}h9v9h-9z", x - 4.5, y - 4.5),
            2 => format!("M{x:.1} {:.1}l6 6-6 6-6-6z", y - 6.0),
            3 => format!("M{x:.1} {:.1}l6 10h-12z", y - 6.0),
            4 => format!("M{x:.1} {:.1}l6-10h-12z", y + 6.0),
            _ => format!("M{:.1} {:.1}h4v4h4v4h-4v4h-4v-4h-4v-4h4z", x - 2.0, y - 6.0),
        };
        let _ =
            writeln!(self.0, r#"<path class="{class}" d="{path}"><title>{title}</title></path>"#);
    }

    /// A piece of markup of a form of its own: whoever makes it escapes the texts in it.
    pub fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
        self.0.push('\n');
    }

    /// The whole file, a plot.
    pub fn finish(self, size: Point, title: &str) -> String {
        self.finish_styled(size, title, STYLE)
    }

    /// The whole file with another style.
    pub fn finish_styled(self, (width, height): Point, title: &str, style: &str) -> String {
        let title = escaped(title);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" role="img">
<title>{title}</title><style>{style}</style>
<rect class="page" width="100%" height="100%"/>
{}</svg>
"#,
            self.0
        )
    }
}

/// What XML and HTML read as text, between tags or in quotation marks of either kind. Characters that
/// have no place there are left out.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')) {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// From values to places along an axis.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The least and the greatest value.
    pub values: (f64, f64),
    /// Where they are.
    pub places: (f64, f64),
}

impl Scale {
    /// On a linear axis.
    pub fn linear(&self, value: f64) -> f64 {
        let ((low, high), (from, to)) = (self.values, self.places);
        from + (value - low) / (high - low) * (to - from)
    }

    /// On a logarithmic axis.
    pub fn log(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        Scale { values: (low.ln(), high.ln()), ..*self }.linear(value.ln())
    }

    /// Round values of a logarithmic axis: 1, 2 and 5 times the powers of ten.
    pub fn ticks(&self) -> Vec<f64> {
        let (low, high) = self.values;
        let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let round =
            powers.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
        round.filter(|tick| (low..=high).contains(tick)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis() {
        let scale = Scale { values: (0.5, 50.0), places: (100.0, 300.0) };
        assert!((scale.log(5.0) - 200.0).abs() < 1e-9);
        assert_eq!(scale.ticks(), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
    }

    #[test]
    fn text_cannot_become_markup() {
        let mut canvas = Canvas::default();
        canvas.text((1.0, 2.0), Anchor::End, "small", "a<b>&\u{1b}c");
        let file = canvas.finish((10.0, 20.0), "<title>");
        assert!(file.contains(">a&lt;b&gt;&amp;c</text>"), "{file}");
        assert!(file.contains("<title>&lt;title&gt;</title>"), "{file}");
    }
}
