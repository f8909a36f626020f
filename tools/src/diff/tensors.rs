//! Tensors of two files: names, shapes, encodings, numbers.

use std::collections::HashMap;
use std::io::Write;

use indicatif::ProgressBar;
use mote_formats::gguf::{Gguf, Tensor};
use mote_kernels::QuantType;
use mote_runtime::threads::ThreadPool;
use serde::Serialize;

use super::escaped;
use crate::failure::Result;
use crate::inspect::tensors::shape;
use crate::interrupt::{self, Interrupted};
use crate::streams::Streams;
use crate::work::{self, Stop};

/// Numbers that are decoded at once: whole blocks of every encoding.
const PIECE: usize = 16 << 10;

/// Bytes that are compared at once.
const PIECE_BYTES: usize = 1 << 22;

/// What differs.
#[derive(Debug, Default, Serialize)]
pub struct Tensors {
    added: Vec<Facts>,
    removed: Vec<Facts>,
    reshaped: Vec<Reshaped>,
    /// The same bytes.
    pub identical: usize,
    /// The worst first.
    compared: Vec<Compared>,
    not_compared: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Facts {
    name: String,
    r#type: &'static str,
    shape: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Reshaped {
    name: String,
    a: Vec<u64>,
    b: Vec<u64>,
}

/// The numbers of a tensor of both files.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    name: String,
    type_a: &'static str,
    type_b: &'static str,
    /// Root of sum (a - b)^2 / sum a^2.
    relative_rmse: f64,
    /// The largest |a - b|.
    max_difference: f64,
    /// Of the angle between both.
    cosine: f64,
}

/// A tensor in both files, with its encodings.
type Pair<'a> = ([Tensor<'a>; 2], [QuantType; 2]);

impl Tensors {
    /// Of two files.
    pub fn new(a: &Gguf<'_>, b: &Gguf<'_>, streams: &Streams<'_>) -> Result<Tensors> {
        let theirs: HashMap<&str, Tensor<'_>> = b.tensors().map(|t| (t.name(), t)).collect();
        let ours: HashMap<&str, Tensor<'_>> = a.tensors().map(|t| (t.name(), t)).collect();
        let mut found = Tensors::default();
        let added = b.tensors().filter(|tensor| !ours.contains_key(tensor.name()));
        found.added.extend(added.map(|tensor| facts(&tensor)));
        let mut pairs = Vec::new();
        for ours in a.tensors() {
            let name = ours.name().to_string();
            let Some(theirs) = theirs.get(ours.name()) else {
                found.removed.push(facts(&ours));
                continue;
            };
            if ours.shape() != theirs.shape() {
                let [a, b] = [&ours, theirs].map(|tensor| tensor.dims().to_vec());
                found.reshaped.push(Reshaped { name, a, b });
                continue;
            }
            let identical = same(&ours, theirs)?;
            match ours.kind().ok().zip(theirs.kind().ok()) {
                _ if identical => found.identical += 1,
                Some((a, b)) => pairs.push(([ours, *theirs], [a, b])),
                None => found.not_compared.push(name),
            }
        }
        found.compared = compare_all(&pairs, streams)?;
        // NaN, of either sign, is worse than any number.
        let rank = |it: &Compared| (it.relative_rmse.is_nan(), it.relative_rmse.abs());
        let worst = |a: &Compared, b: &Compared| {
            let ((a_nan, a), (b_nan, b)) = (rank(a), rank(b));
            b_nan.cmp(&a_nan).then(b.total_cmp(&a))
        };
        found.compared.sort_by(|a, b| worst(a, b).then_with(|| a.name.cmp(&b.name)));
        Ok(found)
    }

    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        let Tensors { added, removed, reshaped, identical: _, compared, not_compared } = self;
        let names = added.len() + removed.len() + reshaped.len();
        names + compared.len() + not_compared.len() == 0
    }

    /// As text; of the tensors whose numbers differ, the worst ones.
    pub fn print(&self, most: usize, out: &mut dyn Write) -> Result<()> {
        writeln!(out, "tensors: {} identical, {} different", self.identical, self.compared.len())?;
        for (sign, list) in [("-", &self.removed), ("+", &self.added)] {
            for Facts { name, r#type, shape: dims } in list {
                writeln!(out, "  {sign} {}  {type}  {}", escaped(name), shape(dims))?;
            }
        }
        for Reshaped { name, a, b } in &self.reshaped {
            writeln!(out, "  {}  {} became {}", escaped(name), shape(a), shape(b))?;
        }
        for name in &self.not_compared {
            writeln!(
                out,
                "  {}  different, in an encoding that mote cannot decode",
                escaped(name)
            )?;
        }
        print_numbers(&self.compared, most, out)
    }
}

