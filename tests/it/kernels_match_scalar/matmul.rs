//! Matrix products. The scalar result is computed once for all rows and tokens; every target must
//! give the same bits for every part of it, by `gemv` and by panels. So this also proves that
//! neither the batch, nor a slice of rows, nor the alignment changes a bit.

use std::collections::BTreeSet;

use mote_kernels::{Kernels, Matrix, Precision, QuantType, Rows, Tile, arch};
use mote_tests::equal::assert_same_bits;
use mote_tests::guard::Guarded;
use mote_tests::random::Random;

use super::inputs::{Planes, Weights, activations};
use super::scalar;

/// Around the widths of vectors (4, 8, 16 rows) and of panels (32), and both sides of two panels.
const ROWS: &[usize] = &[1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 65];

/// Every count that is read raw (1 to 8), then panels: one token group, an uneven one, several.
const TOKENS: &[usize] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 33];

const MAX_ROWS: usize = 65;
const MAX_TOKENS: usize = 33;

/// Units in every remainder modulo 4 (chains), blocks in every remainder of an unroll by 2 to 4,
/// and rows as real models have them (576, 1536).
const INTEGER_K: &[usize] =
    &[32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 512, 576, 640, 768, 1024, 1280, 1536];

fn lengths(kind: QuantType) -> Vec<usize> {
    if kind.integer().is_none() {
        return (1..=70).chain([96, 127, 128, 129, 256, 576, 1536]).collect();
    }
    INTEGER_K.iter().copied().filter(|k| k % kind.block_len() == 0).collect()
}

fn precisions(kind: QuantType) -> &'static [Precision] {
    // Float weights take the activations as they are.
    if kind.integer().is_some() {
        &[Precision::Bits8, Precision::Bits16]
    } else {
        &[Precision::Bits8]
    }
}

/// Inputs of one matrix product and its scalar result, tokens × rows.
struct Case {
    kind: QuantType,
    precision: Precision,
    rows: usize,
    k: usize,
    tokens: usize,
    data: Vec<u8>,
    x: Guarded<f32>,
    planes: Option<Planes>,
    want: Vec<f32>,
}

impl Case {
    fn new(weights: &Weights, kind: QuantType, precision: Precision, shape: [usize; 3]) -> Self {
        let [rows, k, tokens] = shape;
        let mut random = Random::new((k * 1000 + kind as usize) as u64);
        let data = weights.rows(rows, k, &mut random);
        let x = Guarded::new(&activations(tokens, k, &mut random));
        let planes = kind
            .integer()
            .map(|_| Planes::quantized(x.as_slice(), (tokens, k), scalar(), precision));
        let mut case = Case { kind, precision, rows, k, tokens, data, x, planes, want: vec![] };
        let data = case.data.clone();
        case.want = case.run(scalar(), &data, (0, rows), (0, tokens));
        case
    }

    /// The product of `rows.1` rows (whose bytes are `data`) and the tokens `tokens.0 ..+ .1`.
    fn run(
        &mut self,
        by: &Kernels,
        data: &[u8],
        rows: (usize, usize),
        tokens: (usize, usize),
    ) -> Vec<f32> {
        let matrix = Matrix::new(self.kind, rows.1, self.k, data).expect("whole rows");
        let quantized = self.planes.as_mut().map(Planes::view);
        let float = quantized.is_none().then_some(self.x.as_slice());
        let x = Rows::new((self.tokens, self.k), float, quantized).part(tokens.0, tokens.1);
        let mut out = Guarded::new(&vec![f32::MAX; rows.1 * tokens.1]);
        let panel = Kernels::panel_bytes(self.k) / 4;
        // Panels want 64-byte alignment, so the gap makes up for a length that is no multiple.
        let mut scratch = Guarded::with_gap(&vec![f32::NAN; panel], (64 - panel * 4 % 64) % 64);
        let mut tile = Tile::new(out.as_mut_slice(), tokens.1, rows.1);
        by.matmul(&matrix, &x, &mut tile, scratch.as_mut_slice());
        out.as_slice().to_vec()
    }

