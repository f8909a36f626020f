//! safetensors headers: what is refused, and what is not (case numbers: ROBUSTNESS.md).

use std::time::Duration;

use mote_formats::safetensors::{Dtype, Header, SafetensorsError, TensorReason, header_bytes};
use mote_kernels::QuantType;
use mote_tests::checkpoint::safetensors;

use crate::tokenizer::long::thread_time;

type Result = std::result::Result<Header, SafetensorsError>;

/// A file of a header and so many bytes of data.
fn parse(header: &str, data: usize) -> Result {
    let file = safetensors(header.as_bytes(), &vec![0; data]);
    Header::parse(&file, file.len() as u64)
}

/// A file with one tensor that is described so.
fn one(dtype: &str, shape: &str, offsets: &str, data: usize) -> Result {
    let tensor = format!(r#"{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}"#);
    parse(&format!(r#"{{"t":{tensor}}}"#), data)
}

/// What is wrong with the tensor that the error is about.
fn reason(result: Result) -> TensorReason {
    match result {
        Err(SafetensorsError::Tensor(name, reason)) => {
            assert_eq!(name.as_bytes(), b"t");
            reason
        }
        other => panic!("{other:?}"),
    }
}

fn is_json_error(result: Result) -> String {
    match result {
        Err(error @ SafetensorsError::Json { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn case_304_fewer_bytes_than_a_length() {
    for len in 0..8 {
        let file = vec![1; len];
        let result = Header::parse(&file, len as u64);
        assert_eq!(result.unwrap_err(), SafetensorsError::TooShort(len as u64));
    }
}

#[test]
fn cases_305_and_306_lengths_that_cannot_be() {
    let file = 1000_u64;
    for length in [0, file - 8 + 1] {
        let error = header_bytes(&length.to_le_bytes(), file).unwrap_err();
        assert_eq!(error, SafetensorsError::HeaderLength { length, file });
    }
    // A header of one byte cannot be an object.
    assert!(parse("{", 0).is_err());
    assert_eq!(parse(" ", 0).unwrap_err(), SafetensorsError::HeaderStart);
    for length in [u64::MAX, 1 << 63, 100_000_001] {
        // In a file that would have room for it.
        let error = header_bytes(&length.to_le_bytes(), u64::MAX).unwrap_err();
        assert_eq!(error, SafetensorsError::HeaderTooLarge(length));
    }
    assert_eq!(header_bytes(&100_000_000_u64.to_le_bytes(), 1 << 40), Ok(100_000_000));
}

#[test]
fn case_307_what_is_no_object_in_utf8() {
    for header in ["[]", " {}", "\"{}\"", "\u{feff}{}"] {
        assert_eq!(parse(header, 0).unwrap_err(), SafetensorsError::HeaderStart, "{header}");
    }
    for header in ["{} x", "{}\0", "{}\n", "{}]"] {
        assert_eq!(parse(header, 0).unwrap_err(), SafetensorsError::HeaderEnd, "{header:?}");
    }
    for header in ["{}}", "{}{}", "{,}", "{\"t\"}", "{\"t\":1}"] {
        is_json_error(parse(header, 0));
    }
    let file = safetensors(b"{\"\xff\":{}}", &[]);
    let result = Header::parse(&file, file.len() as u64);
    assert_eq!(result.unwrap_err(), SafetensorsError::NotUtf8(10));
    assert!(parse("{}", 0).unwrap().tensors().is_empty());
    assert_eq!(parse("{}      ", 0).unwrap().data_at(), 16);
}

#[test]
fn case_308_a_name_that_stands_there_twice() {
    let tensor = r#""t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    for header in [format!("{{{tensor},{tensor}}}"), format!(r#"{{{tensor},{tensor},"\u0074":1}}"#)]
    {
        assert!(parse(&header, 4).is_err());
    }
    assert_eq!(reason(parse(&format!("{{{tensor},{tensor}}}"), 4)), TensorReason::Duplicate);
    // The same name, spelt otherwise.
    let other = tensor.replace("\"t\"", r#""\u0074""#);
    assert_eq!(reason(parse(&format!("{{{tensor},{other}}}"), 4)), TensorReason::Duplicate);
    let twice = r#"{"__metadata__":{},"__metadata__":{}}"#;
    assert!(is_json_error(parse(twice, 0)).contains("twice"));
}

#[test]
fn case_309_offsets_that_are_no_range() {
    assert_eq!(reason(one("\"F32\"", "[2]", "[8,0]", 8)), TensorReason::Reversed);
    let lists = ["[-8,0]", "[0]", "[0,8,16]", "[]", "[0.5,8]", "[0,8.0]", "[\"0\",8]", "8", "null"];
    for offsets in lists.into_iter().chain(["[0,18446744073709551616]", "{\"0\":0}"]) {
        is_json_error(one("\"F32\"", "[2]", offsets, 8));
    }
    is_json_error(parse(r#"{"t":{"dtype":"F32","shape":[2]}}"#, 8));
}

#[test]
fn case_310_offsets_behind_the_file() {
    assert_eq!(reason(one("\"F32\"", "[2]", "[0,8]", 7)), TensorReason::PastEnd(8));
    assert_eq!(reason(one("\"F32\"", "[2]", "[100,108]", 8)), TensorReason::PastEnd(108));
    let wrapping = "[18446744073709551608,18446744073709551615]";
    let result = one("\"U8\"", "[7]", wrapping, 8);
    assert_eq!(reason(result), TensorReason::PastEnd(u64::MAX));
    let backwards = "[18446744073709551608,8]";
    assert_eq!(reason(one("\"F32\"", "[4]", backwards, 8)), TensorReason::Reversed);
}

#[test]
fn case_311_data_must_fill_the_file() {
    let two = |first: [u64; 2], second: [u64; 2], data| {
        let tensor = |[begin, end]: [u64; 2]| {
            let len = end - begin;
            format!(r#"{{"dtype":"U8","shape":[{len}],"data_offsets":[{begin},{end}]}}"#)
        };
        parse(&format!(r#"{{"s":{},"t":{}}}"#, tensor(first), tensor(second)), data)
    };
    assert_eq!(two([0, 4], [4, 8], 8).unwrap().tensors().len(), 2);
    assert_eq!(two([4, 8], [0, 4], 8).unwrap().tensors().len(), 2);
    assert_eq!(reason(two([0, 4], [3, 8], 8)), TensorReason::Overlap);
    assert_eq!(reason(two([0, 4], [0, 4], 4)), TensorReason::Overlap);
    assert_eq!(reason(two([0, 4], [5, 8], 8)), TensorReason::Hole);
    assert_eq!(reason(one("\"U8\"", "[4]", "[4,8]", 8)), TensorReason::Hole);
    let trailing = one("\"U8\"", "[4]", "[0,4]", 8).unwrap_err();
    assert_eq!(trailing, SafetensorsError::TrailingBytes(4));
    assert_eq!(parse("{}", 1).unwrap_err(), SafetensorsError::TrailingBytes(1));
}

#[test]
fn cases_312_and_313_shapes() {
    for (shape, bytes) in [("[3]", 12), ("[1]", 4), ("[2,0]", 0), ("[]", 4)] {
        let result = reason(one("\"F32\"", shape, "[0,8]", 8));
        assert_eq!(result, TensorReason::Size { shape: bytes, range: 8 });
    }
    for shape in [
        "[4294967296,4294967296]",
        "[4611686018427387904,4]",
        "[4611686018427387904]",
        "[0,9223372036854775808]",
        "[9223372036854775808,0]",
    ] {
        assert_eq!(reason(one("\"F32\"", shape, "[0,8]", 8)), TensorReason::ShapeOverflow);
    }
    let zero = reason(one("\"U8\"", "[0,9223372036854775808]", "[0,0]", 0));
    assert_eq!(zero, TensorReason::ShapeOverflow);
    let many = format!("[{}1]", "1,".repeat(99_999));
    for shape in [&many, "[-2]", "[2.0]", "[\"2\"]", "2", "[[2]]", "[1,1,1,1,1,1,1,1,2]"] {
        is_json_error(one("\"F32\"", shape, "[0,8]", 8));
    }
    assert_eq!(one("\"F32\"", "[1,1,1,1,1,1,1,2]", "[0,8]", 8).unwrap().tensors().len(), 1);
}

#[test]
fn case_314_a_number_and_nothing() {
    let header = one("\"F32\"", "[]", "[0,4]", 4).unwrap();
    assert_eq!((header.tensors()[0].shape(), header.tensors()[0].data_bytes()), (&[][..], 4));
    let header = one("\"F32\"", "[0]", "[0,0]", 0).unwrap();
    assert_eq!((header.tensors()[0].shape(), header.tensors()[0].data_bytes()), (&[0][..], 0));
}

#[test]
fn case_315_types_that_are_not_supported() {
    for name in ["F7", "f32", "F4", "F6_E2M3", "F6_E3M2", "C64", "", "F32 "] {
        let result = reason(one(&format!("{name:?}"), "[1]", "[0,4]", 4));
        assert!(
            matches!(result, TensorReason::Dtype(found) if found.as_bytes() == name.as_bytes())
        );
    }
    for value in ["32", "null", "[\"F32\"]"] {
        is_json_error(one(value, "[1]", "[0,4]", 4));
    }
    assert_eq!(one("\"BF16\"", "[2]", "[0,4]", 4).unwrap().tensors()[0].dtype(), Dtype::BF16);
}

/// Every number of 16 bits as f32, and back: NaN payloads, infinities and subnormals as well.
#[test]
fn case_316_halves_become_f32_exactly() {
    let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for kind in QuantType::ALL.iter().filter(|kind| kind.block_bytes() == 2) {
        let mut wide = vec![0.0_f32; 1 << 16];
        kind.decode(&bytes, &mut wide);
        for (bits, x) in (0..=u16::MAX).zip(wide) {
            let (exponent, fraction) = if kind.name() == "bf16" { (8, 7) } else { (5, 10) };
            let value = f64::from(exact(bits, exponent, fraction));
            assert!(f64::from(x) == value || (x.is_nan() && value.is_nan()), "{kind:?} {bits:x}");
        }
    }
}

/// The number that sign, exponent and fraction mean, by the definition.
fn exact(bits: u16, exponent_bits: u32, fraction_bits: u32) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & ((1 << fraction_bits) - 1));
    let exponent = i32::from(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
    let (bias, largest) = ((1 << (exponent_bits - 1)) - 1, (1 << exponent_bits) - 1);
    let size = 2.0_f64.powi(fraction_bits as i32);
    let value = match exponent {
        0 => fraction / size * 2.0_f64.powi(1 - bias),
        e if e == largest && fraction == 0.0 => f64::INFINITY,
        e if e == largest => f64::NAN,
        e => (1.0 + fraction / size) * 2.0_f64.powi(e - bias),
    };
    (sign * value) as f32
}

#[test]
fn case_318_metadata_of_strings() {
    for value in ["1", "null", "[]", "{\"a\":1}", "{\"a\":null}", "{\"a\":{}}", "\"text\""] {
        is_json_error(parse(&format!(r#"{{"__metadata__":{value}}}"#), 0));
    }
    assert!(parse(r#"{"__metadata__":{"format":"pt","a":"\u0000"}}"#, 0).is_ok());
}

#[test]
fn cases_318_and_319_measured_in_seconds() {
    let entries: Vec<String> = (0..1_000_000).map(|i| format!(r#""k{i}":"v{i}""#)).collect();
    let start = thread_time();
    assert!(parse(&format!(r#"{{"__metadata__":{{{}}}}}"#, entries.join(",")), 0).is_ok());
    let took = thread_time() - start;
    assert!(took < Duration::from_secs(1), "{took:?}");

    let tensor = r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
    let entries: Vec<String> = (0..1_000_000).map(|i| format!(r#""t{i}":{tensor}"#)).collect();
    let header = format!("{{{}}}", entries.join(","));
    let file = safetensors(header.as_bytes(), &[]);
    drop((entries, header));
    let start = thread_time();
    let before = peak_bytes();
    let parsed = Header::parse(&file, file.len() as u64).unwrap();
    let took = thread_time() - start;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(parsed.tensors().len(), 1_000_000);
    if let (Some(before), Some(after)) = (before, peak_bytes()) {
        let more = after.saturating_sub(before);
        assert!(more <= 10 * file.len() as u64, "{more} bytes for a header of {}", file.len());
    }
}

/// The most memory that this process had at a time, where the system says so.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}
