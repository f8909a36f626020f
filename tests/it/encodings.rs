//! What the encodings mean: decoding, dot products and encoding against a second definition in
//! f64, written from the format's description and sharing no code with the library.

mod oracle;

use mote_formats::Gguf;
use mote_formats::gguf::checksum::checksum;
use mote_kernels::{
    Activations, ActivationsMut, Kernels, Matrix, Precision, QuantType, Rows, Tile, arch,
};
use mote_tests::models::{self, fixture};
use mote_tests::random::Random;

/// How far from normal weights each encoding may be: root mean square error over that of the
/// weights. A uniform step gives step / sqrt(12); the reason says the step in standard deviations.
const ENCODING_ERROR: &[(&str, f64, &str)] = &[
    ("f32", 0.0, "exact"),
    ("f16", 2.5e-4, "11 bits: 2^-12 relative at most, uniform in the binade"),
    ("bf16", 2e-3, "8 bits: 2^-9 relative at most"),
    ("q4_0", 0.088, "step = largest of 32 (about 2.1 to 2.6) / 8"),
    ("q4_1", 0.082, "step = range of 32 (about 4.1) / 15"),
    ("q5_0", 0.045, "as q4_0, half the step"),
    ("q5_1", 0.040, "as q4_1, half the step"),
    ("q8_0", 0.0055, "step = largest of 32 (about 2.1 to 2.6) / 127"),
    (
        "q2_k",
        0.28,
        "step = range of 16 (about 3.5) / 3, minus the search's gain, plus 4-bit scales",
    ),
    (
        "q3_k",
        0.15,
        "step = largest of 16 (about 2) / 4, minus the search's gain, plus 6-bit scales",
    ),
    ("q4_k", 0.074, "as q4_1, minus the search's gain, plus 6-bit scales"),
    ("q5_k", 0.037, "as q5_1, likewise"),
    ("q6_k", 0.0185, "step = largest of 16 (about 2) / 32, plus scales of 7 bits"),
    ("iq4_nl", 0.075, "as q4_0, with narrower steps where most weights are"),
    ("iq4_xs", 0.076, "as iq4_nl, plus 6-bit scales"),
    ("mxfp4", 0.115, "steps up to a quarter of the largest; scales are powers of two"),
    ("tq1_0", 0.435, "three levels: 0.436 for the best of all normal weights (Max 1960)"),
    ("tq2_0", 0.435, "the same three levels"),
];

/// How much of the weights' size a second round trip may change. It is 0 where the codes in use give
/// the scale back; scales that are searched together (Q4_K: 0.004) move a little. Four codes often tell
/// little: units that use two of them fit many scales.
fn second_trip(kind: QuantType) -> f64 {
    match kind.integer() {
        Some(facts) if facts.bits == 2 => 0.02,
        _ => 0.005,
    }
}

/// XXH64 of what the encoders make of the same weights, without and with importance: on every CPU and
/// by every compiler. Whoever changes an encoder on purpose writes them anew.
const ENCODED: &[(&str, u64, u64)] = &[
    ("f32", 0x7531_1b84_b5c2_6189, 0x7531_1b84_b5c2_6189),
    ("f16", 0x551d_3dab_d58a_3283, 0x551d_3dab_d58a_3283),
    ("bf16", 0xf310_eb3a_7ea9_2f22, 0xf310_eb3a_7ea9_2f22),
    ("q4_0", 0x1d02_b80c_c80b_5b76, 0x7e96_50ca_1f34_3ab2),
    ("q4_1", 0xef53_ffb9_824f_cc90, 0xc5c3_002c_45b4_bb6e),
    ("q5_0", 0xd899_1de5_c8ec_acec, 0x0ab3_17e0_e1a1_03fd),
    ("q5_1", 0x60b8_f05a_1cd3_566b, 0x2280_a7b3_b552_700c),
    ("q8_0", 0x9bd5_22f8_5770_4917, 0x9bd5_22f8_5770_4917),
    ("q2_k", 0x6a25_6227_d98e_b8b7, 0x15a5_3834_103c_d1eb),
    ("q3_k", 0xe3b2_2c00_b20b_ac5b, 0x13fb_79f4_ddfe_abf7),
    ("q4_k", 0xc94d_f8fc_055e_4e89, 0xb14d_8afb_76c2_08e9),
    ("q5_k", 0xc43b_342c_f90f_5690, 0x284a_553d_8141_3ebb),
    ("q6_k", 0x2b8b_245c_2efe_c0bb, 0xdf64_1931_2690_52c5),
    ("iq4_nl", 0xff27_6374_7eeb_9d08, 0x1aab_7ecd_5f1c_58aa),
    ("iq4_xs", 0xc62b_b39b_909e_94c0, 0x4c87_f86f_3615_0d98),
    ("mxfp4", 0x57dd_fd88_0c70_2d83, 0xe671_f2db_2014_233f),
    ("tq1_0", 0x7453_af47_3211_32a2, 0x3491_b565_c33e_95c9),
    ("tq2_0", 0x6fbb_0679_133a_a656, 0xa79a_53c3_633a_a942),
];