    /// Runs a part with its rows' bytes `gap` bytes before a guard page, and compares.
    fn check(&mut self, by: &Kernels, rows: (usize, usize), tokens: (usize, usize), gap: usize) {
        let row_bytes = self.data.len() / self.rows;
        let data = &self.data[rows.0 * row_bytes..][..rows.1 * row_bytes];
        let data = Guarded::with_gap(data, gap);
        let got = self.run(by, data.as_slice(), rows, tokens);
        for (t, got) in got.chunks_exact(rows.1.max(1)).enumerate() {
            let want = &self.want[(tokens.0 + t) * self.rows + rows.0..][..rows.1];
            assert_same_bits(got, want, || {
                format!(
                    "{} {} {:?}: k {}, rows {rows:?}, tokens {tokens:?}, token {t}, gap {gap}",
                    by.name(),
                    self.kind.name(),
                    self.precision,
                    self.k,
                )
            });
        }
    }
}

/// The large product: all row counts and token counts for short rows, some for long ones, where
/// only the number of blocks is new. First row and token move, so that every kind of row and of
/// token meets every place in a kernel's group.
#[test]
fn matmul_equals_scalar_in_every_shape() {
    for &kind in QuantType::ALL {
        let weights = Weights::new(kind);
        for (&precision, k) in
            lengths(kind).into_iter().flat_map(|k| precisions(kind).iter().map(move |p| (p, k)))
        {
            let mut case = Case::new(&weights, kind, precision, [MAX_ROWS, k, MAX_TOKENS]);
            for by in arch::available() {
                for (i, &rows) in ROWS.iter().enumerate() {
                    for (j, &tokens) in TOKENS.iter().enumerate() {
                        let all = [33, 128, 256].contains(&k);
                        if !all && (i * 5 + j + k / 32) % 6 != 0 {
                            continue;
                        }
                        let first_row = (7 * j + k) % (MAX_ROWS - rows + 1);
                        let first_token = (5 * i + k) % (MAX_TOKENS - tokens + 1);
                        case.check(by, (first_row, rows), (first_token, tokens), 0);
                    }
                }
            }
        }
    }
}

/// A file's rows begin anywhere. The data ends at a guard page or up to 64 bytes before it.
#[test]
fn matmul_equals_scalar_at_every_alignment() {
    for &kind in QuantType::ALL {
        let weights = Weights::new(kind);
        let k = if kind.integer().is_some() { 3 * kind.block_len() } else { 37 };
        for &precision in precisions(kind) {
            let mut case = Case::new(&weights, kind, precision, [5, k, 9]);
            for by in arch::available() {
                for gap in 0..=64 {
                    case.check(by, (gap % 3, 3), (gap % 8, 1), gap);
                    case.check(by, (0, 5), (gap % 6, 3), gap);
                    case.check(by, (0, 5), (0, 9), gap);
                }
            }
        }
    }
}

/// Every value of the bytes that are no codes, the first and the last two of them: parts of scales and of
/// exponents, subnormal ones and those of no number.
#[test]
fn matmul_equals_scalar_for_every_byte_of_a_scale() {
    for &kind in QuantType::ALL.iter().filter(|kind| kind.integer().is_some()) {
        let k = kind.block_len().max(32);
        let weights = Weights::new(kind);
        let places: Vec<usize> = (0..kind.block_bytes()).filter(|&i| !weights.is_code(i)).collect();
        let ends = [places.first_chunk::<2>(), places.last_chunk::<2>()];
        let places = ends.into_iter().flatten().flatten().chain(places.first());
        for &place in places.collect::<BTreeSet<&usize>>() {
            let mut case = Case::new(&weights, kind, Precision::Bits8, [256, k, 9]);
            let rows = case.data.chunks_exact_mut(kind.row_bytes(k).unwrap());
            (0..=255).zip(rows).for_each(|(byte, row)| row[place] = byte);
            let data = case.data.clone();
            case.want = case.run(scalar(), &data, (0, 256), (0, 9));
            for by in arch::available() {
                case.check(by, (0, 256), (0, 1), 0);
                case.check(by, (0, 256), (0, 9), 0);
            }
        }
    }
}

/// Nothing to multiply.
#[test]
fn matmul_of_no_rows_or_tokens_writes_nothing() {
    for &kind in QuantType::ALL {
        let k = kind.block_len().max(32);
        for by in arch::available() {
            let weights = Weights::new(kind);
            let mut case = Case::new(&weights, kind, Precision::Bits8, [3, k, 2]);
            case.check(by, (0, 0), (0, 2), 0);
            case.check(by, (0, 3), (0, 0), 0);
        }
    }
}
