//! Files made by the builder, read back; and the same files damaged.

use std::format;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use mote_kernels::QuantType;

use super::*;

const SCALARS: [(&str, Value<'_>); 11] = [
    ("a.u8", Value::U8(200)),
    ("a.i8", Value::I8(-100)),
    ("a.u16", Value::U16(60_000)),
    ("a.i16", Value::I16(-30_000)),
    ("a.u32", Value::U32(4_000_000_000)),
    ("a.i32", Value::I32(-2_000_000_000)),
    ("a.f32", Value::F32(0.1)),
    ("a.bool", Value::Bool(true)),
    ("a.u64", Value::U64(u64::MAX)),
    ("a.i64", Value::I64(i64::MIN)),
    ("a.f64", Value::F64(0.1)),
];

/// One key of every type, an array of every element type, and three tensors.
fn sample() -> Builder {
    let mut builder = Builder::new();
    builder.set("general.architecture", "llama").unwrap();
    for (key, value) in SCALARS {
        builder.set(key, value).unwrap();
    }
    builder.set("a.bytes", Value::Str(Text::from(&b"\xff\x1b[2J"[..]))).unwrap();
    builder.set("a.empty", "").unwrap();
    builder.set_array("b.u8", &[1_u8, 2]).unwrap();
    builder.set_array("b.i8", &[-1_i8]).unwrap();
    builder.set_array("b.u16", &[1_u16, 500]).unwrap();
    builder.set_array("b.i16", &[-500_i16]).unwrap();
    builder.set_array("b.u32", &[1_u32, 70_000]).unwrap();
    builder.set_array("b.i32", &[-70_000_i32, 3, 4]).unwrap();
    builder.set_array("b.f32", &[0.5_f32, f32::INFINITY]).unwrap();
    builder.set_array("b.bool", &[true, false, true]).unwrap();
    builder.set_array("b.u64", &[1_u64 << 40]).unwrap();
    builder.set_array("b.i64", &[-1_i64 << 40]).unwrap();
    builder.set_array("b.f64", &[1e300_f64]).unwrap();
    builder.set_array::<f32>("b.none", &[]).unwrap();
    builder.set_strings("b.str", &["", "hello", "\u{2581}w"]).unwrap();
    builder.add_tensor("scalar", &[], QuantType::F32).unwrap();
    builder.add_tensor("token_embd.weight", &[64, 3], QuantType::Q8_0).unwrap();
    builder.add_tensor("blk.0.w", &[256, 2, 1, 2], TensorType::from_id(10).unwrap()).unwrap();
    builder
}

/// The builder's file, the data of tensor i being all bytes i + 1.
fn write(builder: &Builder) -> Vec<u8> {
    let mut data = builder.write_index(Vec::new()).unwrap();
    let mut byte = 1_u8;
    while data.left() > 0 {
        data.write(&vec![byte; data.left() as usize]).unwrap();
        byte = byte.wrapping_add(1);
    }
    data.finish().unwrap()
}

fn sample_file() -> Vec<u8> {
    write(&sample())
}

/// What two files say, apart from the version and the place of the data.
fn assert_same_index(a: &Gguf<'_>, b: &Gguf<'_>) {
    assert_eq!(a.alignment(), b.alignment());
    assert_eq!(a.n_keys(), b.n_keys());
    for ((a_key, a), (b_key, b)) in a.metadata().zip(b.metadata()) {
        // A scalar NaN is compared by its text, in which it equals itself.
        let same = a == b || format!("{a:?}") == format!("{b:?}");
        assert!(same && a_key == b_key, "{a_key}: {a:?}, {b_key}: {b:?}");
    }
    let tensors = |gguf: &Gguf<'_>| -> Vec<_> {
        let describe = |t: Tensor<'_>| (t.name().to_string(), t.dims().to_vec(), t.tensor_type());
        gguf.tensors().map(describe).collect()
    };
    assert_eq!(tensors(a), tensors(b));
}

