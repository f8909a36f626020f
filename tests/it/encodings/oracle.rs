//! The encodings, a second time: one weight at a time, bit by bit, in f64, from the description of
//! the GGUF format. Slow on purpose.

use std::sync::LazyLock;

use mote_tests::models::fixture;

/// A weight is the sum of both.
pub struct Weight {
    pub product: f64,
    pub minimum: f64,
}

/// GGUF's type id, weights in a block, bytes of a block.
pub fn facts(name: &str) -> (u32, usize, usize) {
    match name {
        "f32" => (0, 1, 4),
        "f16" => (1, 1, 2),
        "q4_0" => (2, 32, 2 + 16),
        "q4_1" => (3, 32, 2 + 2 + 16),
        "q5_0" => (6, 32, 2 + 4 + 16),
        "q5_1" => (7, 32, 2 + 2 + 4 + 16),
        "q8_0" => (8, 32, 2 + 32),
        "q2_k" => (10, 256, 16 + 64 + 2 + 2),
        "q3_k" => (11, 256, 32 + 64 + 12 + 2),
        "q4_k" => (12, 256, 2 + 2 + 12 + 128),
        "q5_k" => (13, 256, 2 + 2 + 12 + 32 + 128),
        "q6_k" => (14, 256, 128 + 64 + 16 + 2),
        "bf16" => (30, 1, 2),
        "iq4_nl" => (20, 32, 2 + 16),
        "iq4_xs" => (23, 256, 2 + 2 + 4 + 128),
        "mxfp4" => (39, 32, 1 + 16),
        "tq1_0" => (34, 256, 48 + 4 + 2),
        "tq2_0" => (35, 256, 64 + 2),
        "iq2_xxs" => (16, 256, 2 + 8 * 8),
        "iq2_xs" => (17, 256, 2 + 64 + 8),
        "iq2_s" => (22, 256, 2 + 32 + 32 + 8 + 8),
        "iq3_xxs" => (18, 256, 2 + 64 + 32),
        "iq3_s" => (21, 256, 2 + 64 + 8 + 32 + 4),
        "iq1_s" => (19, 256, 2 + 32 + 16),
        "iq1_m" => (29, 256, 32 + 16 + 8),
        _ => panic!("{name} needs its facts here"),
    }
}

/// All weights of one block.
pub fn weights(name: &str, block: &[u8]) -> Vec<Weight> {
    (0..facts(name).1).map(|i| weight(name, block, i)).collect()
}