fn print_numbers(compared: &[Compared], most: usize, out: &mut dyn Write) -> Result<()> {
    let shown = &compared[..compared.len().min(most)];
    let names: Vec<String> = shown.iter().map(|c| escaped(&c.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(60);
    if !shown.is_empty() {
        let heads = ("relative RMSE", "max |a - b|", "cosine");
        writeln!(
            out,
            "  {:width$}  {:<16}  {:>13}  {:>11}  {:>10}",
            "", "", heads.0, heads.1, heads.2
        )?;
    }
    for (name, compared) in names.iter().zip(shown) {
        let Compared { type_a, type_b, relative_rmse, max_difference, cosine, .. } = compared;
        let types =
            if type_a == type_b { type_a.to_string() } else { format!("{type_a} -> {type_b}") };
        writeln!(
            out,
            "  {name:<width$}  {types:<16}  {relative_rmse:>13.6}  {max_difference:>11.6}  {cosine:>10.7}"
        )?;
    }
    match compared.len() - shown.len() {
        0 => Ok(()),
        n => Ok(writeln!(out, "  and {n} tensors that differ less: --all shows them")?),
    }
}

fn facts(tensor: &Tensor<'_>) -> Facts {
    let (name, r#type) = (tensor.name().to_string(), tensor.tensor_type().name());
    Facts { name, r#type, shape: tensor.dims().to_vec() }
}

/// Whether both are the same, byte by byte.
fn same(a: &Tensor<'_>, b: &Tensor<'_>) -> Result<bool> {
    if a.tensor_type() != b.tensor_type() || a.data().len() != b.data().len() {
        return Ok(false);
    }
    for (a, b) in a.data().chunks(PIECE_BYTES).zip(b.data().chunks(PIECE_BYTES)) {
        interrupt::check()?;
        if a != b {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Each tensor by one thread, so that the sums do not depend on their number.
fn compare_all(pairs: &[Pair<'_>], streams: &Streams<'_>) -> Result<Vec<Compared>> {
    let numbers: u64 = pairs.iter().map(|([a, _], _)| a.n_elements()).sum();
    let bar = streams.bytes_progress(numbers);
    let threads = ThreadPool::available();
    let found = work::share(pairs.len(), threads, |i, stop| compare(&pairs[i], &bar, stop))?;
    bar.finish_and_clear();
    Ok(found)
}

/// Sums over a tensor.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    a: f64,
    b: f64,
    product: f64,
    difference: f64,
    largest: f64,
}

impl Sums {
    fn add(&mut self, a: f32, b: f32) {
        let (a, b) = (f64::from(a), f64::from(b));
        let difference = a - b;
        self.a += a * a;
        self.b += b * b;
        self.product += a * b;
        self.difference += difference * difference;
        // A NaN stays.
        if difference.abs() > self.largest || difference.is_nan() {
            self.largest = difference.abs();
        }
    }

    /// Zero by zero is nothing: there is no difference.
    fn relative_rmse(&self) -> f64 {
        if self.difference == 0.0 { 0.0 } else { (self.difference / self.a).sqrt() }
    }

    fn cosine(&self) -> f64 {
        match self.a * self.b {
            0.0 if self.a == self.b => 1.0,
            0.0 => 0.0,
            _ => self.product / (self.a.sqrt() * self.b.sqrt()),
        }
    }
}

fn compare(
    (tensors, kinds): &Pair<'_>,
    bar: &ProgressBar,
    stop: &Stop,
) -> std::result::Result<Compared, Interrupted> {
    let mut sums = Sums::default();
    let (mut ours, mut theirs) = (vec![0.0; PIECE], vec![0.0; PIECE]);
    let piece_bytes = kinds.map(|kind| PIECE / kind.block_len() * kind.block_bytes());
    let pieces = tensors[0].data().chunks(piece_bytes[0]);
    for (a, b) in pieces.zip(tensors[1].data().chunks(piece_bytes[1])) {
        stop.check()?;
        let n = a.len() / kinds[0].block_bytes() * kinds[0].block_len();
        kinds[0].decode(a, &mut ours[..n]);
        kinds[1].decode(b, &mut theirs[..n]);
        ours[..n].iter().zip(&theirs[..n]).for_each(|(&a, &b)| sums.add(a, b));
        bar.inc(n as u64);
    }
    let [type_a, type_b] = kinds.map(QuantType::name);
    Ok(Compared {
        name: tensors[0].name().to_string(),
        type_a,
        type_b,
        relative_rmse: sums.relative_rmse(),
        max_difference: sums.largest,
        cosine: sums.cosine(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(pairs: &[(f32, f32)]) -> Sums {
        let mut sums = Sums::default();
        pairs.iter().for_each(|&(a, b)| sums.add(a, b));
        sums
    }

    #[test]
    fn figures_by_hand() {
        let found = sums(&[(3.0, 3.0), (4.0, 2.0)]);
        assert_eq!(found.relative_rmse(), 0.4);
        assert_eq!(found.largest, 2.0);
        assert!((found.cosine() - 17.0 / (5.0 * 13_f64.sqrt())).abs() < 1e-15);
        let zeros = sums(&[(0.0, 0.0)]);
        assert_eq!((zeros.relative_rmse(), zeros.cosine()), (0.0, 1.0));
        assert_eq!(sums(&[(0.0, 1.0)]).relative_rmse(), f64::INFINITY);
        assert!(sums(&[(f32::NAN, 1.0), (1.0, 1.0)]).largest.is_nan());
    }
}
