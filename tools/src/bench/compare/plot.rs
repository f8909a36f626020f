//! The plot: rooflines (Williams, Waterman and Patterson 2009), and every result as a share of its
//! limit.
//!
//! A roofline says how many multiply-adds a second a machine admits, depending on how many of them
//! there are for each byte that is read: reading limits to the left of the ridge, where decoding is,
//! multiplying to its right, where prefill is. Both axes are logarithmic. The lower part shows the
//! same distances from the limit on a linear axis, with the numbers.

use super::super::measure::Test;
use super::table::{Comparison, Line};
use crate::svg::{Anchor, COLOURS, Canvas, Point, Scale};

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 56.0;
/// Of the axes of a roofline.
const PANEL: Point = (370.0, 250.0);
const PANEL_STEP: Point = (470.0, 330.0);
/// Of a line of text, and of a row of results.
const LINE: f64 = 20.0;
/// Where the axis of shares begins and ends.
const SHARES: (f64, f64) = (390.0, 770.0);
/// As much of a model's name is shown.
const NAME: usize = 34;

/// The whole plot, as an SVG file.
pub fn draw(comparison: &Comparison) -> String {
    let peers = comparison.programs.iter().skip(1).map(|program| program.name.as_str());
    let title = match peers.collect::<Vec<_>>() {
        peers if peers.is_empty() => super::MOTE.to_owned(),
        peers => format!("{} beside {}", super::MOTE, peers.join(", ")),
    };
    let mut plot = Plot { canvas: Canvas::default(), comparison, models: Vec::new() };
    for line in &comparison.results {
        if !plot.models.contains(&line.model.as_str()) {
            plot.models.push(&line.model);
        }
    }
    plot.canvas.text((MARGIN, 32.0), Anchor::Start, "title", &title);
    plot.canvas.text((MARGIN, 52.0), Anchor::Start, "small", comparison.method());
    let y = plot.legend(78.0);
    let y = plot.rooflines(y + LINE);
    let y = plot.shares(y + 2.0 * LINE);
    plot.canvas.finish((WIDTH, y + LINE), &title)
}

struct Plot<'a> {
    canvas: Canvas,
    comparison: &'a Comparison,
    /// Each once; its place is its form.
    models: Vec<&'a str>,
}

impl<'a> Plot<'a> {
    /// Colours are programs, forms are models. Each part gets the height to begin at, and returns
    /// the one where it ends.
    fn legend(&mut self, y: f64) -> f64 {
        let mut x = MARGIN;
        for (place, program) in self.comparison.programs.iter().enumerate() {
            self.canvas.mark((x + 5.0, y - 4.0), 0, &colour(place), &program.name);
            self.canvas.text((x + 15.0, y), Anchor::Start, "", &program.name);
            x += 40.0 + 7.5 * program.name.chars().count() as f64;
        }
        for (form, model) in self.models.iter().enumerate() {
            let column = MARGIN + (form % 2) as f64 * PANEL_STEP.0;
            let y = y + LINE * (1 + form / 2) as f64;
            self.canvas.mark((column + 5.0, y - 4.0), form, "form", model);
            self.canvas.text((column + 15.0, y), Anchor::Start, "", model);
        }
        y + LINE * (1 + self.models.len().div_ceil(2)) as f64
    }

    /// One for each number of threads, all with the same axes.
    fn rooflines(&mut self, y: f64) -> f64 {
        let results = &self.comparison.results;
        let mut threads: Vec<usize> = results.iter().map(|line| line.threads).collect();
        threads.sort_unstable();
        threads.dedup();
        let points = results.iter().flat_map(|line| points(line).map(|(_, point)| point));
        let ridges = results.iter().filter_map(|line| Some(Roof::of(line)?.ridge()));
        let all: Vec<Point> = points.chain(ridges).collect();
        let Some((x_range, y_range)) =
            range(all.iter().map(|p| p.0)).zip(range(all.iter().map(|p| p.1)))
        else {
            return y;
        };
        for (place, &threads) in threads.iter().enumerate() {
            let left = MARGIN + (place % 2) as f64 * PANEL_STEP.0;
            let top = y + LINE + (place / 2) as f64 * PANEL_STEP.1;
            let axes = Axes {
                x: Scale { values: x_range, places: (left, left + PANEL.0) },
                y: Scale { values: y_range, places: (top + PANEL.1, top) },
            };
            self.panel(threads, &axes);
        }
        y + PANEL_STEP.1 * threads.len().div_ceil(2) as f64
    }