fn encoding_error(kind: QuantType) -> f64 {
    let line = ENCODING_ERROR.iter().find(|(name, ..)| *name == kind.name());
    line.unwrap_or_else(|| panic!("{} needs a line in the table", kind.name())).1
}

/// Random blocks, of any bits at all: scales are then also subnormal, infinite and NaN.
#[test]
fn decode_means_what_the_format_says() {
    for &kind in QuantType::ALL {
        let mut random = Random::new(kind as u64);
        let mut block = vec![0; kind.block_bytes()];
        let mut got = vec![0.0; kind.block_len()];
        for round in 0..20_000 / kind.block_len() + 200 {
            match round {
                0 => block.fill(0),
                1 => block.fill(0x7b),
                _ => random.fill(&mut block),
            }
            kind.decode(&block, &mut got);
            let want = oracle::weights(kind.name(), &block);
            assert_eq!(want.len(), got.len());
            for (i, (&got, want)) in got.iter().zip(&want).enumerate() {
                let exact = want.product + want.minimum;
                // One rounding of the product, one of the sum.
                let bound = (want.product.abs() + exact.abs()) * 2f64.powi(-24);
                let near = (got as f64 - exact).abs() <= bound;
                // A weight beyond the largest f32 is infinite.
                let same = got == exact as f32 || got.is_nan() && exact.is_nan();
                assert!(near || same, "{} weight {i}: {got:e}, not {exact:e}", kind.name());
            }
        }
    }
}

/// A file of llama-quantize, and XXH64 of what the Python package `gguf` makes of it (make_points.py).
#[test]
fn grids_decode_to_what_another_program_says() {
    let file = fixture("quantize/points.gguf");
    let gguf = Gguf::parse(&file).unwrap();
    for (name, kind, expected) in [
        ("token_embd.weight", "iq3_xxs", 0xbc32_b7db_65cd_2743),
        ("blk.0.attn_q.weight", "iq3_s", 0x4672_6f5f_cd8f_cd57),
        ("blk.0.attn_k.weight", "iq2_xs", 0x2675_8729_06d1_bf77),
        ("blk.0.attn_v.weight", "iq2_s", 0x8aa4_db84_64e4_76cf),
        ("blk.0.ffn_down.weight", "iq2_xxs", 0xe755_fbca_fde7_bc3a),
        ("blk.0.ffn_gate.weight", "iq1_s", 0x2fb4_cade_0ee6_c732),
        ("blk.0.ffn_up.weight", "iq1_m", 0x42db_2cd5_abb4_cb75),
    ] {
        let tensor = gguf.tensor(name).unwrap();
        let mut weights = vec![0.0; tensor.n_elements() as usize];
        tensor.kind().unwrap().decode(tensor.data(), &mut weights);
        let bytes: Vec<_> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        assert_eq!((tensor.tensor_type().name(), checksum(&bytes)), (kind, expected), "{name}");
    }
}