fn weight(name: &str, block: &[u8], i: usize) -> Weight {
    let plain = |product: f64| Weight { product, minimum: 0.0 };
    let half = |at: usize| binary(u16_at(block, at).into(), 5, 10);
    // Of 32 weights, the first sixteen are in low nibbles, the others in high ones.
    let nibble = |from: usize| block[from + i % 16] >> (i / 16 * 4) & 15;
    let bit = |from: usize, n: usize| block[from + n / 8] >> (n % 8) & 1;
    match name {
        "f32" => plain(binary(u32_at(block, 0), 8, 23)),
        "f16" => plain(half(0)),
        "bf16" => plain(binary(u16_at(block, 0).into(), 8, 7)),
        "q4_0" => plain(half(0) * (nibble(2) as f64 - 8.0)),
        "q4_1" => Weight { product: half(0) * nibble(4) as f64, minimum: half(2) },
        "q5_0" => plain(half(0) * ((nibble(6) + 16 * bit(2, i)) as f64 - 16.0)),
        "q5_1" => {
            Weight { product: half(0) * (nibble(8) + 16 * bit(4, i)) as f64, minimum: half(2) }
        }
        "q8_0" => plain(half(0) * block[2 + i] as i8 as f64),
        "q2_k" => {
            let both = block[i / 16];
            let code = block[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
            Weight {
                product: half(80) * (both % 16) as f64 * code as f64,
                minimum: -(half(82) * (both / 16) as f64),
            }
        }
        "q3_k" => {
            let low = block[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
            let third = block[i % 32] >> (i / 32) & 1;
            // Low nibbles of the sixteen scales, then four bytes with upper pairs: the first pairs
            // belong to scales 0 to 3, and so on.
            let (unit, packed) = (i / 16, &block[96..108]);
            let nibble = if unit < 8 { packed[unit] % 16 } else { packed[unit - 8] / 16 };
            let scale = (nibble + 16 * (packed[8 + unit % 4] >> (unit / 4 * 2) & 3)) as f64 - 32.0;
            plain(half(108) * scale * ((low + 4 * third) as f64 - 4.0))
        }
        "q4_k" => k_weight(block, i, 0),
        // Bit u of byte l is the fifth bit of weight l of unit u.
        "q5_k" => k_weight(block, i, 16 * (block[16 + i % 32] >> (i / 32) & 1)),
        "q6_k" => {
            let (part, quarter, lane) = (i / 128, i / 32 % 4, i % 32);
            let low = block[64 * part + 32 * (quarter % 2) + lane] >> (quarter / 2 * 4) & 15;
            let high = block[128 + 32 * part + lane] >> (2 * quarter) & 3;
            let scale = block[192 + i / 16] as i8 as f64;
            plain(half(208) * scale * ((low + 16 * high) as f64 - 32.0))
        }
        "iq4_nl" => plain(half(0) * NON_LINEAR[nibble(2) as usize]),
        "iq4_xs" => {
            let unit = i / 32;
            let low = block[4 + unit / 2] >> (unit % 2 * 4) & 15;
            // The third and the fourth byte are one number: pairs of bits.
            let upper = u16_at(block, 2) >> (2 * unit) & 3;
            let scale = (low as u16 + 16 * upper) as f64 - 32.0;
            let code = block[8 + 16 * unit + i % 16] >> (i % 32 / 16 * 4) & 15;
            plain(half(0) * scale * NON_LINEAR[code as usize])
        }
        "mxfp4" => plain(power_of_two(block[0]) * small_float(nibble(1))),
        "tq1_0" => {
            // Five runs of 32, five of 16, four of 4.
            let (byte, digit) = match i {
                0..160 => (block[i % 32], i / 32),
                160..240 => (block[32 + (i - 160) % 16], (i - 160) / 16),
                _ => (block[48 + i % 4], (i - 240) / 4),
            };
            // Digits of a fraction are what comes before the point, multiplied by three each time.
            let mut fraction = byte as u32;
            for _ in 0..digit {
                fraction = 3 * fraction % 256;
            }
            plain(half(52) * ((3 * fraction / 256) as f64 - 1.0))
        }
        "tq2_0" => {
            let code = block[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
            plain(half(64) * (code as f64 - 1.0))
        }
        _ => plain(point_weight(name, block, i)),
    }
}

/// Encodings whose codes are numbers of points in a grid. Eight weights have a point (IQ3: two points of
/// four) and eight signs (IQ1: an eighth up or down).
fn point_weight(name: &str, block: &[u8], i: usize) -> f64 {
    let half = |at: usize| binary(u16_at(block, at).into(), 5, 10);
    let (eight, lane, unit) = (i / 8, i % 8, i / 32);
    let nibble = |at: usize, n: usize| block[at + n / 2] >> (n % 2 * 4) & 15;
    let bit = |at: usize, n: usize| block[at + n / 8] >> (n % 8) & 1;
    // Of seven signs in 32 bits, 28 of them for the unit; the eighth makes their number even.
    let sign_of_seven = |signs: u32| match lane {
        7 => (signs & 127).count_ones() % 2,
        _ => signs >> lane & 1,
    };
    let negative = |sign: u32| if sign == 1 { -1.0 } else { 1.0 };
    let odd_eighths = |scale: u8| (scale as f64 + 0.5) / 4.0;
    match name {
        "iq2_xxs" => {
            let at = 2 + 8 * unit;
            let signs = u32_at(block, at + 4);
            let level = [8.0, 25.0, 43.0][digit(name, block[at + eight % 4] as usize, lane)];
            let sign = negative(sign_of_seven(signs >> (7 * (eight % 4))));
            half(0) * odd_eighths((signs >> 28) as u8) * level * sign
        }
        "iq2_xs" => {
            let both = u16_at(block, 2 + 2 * eight);
            let level = [8.0, 25.0, 43.0][digit(name, (both % 512) as usize, lane)];
            let sign = negative(sign_of_seven((both / 512) as u32));
            half(0) * odd_eighths(nibble(66, i / 16)) * level * sign
        }
        "iq2_s" => {
            let high = block[66 + unit] as usize >> (2 * (eight % 4)) & 3;
            let point = block[2 + eight] as usize + 256 * high;
            let sign = negative(bit(34, i) as u32);
            half(0)
                * odd_eighths(nibble(74, i / 16))
                * [8.0, 25.0, 43.0][digit(name, point, lane)]
                * sign
        }
        "iq3_xxs" => {
            let signs = u32_at(block, 66 + 4 * unit);
            let levels = [4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0];
            let level = levels[digit(name, block[2 + i / 4] as usize, i % 4)];
            let sign = negative(sign_of_seven(signs >> (7 * (eight % 4))));
            half(0) * 2.0 * odd_eighths((signs >> 28) as u8) * level * sign
        }
        "iq3_s" => {
            let point = block[2 + i / 4] as usize + 256 * bit(66, i / 4) as usize;
            let level = (2 * digit(name, point, i % 4) + 1) as f64;
            let scale = (2 * nibble(106, unit) + 1) as f64;
            half(0) * scale * level * negative(bit(74, i) as u32)
        }
        "iq1_s" => {
            let rest = u16_at(block, 34 + 2 * unit);
            let point = block[2 + eight] as usize + 256 * (rest as usize >> (3 * (eight % 4)) & 7);
            let scale = (2 * (rest >> 12 & 7) + 1) as f64;
            let level = digit(name, point, lane) as f64 - 1.0;
            half(0) * scale * (level + 0.125 * negative((rest >> 15).into()))
        }
        "iq1_m" => {
            let high = nibble(32, eight);
            let point = block[eight] as usize + 256 * (high as usize & 7);
            let scales = |n: usize| u16_at(block, 48 + 2 * n);
            let scale = (2 * (scales(i / 64) >> (3 * (i / 16 % 4)) & 7) + 1) as f64;
            let factor = (0..4).map(|n| (scales(n) as u32 >> 12) << (4 * n)).sum();
            let level = digit("iq1_s", point, lane) as f64 - 1.0;
            binary(factor, 5, 10) * scale * (level + 0.125 * negative((high >> 3).into()))
        }
        _ => panic!("{name} needs its definition here"),
    }
}

/// A digit of a point: from a text, a point a line.
fn digit(name: &str, point: usize, lane: usize) -> usize {
    static GRIDS: LazyLock<Vec<u8>> = LazyLock::new(|| fixture("quantize/grids.txt"));
    static STARTS: LazyLock<Vec<(&str, usize)>> = LazyLock::new(|| {
        let text = str::from_utf8(&GRIDS).unwrap();
        let lines = text.split_inclusive('\n').scan(0, |end, line| {
            *end += line.len();
            Some((line.trim(), *end))
        });
        lines.filter(|(line, _)| line.starts_with("iq")).collect()
    });
    let start = STARTS.iter().find(|(grid, _)| *grid == name).expect("a grid").1;
    let digits = if name.starts_with("iq3") { 4 } else { 8 };
    (GRIDS[start + point * (digits + 1) + lane] - b'0') as usize
}

/// The sixteen levels of the non-linear encodings.
const NON_LINEAR: [f64; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, //
    1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0,
];

/// E8M0 of OCP's microscaling formats.
fn power_of_two(exponent: u8) -> f64 {
    if exponent == 255 { f64::NAN } else { 2f64.powi(exponent as i32 - 127) }
}

/// E2M1: a sign, two bits of exponent with bias 1, one of fraction; exponent 0 is subnormal.
fn small_float(code: u8) -> f64 {
    let (sign, exponent, fraction) = (code >> 3, code >> 1 & 3, (code & 1) as f64 / 2.0);
    let magnitude = match exponent {
        0 => fraction,
        _ => (1.0 + fraction) * 2f64.powi(exponent as i32 - 1),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

/// Q4_K and Q5_K: the last 128 bytes hold nibbles, 64 weights in 32 bytes, low nibbles first.
fn k_weight(block: &[u8], i: usize, fifth: u8) -> Weight {
    let nibbles = &block[block.len() - 128..];
    let code = (nibbles[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15) + fifth;
    // Twelve bytes as three groups of four: six-bit scales 0-3, six-bit minima 0-3, nibbles of
    // scales and minima 4-7, whose upper two bits are the upper two bits of the first groups.
    let (packed, unit) = (&block[4..16], i / 32);
    let (scale, minimum) = match unit {
        0..4 => (packed[unit] % 64, packed[4 + unit] % 64),
        _ => {
            let both = packed[4 + unit];
            (both % 16 + packed[unit - 4] / 64 * 16, both / 16 + packed[unit] / 64 * 16)
        }
    };
    let factor = |at: usize| binary(u16_at(block, at).into(), 5, 10);
    Weight {
        product: factor(0) * scale as f64 * code as f64,
        minimum: -(factor(2) * minimum as f64),
    }
}

/// An IEEE 754 binary number: sign, `exponent` bits, `fraction` bits.
fn binary(bits: u32, exponent: u32, fraction: u32) -> f64 {
    let sign = if bits >> (exponent + fraction) & 1 == 1 { -1.0 } else { 1.0 };
    let (special, bias) = ((1 << exponent) - 1, (1 << (exponent - 1)) - 1);
    let part = (bits & ((1 << fraction) - 1)) as f64 / 2f64.powi(fraction as i32);
    let power = |e: i32| 2f64.powi(e - bias);
    match (bits >> fraction & special) as i32 {
        0 => sign * part * power(1),
        e if e == special as i32 && part == 0.0 => sign * f64::INFINITY,
        e if e == special as i32 => f64::NAN,
        e => sign * (1.0 + part) * power(e),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes[at] as u16 | (bytes[at + 1] as u16) << 8
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u16_at(bytes, at) as u32 | (u16_at(bytes, at + 2) as u32) << 16
}