    fn panel(&mut self, threads: usize, axes: &Axes) {
        self.grid(threads, axes);
        let lines = || self.comparison.results.iter().filter(move |line| line.threads == threads);
        let roofs: Vec<Roof> = lines().filter_map(Roof::of).collect();
        // Each model was measured with its own: the highest roof is the machine's.
        let read = roofs.iter().map(|roof| roof.read).fold(0.0, f64::max);
        let multiply = roofs.iter().map(|roof| roof.multiply).fold(0.0, f64::max);
        let roof = Roof { read, multiply };
        if !roofs.is_empty() {
            let (left, right) = axes.x.values;
            let (ridge, low) = (roof.ridge(), axes.y.values.0);
            let foot = left.max(low / read);
            let corners = [(foot, read * foot), ridge, (right, multiply)];
            self.canvas.line("roof", &corners.map(|corner| axes.at(corner)));
            let label = format!("multiply in cache: {multiply:.0} GMAC/s");
            let (x, y) = axes.at((right, multiply));
            self.canvas.text((x, y - 6.0), Anchor::End, "small", label);
            let (x, y) = axes.at((foot, read * foot));
            self.canvas.text(
                (x + 24.0, y),
                Anchor::Start,
                "small",
                format!("read: {read:.1} GB/s"),
            );
        }
        for line in lines() {
            let form = self.models.iter().position(|model| *model == line.model).unwrap_or(0);
            let places: Vec<Point> = points(line).map(|(_, point)| axes.at(point)).collect();
            self.canvas.line("strip", &places);
            // mote last, so that nothing covers it.
            for (program, point) in points(line).collect::<Vec<_>>().into_iter().rev() {
                let name = &self.comparison.programs[program].name;
                let title = format!("{name}: {}, {}, {:.1} GMAC/s", line.model, line.test, point.1);
                self.canvas.mark(axes.at(point), form, &colour(program), title);
            }
        }
        self.labels(threads, axes);
    }

    /// Each test once, beside mote's first point of it; with its speed if there is one model alone.
    fn labels(&mut self, threads: usize, axes: &Axes) {
        let mut labels: Vec<(Test, Point)> = Vec::new();
        for line in self.comparison.results.iter().filter(|line| line.threads == threads) {
            let Some((_, point)) = points(line).find(|(program, _)| *program == 0) else {
                continue;
            };
            if labels.iter().any(|(test, _)| *test == line.test) {
                continue;
            }
            let (x, mut y) = axes.at(point);
            // Below those that are already there.
            while labels.iter().any(|(_, (a, b))| (a - x).abs() < 110.0 && (b - y).abs() < 13.0) {
                y += 13.0;
            }
            labels.push((line.test, (x, y)));
            let text = match line.speeds.first().and_then(|speed| speed.median()) {
                Some(speed) if self.models.len() == 1 => format!("{}, {speed:.0}/s", line.test),
                _ => line.test.to_string(),
            };
            let left = x < (axes.x.places.0 + axes.x.places.1) / 2.0;
            let (dx, anchor) = if left { (10.0, Anchor::Start) } else { (-10.0, Anchor::End) };
            self.canvas.text((x + dx, y + 4.0), anchor, "small", text);
        }
    }

    fn grid(&mut self, threads: usize, axes: &Axes) {
        let ((left, right), (bottom, top)) = (axes.x.places, axes.y.places);
        let title = in_threads(threads);
        self.canvas.text((left, top - 10.0), Anchor::Start, "head", title);
        for tick in axes.x.ticks() {
            let x = axes.x.log(tick);
            self.canvas.line("grid", &[(x, bottom), (x, top)]);
            self.canvas.text((x, bottom + 16.0), Anchor::Middle, "small", tick);
        }
        for tick in axes.y.ticks() {
            let y = axes.y.log(tick);
            self.canvas.line("grid", &[(left, y), (right, y)]);
            self.canvas.text((left - 6.0, y + 4.0), Anchor::End, "small", tick);
        }
        self.canvas.line("axis", &[(left, top), (left, bottom), (right, bottom)]);
        let below = (right, bottom + 34.0);
        self.canvas.text(
            below,
            Anchor::End,
            "small",
            "multiply-adds for each byte of weights and cache",
        );
        self.canvas.text(
            (right, top - 10.0),
            Anchor::End,
            "small",
            "10⁹ multiply-adds a second (GMAC/s)",
        );
    }

