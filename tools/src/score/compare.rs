//! `mote score --compare`: minimal pairs, which differ in what is asked about and in nothing else.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use mote_formats::gguf::Text;
use mote_runtime::AnyModel;
use mote_runtime::tokenizer::Tokenizer;
use serde::Serialize;

use super::align::{Step, align};
use crate::cli::write_json;
use crate::failure::{Code, Failure, Result};
use crate::input;
use crate::sentences::{Computing, Frame, Scored, SentenceOptions, lines, with_scorer};
use crate::streams::Streams;

/// Options of `--compare`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Minimal pairs")]
pub struct CompareOptions {
    /// Which of two sentences is more probable, by how much, and by which of their tokens
    #[arg(
        long,
        num_args = 2,
        value_names = ["FIRST", "SECOND"],
        conflicts_with_all = ["bits", "prompt", "file", "pairs"],
        conflicts_with_all = super::RAW
    )]
    pub compare: Option<Vec<OsString>>,
    /// The same for every line of a file: FIRST TAB SECOND, or FIRST TAB SECOND TAB GROUP. The first
    /// is the one that should be more probable
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["bits", "prompt", "file"],
        conflicts_with_all = super::RAW
    )]
    pub pairs: Option<PathBuf>,
}

/// Two sentences, and what they are an example of.
#[derive(Clone, Debug, PartialEq)]
struct Pair {
    texts: [Vec<u8>; 2],
    group: Option<String>,
}

#[derive(Serialize)]
struct Report {
    pairs: Vec<PairReport>,
    summary: Summary,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<Group>,
}

#[derive(Serialize)]
struct PairReport {
    first: String,
    second: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// ln p of each sentence.
    ln: [f64; 2],
    tokens: [usize; 2],
    /// ln p(first) - ln p(second).
    difference: f64,
    /// The same of the means over each sentence's tokens.
    difference_per_token: f64,
    aligned: Vec<Row>,
}

/// Tokens side by side; one of them is missing where the other sentence has none.
#[derive(Serialize)]
struct Row {
    tokens: [Option<String>; 2],
    ln: [Option<f64>; 2],
    /// ln p of the first token less ln p of the second; a missing one counts as 0.
    difference: f64,
}

/// How often the first sentence of a pair is the more probable one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Summary {
    pairs: usize,
    /// Share of pairs whose first sentence is more probable.
    accuracy: f64,
    /// The same by the mean of a token.
    accuracy_per_token: f64,
    mean_difference: f64,
}

#[derive(Serialize)]
struct Group {
    group: String,
    #[serde(flatten)]
    summary: Summary,
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// Which pairs.
    pub options: &'a CompareOptions,
    /// What stands around the sentences.
    pub around: &'a SentenceOptions,
    /// How the model computes.
    pub computing: Computing<'a>,
    /// Whether the result is JSON.
    pub json: bool,
}

impl Task<'_> {
    /// Compares.
    pub fn execute(&self, model: &AnyModel<'_>, streams: &mut Streams<'_>) -> Result<()> {
        let tokenizer = model.tokenizer();
        let pairs = self.pairs()?;
        let frame = Frame::new(self.around, tokenizer)?;
        let framed = pairs.iter().map(|pair| {
            let [first, second] = &pair.texts;
            Ok([frame.around(first, tokenizer)?, frame.around(second, tokenizer)?])
        });
        let framed = framed.collect::<Result<Vec<_>>>()?;
        let sentences = framed.iter().flatten();
        with_scorer(model, self.computing, sentences.clone(), streams, |scorer, streams| {
            let bar = streams.progress(sentences.map(|sentence| sentence.ids.len()).sum());
            let mut reports = Vec::with_capacity(pairs.len());
            for (pair, [first, second]) in pairs.iter().zip(&framed) {
                let scores = [scorer.score(first)?, scorer.score(second)?];
                reports.push(PairReport::new(pair, &scores, tokenizer));
                bar.inc((first.ids.len() + second.ids.len()) as u64);
            }
            bar.finish_and_clear();
            let summary = Summary::of(reports.iter());
            let report = Report { groups: groups(&reports), pairs: reports, summary };
            match self.json {
                true => write_json(&report, streams),
                false => print(&report, self.options.compare.is_some(), streams.output),
            }
        })
    }

    fn pairs(&self) -> Result<Vec<Pair>> {
        if let Some([first, second]) = self.options.compare.as_deref() {
            let texts = [first, second].map(|text| text.as_encoded_bytes().to_vec());
            return Ok(vec![Pair { texts, group: None }]);
        }
        let Some(path) = &self.options.pairs else { return Ok(Vec::new()) };
        parse_pairs(&input::read_file(path)?)
    }
}

fn parse_pairs(text: &[u8]) -> Result<Vec<Pair>> {
    let numbered = (1..).zip(lines(text)).filter(|(_, line)| !line.is_empty());
    let pairs = numbered.map(|(number, line)| {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b'\t').collect();
        let (first, second, group) = match fields[..] {
            [first, second] => (first, second, None),
            [first, second, group] => (first, second, Some(group)),
            _ => {
                let sentence = format_args!("--pairs: line {number} is not: FIRST TAB SECOND");
                return Err(Failure::new(Code::Text, sentence));
            }
        };
        let group = group.map(|group| String::from_utf8_lossy(group).into_owned());
        Ok(Pair { texts: [first, second].map(<[u8]>::to_vec), group })
    });
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    match pairs.is_empty() {
        true => Err(Failure::new(Code::Text, "--pairs: there is no pair to compare")),
        false => Ok(pairs),
    }
}

