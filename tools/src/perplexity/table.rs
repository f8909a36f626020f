//! Several models beside a base, a line each.

use std::io::Write;

use super::report::{Facts, Report, Row};
use super::statistics::Percent;
use crate::failure::Result;

const HEADS: [&str; 10] = [
    "model",
    "MiB",
    "bits/weight",
    "perplexity",
    "ratio",
    "KL, mean",
    "KL, 99 %",
    "RMS Δp",
    "same top",
    "prefill, tokens/s",
];

impl Report {
    /// The table, in columns or in Markdown.
    pub fn print_table(&self, markdown: bool, out: &mut dyn Write) -> Result<()> {
        let rows: Vec<_> = self.models.iter().chain([&self.base]).map(cells).collect();
        let head = HEADS.map(str::to_owned);
        let width = |i: usize| {
            let cells = rows.iter().chain([&head]).filter_map(|row| row.get(i));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
        for (i, row) in [&head].into_iter().chain(&rows).enumerate() {
            writeln!(out, "{}", line(row, &widths, markdown))?;
            if i == 0 && markdown {
                writeln!(out, "|---|{}", "---:|".repeat(HEADS.len() - 1))?;
            }
        }
        let Report { tokens, windows, .. } = self;
        Ok(writeln!(
            out,
            "\n{tokens} tokens scored in {windows} windows; KL in nats, ± standard errors"
        )?)
    }
}

fn line(row: &[String], widths: &[usize], markdown: bool) -> String {
    let cells = row.iter().zip(widths).enumerate().map(|(i, (cell, &width))| match (i, markdown) {
        (0, true) => cell.replace('|', "\\|"),
        (_, true) => cell.clone(),
        (0, false) => format!("{cell:<width$}"),
        (_, false) => format!("{cell:>width$}"),
    });
    let cells: Vec<String> = cells.collect();
    if markdown { format!("| {} |", cells.join(" | ")) } else { cells.join("  ") }
}

fn cells(row: &Row) -> [String; 10] {
    let Row { facts, prefill_tokens_per_second, perplexity, perplexity_error, .. } = row;
    let Facts { model, bytes, bits_per_weight } = facts;
    let versus = row.versus.as_ref();
    let dash = || "–".to_owned();
    let kl_99 = versus.and_then(|versus| versus.kl_percentiles.get(&Percent(99_000)));
    [
        if versus.is_some() { model.clone() } else { format!("{model} (base)") },
        format!("{:.1}", *bytes as f64 / f64::from(1 << 20)),
        format!("{bits_per_weight:.2}"),
        format!("{perplexity:.3} ± {perplexity_error:.3}"),
        versus.map_or_else(dash, |versus| format!("{:.4}", versus.perplexity_ratio.mean)),
        versus
            .map_or_else(dash, |versus| format!("{:.5} ± {:.5}", versus.kl.mean, versus.kl.error)),
        kl_99.map_or_else(dash, |value| format!("{value:.4}")),
        versus.map_or_else(dash, |versus| format!("{:.2} %", versus.dp_rms.mean * 100.0)),
        versus.map_or_else(dash, |versus| format!("{:.2} %", versus.same_top.mean * 100.0)),
        format!("{prefill_tokens_per_second:.0}"),
    ]
}