    /// Every result of every program beside its limit.
    fn shares(&mut self, y: f64) -> f64 {
        let results = &self.comparison.results;
        let shares = results.iter().flat_map(|line| shares(line).map(|(_, share)| share));
        let most = shares.fold(1.0, f64::max) * 1.02;
        let scale = Scale { values: (0.0, most), places: SHARES };
        self.canvas.text((MARGIN, y), Anchor::Start, "head", "Share of the limit");
        let bottom = y + LINE * (results.len() as f64 + 1.0);
        for percent in [0, 25, 50, 75, 100] {
            let x = scale.linear(f64::from(percent) / 100.0);
            let class = if percent == 100 { "roof" } else { "grid" };
            self.canvas.line(class, &[(x, y + 6.0), (x, bottom)]);
            self.canvas.text((x, y), Anchor::Middle, "small", format!("{percent} %"));
        }
        for (row, line) in results.iter().enumerate() {
            self.share_row(line, y + LINE * (row as f64 + 1.0), &scale);
        }
        bottom
    }

    fn share_row(&mut self, line: &'a Line, y: f64, scale: &Scale) {
        let name: String = line.model.chars().take(NAME).collect();
        let label = format!("{}, {}", line.test, in_threads(line.threads));
        self.canvas.text((MARGIN, y + 4.0), Anchor::Start, "", name);
        self.canvas.text((SHARES.0 - 12.0, y + 4.0), Anchor::End, "", label);
        self.canvas.line("strip", &[(SHARES.0, y), (SHARES.1, y)]);
        for (program, share) in shares(line).collect::<Vec<_>>().into_iter().rev() {
            let name = &self.comparison.programs[program].name;
            let speed = line.speeds[program].median().unwrap_or(0.0);
            let title = format!("{name}: {speed:.1} tokens/s, {:.0} % of the limit", share * 100.0);
            let form = self.models.iter().position(|model| *model == line.model).unwrap_or(0);
            self.canvas.mark((scale.linear(share), y), form, &colour(program), title);
        }
        if let Some(speed) = line.speeds.first().and_then(|speed| speed.median()) {
            let ratio = line.ratio.map_or(String::new(), |ratio| format!(", {ratio:.2} ×"));
            let text = format!("{speed:.1} tokens/s{ratio}");
            self.canvas.text((SHARES.1 + 12.0, y + 4.0), Anchor::Start, "", text);
        }
    }
}

fn in_threads(n: usize) -> String {
    format!("{n} {}", if n == 1 { "thread" } else { "threads" })
}

fn colour(program: usize) -> String {
    format!("c{}", program % COLOURS)
}

/// What was measured beside a result: 10^9 bytes and multiply-adds a second.
#[derive(Clone, Copy)]
struct Roof {
    read: f64,
    multiply: f64,
}

impl Roof {
    fn of(line: &Line) -> Option<Roof> {
        let (read, multiply) = (line.read_bytes_per_second?, line.multiply_adds_per_second?);
        Some(Roof { read: read / 1e9, multiply: multiply / 1e9 })
    }

    /// Where reading and multiplying take the same time.
    fn ridge(&self) -> Point {
        (self.multiply / self.read, self.multiply)
    }
}

/// Programs and their places in the roofline: multiply-adds a byte, 10^9 multiply-adds a second.
fn points(line: &Line) -> impl Iterator<Item = (usize, Point)> {
    let macs = line.multiply_adds_per_token;
    medians(line)
        .map(move |(program, speed)| (program, (macs / line.bytes_per_token, speed * macs / 1e9)))
}

/// Programs and their shares of the limit.
fn shares(line: &Line) -> impl Iterator<Item = (usize, f64)> {
    let limit = line.limit_tokens_per_second;
    medians(line).filter_map(move |(program, speed)| Some((program, speed / limit?)))
}

fn medians(line: &Line) -> impl Iterator<Item = (usize, f64)> {
    let speeds = line.speeds.iter().enumerate();
    speeds.filter_map(|(program, speed)| Some((program, speed.median()?)))
}

/// The range of an axis with some room beside all values.
fn range(values: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    let low = values.clone().reduce(f64::min)?;
    let high = values.reduce(f64::max)?;
    Some((low / 1.8, high * 1.8)).filter(|(low, high)| *low > 0.0 && high.is_finite())
}

struct Axes {
    x: Scale,
    y: Scale,
}

impl Axes {
    fn at(&self, (x, y): Point) -> Point {
        (self.x.log(x), self.y.log(y))
    }
}