impl PairReport {
    fn new(pair: &Pair, scores: &[Vec<Scored>; 2], tokenizer: &Tokenizer<'_>) -> Self {
        let ln = scores.each_ref().map(|scores| scores.iter().map(|scored| scored.ln).sum::<f64>());
        let tokens = scores.each_ref().map(Vec::len);
        let mean = |side: usize| ln[side] / tokens[side].max(1) as f64;
        let ids = scores
            .each_ref()
            .map(|scores| scores.iter().map(|scored| scored.id).collect::<Vec<u32>>());
        let aligned = align(&ids[0], &ids[1]).into_iter().map(|step| {
            let (a, b) = match step {
                Step::Both(a, b) => (Some(a), Some(b)),
                Step::First(a) => (Some(a), None),
                Step::Second(b) => (None, Some(b)),
            };
            let sides = [a.map(|a| scores[0][a]), b.map(|b| scores[1][b])];
            let ln = sides.map(|scored| scored.map(|scored| scored.ln));
            let text = |scored: Scored| Text::from(tokenizer.text(scored.id)).to_string();
            Row {
                tokens: sides.map(|scored| scored.map(text)),
                ln,
                difference: ln[0].unwrap_or_default() - ln[1].unwrap_or_default(),
            }
        });
        let [first, second] =
            pair.texts.each_ref().map(|text| String::from_utf8_lossy(text).into_owned());
        PairReport {
            first,
            second,
            group: pair.group.clone(),
            ln,
            tokens,
            difference: ln[0] - ln[1],
            difference_per_token: mean(0) - mean(1),
            aligned: aligned.collect(),
        }
    }
}

impl Summary {
    fn of<'r>(reports: impl Iterator<Item = &'r PairReport>) -> Summary {
        let mut sums = Summary::default();
        for report in reports {
            sums.pairs += 1;
            sums.accuracy += f64::from(report.difference > 0.0);
            sums.accuracy_per_token += f64::from(report.difference_per_token > 0.0);
            sums.mean_difference += report.difference;
        }
        let mean = |sum: f64| sum / sums.pairs.max(1) as f64;
        Summary {
            pairs: sums.pairs,
            accuracy: mean(sums.accuracy),
            accuracy_per_token: mean(sums.accuracy_per_token),
            mean_difference: mean(sums.mean_difference),
        }
    }
}

/// The groups that the pairs name, in the order in which they come up.
fn groups(reports: &[PairReport]) -> Vec<Group> {
    let mut names: Vec<&str> = Vec::new();
    for name in reports.iter().filter_map(|report| report.group.as_deref()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let group = |name: &str| {
        let members = reports.iter().filter(|report| report.group.as_deref() == Some(name));
        Group { group: name.to_string(), summary: Summary::of(members) }
    };
    names.into_iter().map(group).collect()
}

fn print(report: &Report, with_tokens: bool, out: &mut dyn Write) -> Result<()> {
    for pair in &report.pairs {
        if with_tokens {
            print_tokens(pair, out)?;
        } else {
            let [a, b] = pair.ln;
            let (first, second) =
                (Text::from(pair.first.as_bytes()), Text::from(pair.second.as_bytes()));
            writeln!(out, "{:>10.4}  {a:>10.4}  {b:>10.4}  {first}  |  {second}", pair.difference)?;
        }
    }
    if with_tokens {
        return Ok(());
    }
    for group in &report.groups {
        print_summary(&group.group, &group.summary, out)?;
    }
    print_summary("all", &report.summary, out)
}

fn print_summary(name: &str, summary: &Summary, out: &mut dyn Write) -> Result<()> {
    let Summary { pairs, accuracy, accuracy_per_token, mean_difference } = summary;
    let name = Text::from(name.as_bytes());
    write!(
        out,
        "{name}: {pairs} pairs, accuracy {accuracy:.4}, per token {accuracy_per_token:.4}"
    )?;
    Ok(writeln!(out, ", mean difference {mean_difference:.4}")?)
}

fn print_tokens(pair: &PairReport, out: &mut dyn Write) -> Result<()> {
    let [left, right, difference] = ["ln p first", "ln p second", "difference"];
    writeln!(out, "{left:>12}  {right:>12}  {difference:>12}  tokens")?;
    let number = |ln: Option<f64>| ln.map(|ln| format!("{ln:.6}")).unwrap_or_default();
    for row in &pair.aligned {
        let [a, b] = row.ln.map(number);
        let [first, second] = row.tokens.each_ref().map(|text| text.as_deref().unwrap_or("-"));
        write!(out, "{a:>12}  {b:>12}  {:>12.6}  {first}", row.difference)?;
        if first != second {
            write!(out, " | {second}")?;
        }
        writeln!(out)?;
    }
    let [a, b] = pair.ln;
    writeln!(out, "{a:>12.6}  {b:>12.6}  {:>12.6}  all", pair.difference)?;
    let [a, b] = [0, 1].map(|side| pair.ln[side] / pair.tokens[side].max(1) as f64);
    writeln!(out, "{a:>12.6}  {b:>12.6}  {:>12.6}  per token", pair.difference_per_token)?;
    let which = match pair.difference {
        difference if difference > 0.0 => "the first is more probable",
        difference if difference < 0.0 => "the second is more probable",
        _ => "equally probable",
    };
    Ok(writeln!(out, "{which}, by a factor of {:.4e}", pair.difference.abs().exp())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_lines_of_two_or_three_fields() {
        let pairs = parse_pairs(b"a b\tc\n\nd\te\tgender\r\n").unwrap();
        assert_eq!(pairs[0], Pair { texts: [b"a b".to_vec(), b"c".to_vec()], group: None });
        assert_eq!((pairs.len(), pairs[1].group.as_deref()), (2, Some("gender")));
        for text in ["a", "a\tb\tc\td", "\n"] {
            assert_eq!(parse_pairs(text.as_bytes()).unwrap_err().code, Code::Text, "{text}");
        }
    }
}