/// The error of a product against f64, by cause:
/// * arithmetic: a chain of n terms rounds n times the running sum and once each product of scales
///   and conversion, so (n + 3) 2^-24 of the sum of magnitudes bounds it;
/// * 8 or 16 bits: at most half a step for each activation, the step being amax / 127 or / 32512.
#[test]
fn matmul_means_what_the_format_says() {
    let (rows, tokens) = (5, 10);
    for &kind in QuantType::ALL {
        let k = 3 * kind.block_len().max(32);
        let mut random = Random::new(1000 + kind as u64);
        let weights: Vec<_> = (0..rows * k).map(|_| random.normal() * 0.1).collect();
        let mut data = vec![0; kind.row_bytes(rows * k).expect("whole blocks")];
        if kind.is_written() {
            kind.encode(&weights, &mut data);
        } else {
            random.fill(&mut data);
            while let Some(block) = kind.first_not_finite(&data) {
                random.fill(&mut data[block * kind.block_bytes()..][..kind.block_bytes()]);
            }
        }
        let exact: Vec<f64> = data
            .chunks_exact(kind.block_bytes())
            .flat_map(|block| oracle::weights(kind.name(), block))
            .map(|w| w.product + w.minimum)
            .collect();
        // The magnitudes that the sum is made of: a minimum is summed apart from the product.
        let sizes: Vec<f64> = data
            .chunks_exact(kind.block_bytes())
            .flat_map(|block| oracle::weights(kind.name(), block))
            .map(|w| w.product.abs() + w.minimum.abs())
            .collect();
        let x = random.normals(tokens * k);
        for (by, (precision, largest)) in arch::available().flat_map(|by| {
            [(Precision::Bits8, 127.0), (Precision::Bits16, 32512.0)].map(|p| (by, p))
        }) {
            let got = product(by, &Matrix::new(kind, rows, k, &data).unwrap(), &x, precision);
            for (t, x) in x.chunks_exact(k).enumerate() {
                for r in 0..rows {
                    let (w, size) = (&exact[r * k..][..k], &sizes[r * k..][..k]);
                    let dot: f64 = w.iter().zip(x).map(|(w, &x)| w * x as f64).sum();
                    let mut bound = 0.0;
                    for (b, x) in x.chunks(32).enumerate() {
                        let amax = x.iter().fold(0.0f64, |m, &v| m.max(v.abs() as f64));
                        let step = if kind.integer().is_some() { amax / largest } else { 0.0 };
                        for (i, &x) in x.iter().enumerate() {
                            bound += w[32 * b + i].abs() * step * 0.5001;
                            bound += size[32 * b + i]
                                * (x.abs() as f64 + step)
                                * (k / 16 + 3) as f64
                                * 2f64.powi(-24);
                        }
                    }
                    let got = got[t * rows + r] as f64;
                    let what = format!("{} {} {precision:?}", by.name(), kind.name());
                    assert!((got - dot).abs() <= bound, "{what}: {got} {dot}, bound {bound:e}");
                }
            }
        }
    }
}

/// Tokens × rows, from unquantised tokens.
fn product(by: &Kernels, w: &Matrix<'_>, x: &[f32], precision: Precision) -> Vec<f32> {
    let (k, rows) = (w.cols(), w.rows());
    let tokens = x.len() / k;
    let n = tokens * ActivationsMut::stride(k);
    let (mut high, mut low) = (vec![0i8; n], vec![0i8; n]);
    let (mut scales, mut sums) = (vec![0.0; n / 32], vec![0; n / 16]);
    let mut scaled_sums = vec![0.0; n / 32];
    let low = (precision == Precision::Bits16).then_some(&mut low[..]);
    let planes = (&mut high[..], low);
    let mut quantized =
        ActivationsMut::new((tokens, k), planes, &mut scales, &mut sums, &mut scaled_sums);
    for (t, x) in x.chunks_exact(k).enumerate() {
        by.quantize(x, &mut quantized, t);
    }
    let quantized: Activations<'_> = quantized.freeze();
    let mut out = vec![0.0; tokens * rows];
    // Room to begin at a multiple of 64 bytes.
    let mut scratch = vec![0.0f32; Kernels::panel_bytes(k) / 4 + 16];
    let start = scratch.as_ptr().align_offset(64);
    by.matmul(
        w,
        &Rows::new((tokens, k), Some(x), Some(quantized)),
        &mut Tile::new(&mut out, tokens, rows),
        &mut scratch[start..],
    );
    out
}