/// Everything that a reader could ask of a file; nothing of it may panic.
fn touch_everything(gguf: &Gguf<'_>) {
    for (key, value) in gguf.metadata() {
        assert!(gguf.get(key).is_some());
        let _ = (value.as_u64(), value.as_f32(), value.as_str(), value.as_bool());
        if let Some(array) = value.as_array() {
            assert_eq!(array.iter().count(), array.len());
            for _ in array.strings().into_iter().flatten() {}
        }
    }
    assert_eq!(gguf.metadata().count(), gguf.n_keys());
    assert_eq!(gguf.tensors().count(), gguf.n_tensors());
    for tensor in gguf.tensors() {
        assert_eq!(tensor.row_bytes() as u64 * tensor.n_rows(), tensor.data().len() as u64);
        assert_eq!(gguf.tensor(tensor.name()).unwrap().offset(), tensor.offset());
        assert_eq!(tensor.offset() % gguf.alignment() as usize, 0);
    }
}

fn reason(bytes: &[u8]) -> Reason {
    Gguf::parse(bytes).unwrap_err().reason()
}

/// Where `needle` stands in the file.
fn position(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).unwrap()
}

/// `bytes` with `new` at `at`.
fn patched(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

#[test]
fn every_value_type_round_trips() {
    let bytes = sample_file();
    let gguf = Gguf::parse(&bytes).unwrap();
    assert_eq!((gguf.version(), gguf.alignment()), (3, 32));
    touch_everything(&gguf);
    for (key, value) in SCALARS {
        assert_eq!(gguf.get(key), Some(value));
    }
    assert_eq!(gguf.get("general.architecture").unwrap().as_str(), Some("llama"));
    assert_eq!(gguf.get("a.bytes").unwrap().as_str(), None);
    assert_eq!(gguf.get("a.bytes").unwrap().as_text().unwrap().as_bytes(), b"\xff\x1b[2J");
    assert_eq!(gguf.get("a.empty").unwrap().as_str(), Some(""));
    assert_eq!(gguf.get("a.none"), None);
    let array = |key| gguf.get(key).unwrap().as_array().unwrap();
    let i32s = array("b.i32").elements::<i32>().unwrap();
    assert_eq!(i32s.iter().collect::<Vec<_>>(), [-70_000, 3, 4]);
    assert_eq!((i32s.get(2), i32s.get(3), i32s.get(usize::MAX)), (Some(4), None, None));
    assert!(array("b.i32").elements::<u32>().is_none());
    let bools = array("b.bool").elements::<bool>().unwrap();
    assert_eq!(bools.iter().collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(array("b.f32").get(0), Some(Value::F32(0.5)));
    assert_eq!(array("b.f64").get(0), Some(Value::F64(1e300)));
    assert_eq!(array("b.f64").get(1), None);
    assert_eq!(array("b.none").iter().count(), 0);
    let values: Vec<_> = array("b.u16").iter().map(|value| value.as_u64().unwrap()).collect();
    assert_eq!(values, [1, 500]);
}

#[test]
fn strings_are_found_again_by_their_offsets() {
    let bytes = sample_file();
    let gguf = Gguf::parse(&bytes).unwrap();
    let array = gguf.get("b.str").unwrap().as_array().unwrap();
    assert_eq!(array.get(1), None, "a string has no place that is known without a walk");
    let mut strings = array.strings().unwrap();
    let mut offsets = Vec::new();
    assert_eq!(strings.len(), 3);
    for expected in ["", "hello", "\u{2581}w"] {
        offsets.push((strings.offset(), expected));
        assert_eq!(strings.next().unwrap().as_str(), Some(expected));
    }
    assert_eq!(strings.next(), None);
    for (offset, expected) in offsets {
        assert_eq!(gguf.string_at(offset).unwrap().as_str(), Some(expected));
    }
    assert_eq!(gguf.string_at(bytes.len() - 7), None);
    assert_eq!(gguf.string_at(usize::MAX), None);
}

#[test]
fn tensors_are_described_and_lie_where_they_were_written() {
    let bytes = sample_file();
    let gguf = Gguf::parse(&bytes).unwrap();
    let [scalar, embd, w] = gguf.tensors().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((scalar.name(), scalar.dims(), scalar.shape()), ("scalar", &[][..], [1; 4]));
    assert_eq!(scalar.data(), [1; 4]);
    assert_eq!(embd.kind(), Ok(QuantType::Q8_0));
    assert_eq!((embd.dims(), embd.n_elements(), embd.n_rows()), (&[64, 3][..], 192, 3));
    assert_eq!((embd.row_bytes(), embd.data().len()), (68, 204));
    assert!(embd.data().iter().all(|&byte| byte == 2));
    assert_eq!(&bytes[embd.offset()..][..204], embd.data());
    assert_eq!((w.tensor_type().name(), w.n_rows(), w.row_bytes()), ("q2_k", 4, 84));
    assert_eq!(gguf.tensor("blk.0.w").unwrap().offset(), w.offset());
    assert!(gguf.tensor("blk.0").is_none());
    assert!(gguf.index_bytes() <= scalar.offset());
}

#[test]
fn integers_convert_when_they_fit_and_floats_stay_floats() {
    let as_u32 = |value: Value<'_>| value.as_u32();
    assert_eq!(as_u32(Value::I8(-1)), None);
    assert_eq!(as_u32(Value::I64(7)), Some(7));
    assert_eq!(as_u32(Value::U64(1 << 32)), None);
    assert_eq!(as_u32(Value::F32(1.0)), None);
    assert_eq!(as_u32(Value::Bool(true)), None);
    assert_eq!(Value::U64(u64::MAX).as_i64(), None);
    assert_eq!(Value::U64(u64::MAX).as_u64(), Some(u64::MAX));
    assert_eq!(Value::F64(0.1).as_f32(), Some(0.1));
    assert_eq!(Value::U32(1).as_f32(), None);
    assert_eq!(Value::U8(1).as_bool(), None);
}

#[test]
fn text_is_escaped_for_terminals() {
    let text = Text::from(&b"a\x1b[2J\n\xff\xe2\x96\x81"[..]);
    assert_eq!(text.to_string(), "a\\u{1b}[2J\\n\\xff\u{2581}");
}

#[test]
fn version_2_is_read_like_version_3() {
    let three = sample_file();
    let two = patched(&three, 4, &[2]);
    let gguf = Gguf::parse(&two).unwrap();
    assert_eq!(gguf.version(), 2);
    assert_same_index(&gguf, &Gguf::parse(&three).unwrap());
}

#[test]
fn the_same_calls_write_the_same_bytes() {
    let first = sample_file();
    assert_eq!(first, sample_file());
    let gguf = Gguf::parse(&first).unwrap();
    assert_eq!(first, write(&Builder::copy_of(&gguf).unwrap()));
}

#[test]
fn every_alignment_round_trips() {
    for shift in 3..=12 {
        let mut builder = sample();
        builder.set("general.alignment", 1_u32 << shift).unwrap();
        let bytes = write(&builder);
        let gguf = Gguf::parse(&bytes).unwrap();
        assert_eq!(gguf.alignment(), 1 << shift);
        touch_everything(&gguf);
    }
}

#[test]
fn a_file_may_end_with_its_last_tensor_or_go_on() {
    let bytes = sample_file();
    let gguf = Gguf::parse(&bytes).unwrap();
    let last = gguf.tensors().last().unwrap();
    let end = last.offset() + last.data().len();
    assert!(end < bytes.len());
    assert!(Gguf::parse(&bytes[..end]).is_ok());
    let error = Gguf::parse(&bytes[..end - 1]).unwrap_err();
    assert!(matches!(error.reason(), Reason::DataPastEnd { .. }));
    let mut longer = bytes.clone();
    longer.extend([0xFF; 5000]);
    assert!(Gguf::parse(&longer).is_ok());
}

#[test]
fn a_file_without_tensors_needs_no_padding() {
    let mut builder = Builder::new();
    builder.set("general.architecture", "llama").unwrap();
    let bytes = builder.write_index(Vec::new()).unwrap().finish().unwrap();
    assert_eq!(bytes.len() % 32, 0);
    let index_bytes = Gguf::parse(&bytes).unwrap().index_bytes();
    let cut = Gguf::parse(&bytes[..index_bytes]).unwrap();
    assert_eq!((cut.n_keys(), cut.n_tensors()), (1, 0));
}

#[test]
fn every_truncation_is_an_error_inside_the_file() {
    let bytes = sample_file();
    let last = Gguf::parse(&bytes).unwrap().tensors().last().unwrap();
    for len in 0..last.offset() + last.data().len() {
        let error = Gguf::parse(&bytes[..len]).unwrap_err();
        assert!(error.offset() <= len as u64, "{len}: {error}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn no_single_byte_change_panics_and_what_is_accepted_is_sound() {
    let bytes = sample_file();
    let index_bytes = Gguf::parse(&bytes).unwrap().index_bytes();
    for at in 0..index_bytes {
        let old = bytes[at];
        let changes = [0, 1, 0x7F, 0x80, 0xFF, old ^ 1, old ^ 0x20, old.wrapping_add(1), !old];
        for new in changes {
            let changed = patched(&bytes, at, &[new]);
            match Gguf::parse(&changed) {
                Ok(gguf) => {
                    touch_everything(&gguf);
                    let again = write(&Builder::copy_of(&gguf).unwrap());
                    assert_same_index(&gguf, &Gguf::parse(&again).unwrap());
                }
                Err(error) => assert!(error.offset() <= changed.len() as u64, "{error}"),
            }
        }
    }
}

#[test]
fn other_containers_are_named() {
    let foreign = |bytes: &[u8]| match reason(bytes) {
        Reason::Foreign(foreign) => foreign,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(b""), Reason::Empty);
    assert!(matches!(reason(b"GGU"), Reason::Truncated { needed: 4, left: 3 }));
    assert_eq!(foreign(b"PK\x03\x04...."), Foreign::Zip);
    assert_eq!(foreign(b"\x80\x02}q\x00"), Foreign::Pickle);
    assert_eq!(foreign(b"\x02\0\0\0\0\0\0\0{}"), Foreign::Safetensors);
    assert_eq!(foreign(b"version https://git-lfs.github.com/spec/v1\n"), Foreign::GitLfsPointer);
    assert_eq!(foreign(b"tjgg\x03\0\0\0"), Foreign::LegacyGgml);
    assert_eq!(foreign(b"algg\x01\0\0\0"), Foreign::LegacyGgml);
    assert_eq!(foreign(b"<!DOCTYPE html>"), Foreign::Html);
    assert_eq!(foreign(b"gguf\x03\0\0\0"), Foreign::Unknown);
}

#[test]
fn versions_and_byte_orders_are_told_apart() {
    let bytes = sample_file();
    let with_version = |version: u32| reason(&patched(&bytes, 4, &version.to_le_bytes()));
    for version in [0, 1, 4, u32::MAX] {
        assert_eq!(with_version(version), Reason::Version(version));
    }
    for version in 1..=3_u32 {
        assert_eq!(with_version(version.swap_bytes()), Reason::BigEndian);
    }
}

#[test]
fn counts_are_checked_before_anything_is_read() {
    let bytes = sample_file();
    let tensors = |n: u64| Gguf::parse(&patched(&bytes, 8, &n.to_le_bytes())).unwrap_err();
    let keys = |n: u64| Gguf::parse(&patched(&bytes, 16, &n.to_le_bytes())).unwrap_err();
    assert_eq!(tensors(u64::MAX).reason(), Reason::TooManyTensors(u64::MAX));
    assert_eq!(keys(65_537).reason(), Reason::TooManyKeys(65_537));
    assert_eq!((tensors(1 << 56).offset(), keys(1 << 56).offset()), (8, 16));
    assert!(matches!(tensors(60_000).reason(), Reason::Count { count: 60_000, .. }));
    assert!(matches!(keys(60_000).reason(), Reason::Count { count: 60_000, .. }));
}

/// A header of no tensors and `n` keys, then `rest`.
fn raw(n_keys: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(n_keys.to_le_bytes());
    bytes.extend(rest);
    bytes
}

/// A key as it stands in a file: name, type, value.
fn raw_key(key: &[u8], value_type: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = (key.len() as u64).to_le_bytes().to_vec();
    bytes.extend(key);
    bytes.extend(value_type.to_le_bytes());
    bytes.extend(value);
    bytes
}

#[test]
fn what_is_wrong_with_a_key_is_told_with_its_place() {
    let count = |element_type: u32, count: u64| {
        [&element_type.to_le_bytes()[..], &count.to_le_bytes()].concat()
    };
    let with_padding = |mut value: Vec<u8>| {
        value.resize(value.len() + 64, 0);
        value
    };
    /// Key, value type, value; what is wrong, and where.
    type Case<'a> = (&'a [u8], u32, Vec<u8>, Reason, u64);
    let cases: &[Case<'_>] = &[
        (b"", 0, vec![0, 0], Reason::EmptyName, 24),
        (b"a\0b", 0, vec![0], Reason::NameHasNul, 24),
        (b"\xff", 0, vec![0], Reason::NameNotUtf8, 24),
        (&[b'k'; 65_536], 0, vec![0], Reason::NameTooLong(65_536), 24),
        (b"k", 13, vec![0; 16], Reason::ValueType(13), 33),
        (b"k", u32::MAX, vec![0; 16], Reason::ValueType(u32::MAX), 33),
        (b"k", 7, vec![2], Reason::Bool(2), 37),
        (b"k", 4, vec![0; 3], Reason::Truncated { needed: 4, left: 3 }, 37),
        (b"k", 8, vec![255; 8], Reason::Truncated { needed: u64::MAX, left: 0 }, 37),
        (b"k", 8, vec![0; 7], Reason::Truncated { needed: 8, left: 7 }, 37),
        (b"k", 9, with_padding(count(13, 1)), Reason::ValueType(13), 37),
        (b"k", 9, with_padding(count(9, 1)), Reason::NestedArray, 37),
        (b"k", 9, with_padding(count(0, 65)), Reason::Count { count: 65, left: 64 }, 41),
        (b"k", 9, with_padding(count(8, 9)), Reason::Count { count: 9, left: 64 }, 41),
        (
            b"k",
            9,
            with_padding(count(12, (1 << 61) + 1)),
            Reason::Count { count: (1 << 61) + 1, left: 64 },
            41,
        ),
        (b"k", 9, [count(7, 2), vec![1, 3]].concat(), Reason::Bool(3), 50),
        (
            b"k",
            9,
            [count(8, 1), vec![2, 0, 0, 0, 0, 0, 0, 0, b'a']].concat(),
            Reason::Truncated { needed: 2, left: 1 },
            49,
        ),
        (b"general.alignment", 10, vec![32, 0, 0, 0, 0, 0, 0, 0], Reason::WrongType, 53),
        (b"general.alignment", 4, vec![13, 0, 0, 0], Reason::Alignment(13), 53),
        (b"general.alignment", 4, vec![4, 0, 0, 0], Reason::Alignment(4), 53),
        (b"general.alignment", 4, vec![0, 0, 0, 0], Reason::Alignment(0), 53),
        (b"general.alignment", 4, vec![0, 32, 0, 0], Reason::Alignment(8192), 53),
        (b"split.count", 2, vec![2, 0], Reason::Split(2), 47),
        (b"split.count", 8, vec![0; 8], Reason::WrongType, 47),
    ];
    for (key, value_type, value, expected, offset) in cases {
        let error = Gguf::parse(&raw(1, &raw_key(key, *value_type, value))).unwrap_err();
        assert_eq!((error.reason(), error.offset()), (*expected, *offset), "{error}");
    }
    assert!(Gguf::parse(&raw(1, &raw_key(b"split.count", 2, &[1, 0]))).is_ok());
    let part = raw(1, &raw_key(b"split.count", 2, &[2, 0]));
    let part = Gguf::parse_part(&part).unwrap();
    assert_eq!(part.get("split.count").and_then(|value| value.as_u64()), Some(2));
    let damaged = raw(1, &raw_key(b"split.count", 8, &[0; 8]));
    assert_eq!(Gguf::parse_part(&damaged).unwrap_err().reason(), Reason::WrongType);
    assert!(Gguf::parse(&raw(1, &raw_key(&[b'k'; 65_535], 0, &[0]))).is_ok());
}

#[test]
fn a_string_has_a_limit_of_its_own() {
    let mut value = (MAX_STRING_BYTES + 1).to_le_bytes().to_vec();
    value.resize(value.len() + MAX_STRING_BYTES as usize + 1, b'x');
    let error = Gguf::parse(&raw(1, &raw_key(b"k", 8, &value))).unwrap_err();
    assert_eq!(error.reason(), Reason::StringTooLong(MAX_STRING_BYTES + 1));
    value.pop();
    value[..8].copy_from_slice(&MAX_STRING_BYTES.to_le_bytes());
    assert!(Gguf::parse(&raw(1, &raw_key(b"k", 8, &value))).is_ok());
}

#[test]
fn duplicates_are_told_where_they_stand_again() {
    let bytes = sample_file();
    let at = position(&bytes, b"a.i8");
    let error = Gguf::parse(&patched(&bytes, at, b"a.u8")).unwrap_err();
    assert_eq!((error.reason(), error.offset()), (Reason::Duplicate, at as u64 - 8));
    assert_eq!(
        error.to_string(),
        format!("key \"a.u8\": stands in the file twice (at byte {})", at - 8)
    );

    let mut builder = Builder::new();
    builder.add_tensor("t.0", &[8], QuantType::F32).unwrap();
    builder.add_tensor("t.1", &[8], QuantType::F32).unwrap();
    let bytes = write(&builder);
    let error = Gguf::parse(&patched(&bytes, position(&bytes, b"t.1"), b"t.0")).unwrap_err();
    assert_eq!(error.reason(), Reason::Duplicate);
    assert!(error.to_string().starts_with("tensor \"t.0\": "));
}

#[test]
fn what_is_wrong_with_a_tensor_is_told_with_its_place() {
    let bytes = sample_file();
    // After the name: dimensions u32, 64 and 3 as u64, type u32, data offset u64.
    let at = position(&bytes, b"token_embd.weight") + 17;
    let (dims, shape, kind, offset) = (at, at + 4, at + 20, at + 24);
    let u64s = |numbers: [u64; 2]| numbers.map(u64::to_le_bytes).concat();
    let huge = 1_u64 << 62;
    let cases: &[(usize, Vec<u8>, Reason, usize)] = &[
        (dims, vec![5], Reason::Dimensions(5), dims),
        (dims, vec![255; 4], Reason::Dimensions(u32::MAX), dims),
        (shape, u64s([0, 3]), Reason::ZeroDimension, dims),
        (shape, u64s([64, 0]), Reason::ZeroDimension, dims),
        (shape, u64s([63, 3]), Reason::PartialBlock { row: 63, block: 32 }, dims),
        (shape, u64s([huge, 4]), Reason::ShapeOverflow, dims),
        (shape, u64s([u64::MAX - 31, 1]), Reason::ShapeOverflow, dims),
        (kind, vec![43], Reason::TensorType(43), kind),
        (kind, vec![255; 4], Reason::TensorType(u32::MAX), kind),
        (kind, vec![31], Reason::TensorType(31), kind),
        (offset, vec![36], Reason::Misaligned(36), offset),
        (offset, vec![0], Reason::NotContiguous { expected: 32, found: 0 }, offset),
        (offset, vec![64], Reason::NotContiguous { expected: 32, found: 64 }, offset),
    ];
    for (at, new, expected, place) in cases {
        let error = Gguf::parse(&patched(&bytes, *at, new)).unwrap_err();
        assert_eq!((error.reason(), error.offset()), (*expected, *place as u64), "{error}");
        assert!(error.to_string().starts_with("tensor \"token_embd.weight\": "), "{error}");
    }
    for wrapping in [u64::MAX - 31, 1 << 63, 1 << 30] {
        let error = Gguf::parse(&patched(&bytes, offset, &wrapping.to_le_bytes())).unwrap_err();
        assert!(matches!(error.reason(), Reason::DataPastEnd { .. }), "{error}");
    }
}

#[test]
fn long_and_hostile_names_are_cut_and_escaped() {
    let key = [b"\x1b[31m".repeat(20), vec![0xFF]].concat();
    let error = Gguf::parse(&raw(1, &raw_key(&key, 99, &[0; 8]))).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("key \"\\u{1b}[31m\\u{1b}[31m"), "{text}");
    assert!(text.contains("...\": unknown value type 99"), "{text}");
    assert!(text.chars().all(|c| !c.is_control()));
}

#[test]
fn known_encodings_have_the_sizes_that_mote_computes_with() {
    for &quant_type in QuantType::ALL {
        let tensor_type = TensorType::from_id(quant_type.gguf_id()).unwrap();
        assert_eq!(tensor_type.quant_type(), Some(quant_type));
        assert_eq!(tensor_type.block_bytes() as usize, quant_type.block_bytes());
    }
    for id in 0..64 {
        if let Some(tensor_type) = TensorType::from_id(id) {
            assert_eq!(tensor_type.id(), id);
            let size = tensor_type.data_bytes([tensor_type.block_len().into(), 1, 1, 1]);
            assert_eq!(size, Ok(tensor_type.block_bytes().into()));
        }
    }
}

#[test]
fn the_builder_refuses_what_the_parser_would() {
    let mut builder = sample();
    let before = write(&builder);
    let reason = |result: Result<(), BuildError>| result.unwrap_err().reason();
    assert_eq!(reason(builder.set("a.u8", 1_u8)), Reason::Duplicate);
    assert_eq!(reason(builder.set("", 1_u8)), Reason::EmptyName);
    assert_eq!(reason(builder.set("a\0", 1_u8)), Reason::NameHasNul);
    assert_eq!(reason(builder.set("general.alignment", 13_u32)), Reason::Alignment(13));
    assert_eq!(reason(builder.set_array("general.alignment", &[32_u32])), Reason::WrongType);
    assert_eq!(reason(builder.set("split.count", 2_u16)), Reason::Split(2));
    let long = vec![b'x'; MAX_STRING_BYTES as usize + 1];
    let too_long = Reason::StringTooLong(MAX_STRING_BYTES + 1);
    assert_eq!(reason(builder.set_strings("s", &[&b""[..], &long])), too_long);
    let f32s = QuantType::F32;
    assert_eq!(reason(builder.add_tensor("scalar", &[1], f32s)), Reason::Duplicate);
    assert_eq!(reason(builder.add_tensor("t", &[1; 5], f32s)), Reason::Dimensions(5));
    assert_eq!(reason(builder.add_tensor("t", &[4, 0], f32s)), Reason::ZeroDimension);
    let error = builder.add_tensor("t", &[31], QuantType::Q8_0).unwrap_err();
    assert_eq!(error.to_string(), "tensor \"t\": rows of 31 elements are not whole blocks of 32");
    assert_eq!(write(&builder), before, "a refused call leaves no trace");
}

#[test]
fn data_is_taken_in_pieces_and_counted() {
    let builder = sample();
    let mut data = builder.write_index(Vec::new()).unwrap();
    assert_eq!(data.write(&[1; 5]), Err(WriteError::TooMuchData(1)));
    let mut byte = 1;
    while data.left() > 0 {
        for _ in 0..data.left() {
            data.write(&[byte]).unwrap();
        }
        byte += 1;
    }
    assert_eq!(data.write(&[0]), Err(WriteError::TooMuchData(1)));
    assert_eq!(data.finish().unwrap(), sample_file());
    let unfinished = builder.write_index(Vec::new()).unwrap();
    assert_eq!(unfinished.finish(), Err(WriteError::MissingData(3)));
}

/// More keys than the table of one pass, with a string array before them that must be skipped.
#[test]
fn many_keys_and_tensors_are_told_apart() {
    let mut builder = Builder::new();
    builder.set_strings("tokens", &vec!["token"; 10_000]).unwrap();
    for i in 0..2000 {
        builder.set(&format!("key.{i}"), i as u32).unwrap();
        builder.add_tensor(&format!("t.{i}"), &[1], QuantType::F32).unwrap();
    }
    let bytes = write(&builder);
    let gguf = Gguf::parse(&bytes).unwrap();
    assert_eq!(gguf.get("key.1999").unwrap().as_u32(), Some(1999));
    let at = position(&bytes, b"key.1999");
    assert_eq!(reason(&patched(&bytes, at, b"key.1000")), Reason::Duplicate);
    let at = position(&bytes, b"t.1999");
    assert_eq!(reason(&patched(&bytes, at, b"t.1000")), Reason::Duplicate);
}