fn encoded(kind: QuantType, x: &[f32]) -> Vec<f32> {
    let mut data = vec![0; kind.row_bytes(x.len()).expect("whole blocks")];
    kind.encode(x, &mut data);
    let mut out = vec![0.0; x.len()];
    kind.decode(&data, &mut out);
    out
}

/// Root mean square of the difference over that of `x`.
fn relative_error(got: &[f32], x: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let error = square(&mut got.iter().zip(x).map(|(&g, &x)| g as f64 - x as f64));
    (error / square(&mut x.iter().map(|&x| x as f64))).sqrt()
}

/// On normal weights of ordinary and of very small size, and on weights that lie on one side.
#[test]
fn encoding_keeps_its_error_bound() {
    for kind in QuantType::written() {
        let mut random = Random::new(7);
        let bound = encoding_error(kind);
        for scale in [1.0, 0.02] {
            let x: Vec<_> = (0..65536).map(|_| random.normal() * scale).collect();
            let error = relative_error(&encoded(kind, &x), &x);
            assert!(error <= bound, "{} x {scale}: {error}", kind.name());
        }
        let x: Vec<_> = (0..65536).map(|_| random.normal() + 3.0).collect();
        let error = relative_error(&encoded(kind, &x), &x);
        // Without a minimum half of the codes are lost, but the weights are larger by more.
        assert!(error <= bound, "{} on one side: {error}", kind.name());
    }
}

#[test]
fn a_second_round_trip_changes_next_to_nothing() {
    for kind in QuantType::written() {
        let mut random = Random::new(8);
        let x: Vec<_> = (0..65536).map(|_| random.normal() * 0.05).collect();
        let once = encoded(kind, &x);
        let error = relative_error(&encoded(kind, &once), &once);
        assert!(error <= second_trip(kind), "{}: {error}", kind.name());
    }
}

/// Constants, zeros, single spikes, and values beyond f16: never a NaN from finite weights that
/// the encoding can hold, and zeros stay zero.
#[test]
fn encoding_survives_odd_blocks() {
    for kind in QuantType::written() {
        let n = kind.block_len().max(32);
        assert!(encoded(kind, &vec![0.0; n]).iter().all(|&v| v == 0.0), "{}", kind.name());
        for value in [1.0, -1.0, 1e-3, -1e-3, 100.0, -100.0] {
            let constant = encoded(kind, &vec![value; n]);
            // Half a step of the coarsest encoding: 1/15.
            let near = constant.iter().all(|v| (v - value).abs() <= value.abs() / 15.0);
            assert!(near, "{}: {value} became {:?}", kind.name(), &constant[..4]);
            let mut spike = vec![0.0; n];
            spike[n / 3] = value;
            let got = encoded(kind, &spike);
            assert!(relative_error(&got, &spike) < 0.07, "{}: spike {value}", kind.name());
        }
        for tiny in [1e-8, 1e-20, 1e-40] {
            let got = encoded(kind, &vec![tiny; n]);
            assert!(got.iter().all(|v| v.abs() <= 1e-7), "{}: {tiny}", kind.name());
        }
    }
}

#[test]
fn encoders_give_the_same_bytes_everywhere() {
    let mut random = Random::new(9);
    let mut x: Vec<_> = (0..8 * 512).map(|_| random.normal() * 0.05).collect();
    // Blocks of odd sizes, too.
    x[512..1024].iter_mut().for_each(|x| *x *= 1e-6);
    x[1024..1536].iter_mut().for_each(|x| *x = x.abs() * 1e3);
    x[1536..2048].iter_mut().enumerate().for_each(|(i, x)| *x *= (i % 3) as f32);
    let weights: Vec<_> = (0..512).map(|_| random.normal().abs()).collect();
    let mut lines = Vec::new();
    for kind in QuantType::written() {
        let mut data = vec![0; kind.row_bytes(x.len()).unwrap()];
        kind.encode(&x, &mut data);
        let plain = checksum(&data);
        kind.encode_weighted(&x, &weights, &mut data);
        lines.push((kind.name(), plain, checksum(&data)));
    }
    assert_eq!(lines, ENCODED, "\n{lines:#x?}\n");
}

/// A NaN among the weights is the same to the encoders whether it is a signalling one or not: comparisons
/// and smallest and largest values of CPUs tell them apart.
#[test]
fn encoders_do_not_tell_signalling_nan_from_others() {
    for kind in QuantType::written().filter(|kind| kind.integer().is_some()) {
        let n = kind.block_len().max(32);
        for place in 0..n {
            let mut x: Vec<_> = Random::new(place as u64).normals(n);
            let mut encoded = |bits: u32| {
                x[place] = f32::from_bits(bits);
                let mut data = vec![0; kind.row_bytes(n).unwrap()];
                kind.encode(&x, &mut data);
                data
            };
            for sign in [0, 1 << 31] {
                let same = encoded(sign | 0x7f80_0001) == encoded(sign | 0x7fc0_0001);
                assert!(same, "{} {sign} at {place}", kind.name());
            }
        }
    }
}

/// The errors of columns that matter more are smaller than without, and proportions alone count.
#[test]
fn weights_are_heeded() {
    let mut random = Random::new(10);
    let x: Vec<_> = (0..64 * 256).map(|_| random.normal()).collect();
    let weights: Vec<_> = (0..256).map(|i| if i % 5 == 0 { 100.0 } else { 1.0 }).collect();
    for kind in QuantType::written().filter(|kind| kind.integer().is_some()) {
        let mut data = vec![0; kind.row_bytes(x.len()).unwrap()];
        let mut error = |weights: Option<&[f32]>| {
            match weights {
                Some(weights) => kind.encode_weighted(&x, weights, &mut data),
                None => kind.encode(&x, &mut data),
            }
            let mut got = vec![0.0; x.len()];
            kind.decode(&data, &mut got);
            let of = |i: usize| f64::from(got[i] - x[i]).powi(2);
            ((0..x.len()).filter(|i| i % 256 % 5 == 0).map(of).sum::<f64>(), data.clone())
        };
        let (plain, _) = error(None);
        let (weighted, bytes) = error(Some(&weights));
        if kind.name() == "q8_0" {
            assert_eq!(weighted, plain);
        } else {
            assert!(weighted < 0.97 * plain, "{}: {weighted} {plain}", kind.name());
        }
        let larger: Vec<_> = weights.iter().map(|weight| weight * 1024.0).collect();
        assert!(error(Some(&larger)).1 == bytes, "{}", kind.name());
        // Nothing matters: as good as without.
        assert!(error(Some(&[0.0; 256])).0 < 1.1 * plain, "{}", kind.name());
    }
}

/// Ids and names are the format's, so they are stated here a second time.
#[test]
fn ids_and_names_are_ggufs() {
    for &kind in QuantType::ALL {
        assert_eq!(QuantType::from_gguf_id(kind.gguf_id()), Some(kind));
        assert_eq!(QuantType::from_name(kind.name()), Some(kind));
        assert_eq!(QuantType::from_name(&kind.name().to_uppercase()), Some(kind));
        let (id, len, bytes) = oracle::facts(kind.name());
        assert_eq!((kind.gguf_id(), kind.block_len(), kind.block_bytes()), (id, len, bytes));
        assert_eq!(kind.row_bytes(3 * len), Some(3 * bytes));
        assert_eq!(kind.row_bytes(3 * len + 1), if len == 1 { Some(4 * bytes) } else { None });
    }
    assert_eq!(QuantType::from_gguf_id(u32::MAX), None);
    assert_eq!(QuantType::from_name(""), None);
}

/// The fixture that a microcontroller runs comes from this project's own writer and encoder.
#[test]
fn the_small_quantised_model_is_the_float_one_encoded() {
    let kind = QuantType::ALL.iter().find(|kind| kind.name() == "q4_0").unwrap();
    let made = models::encoded(&fixture("models/llama-f32.gguf"), *kind);
    assert!(made == fixture("models/llama-q4_0.gguf"));
}
