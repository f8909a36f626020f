//! What the reader and the writer promise to their callers; malformed texts are in tests/it.

use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use super::*;
use crate::ngram::MAX_ORDER;

const SMALL: &str = "\\data\\\nngram 1=3\nngram 2=2\n\n\\1-grams:\n-1\t<unk>\t0\n-0.5\ta\t-0.25\n\
    -0.75\tb\n\n\\2-grams:\n-0.125\ta b\n-2e-1\tb a\n\n\\end\\\n";

/// Order, words, probability and back-off weight of every n-gram, or the sentence of the error.
fn read<L: Lines<Error: core::fmt::Display>>(lines: L) -> Result<Vec<String>, String> {
    let text = |error: ReadError<L::Error>| error.to_string();
    let mut reader = Reader::new(lines).map_err(text)?;
    let mut all = vec![format!("{:?}", reader.counts())];
    while let Some(entry) = reader.next_entry().map_err(text)? {
        let words: Vec<_> = entry.words().map(String::from_utf8_lossy).collect();
        assert_eq!(words.len(), entry.order);
        all.push(format!("{} {:?} {} {}", entry.line, words, entry.probability, entry.backoff));
    }
    assert!(reader.next_entry().is_ok_and(|entry| entry.is_none()));
    Ok(all)
}

#[test]
fn n_grams_come_in_order_from_memory_and_from_a_reader() {
    let expected = [
        "[3, 2]",
        "6 [\"<unk>\"] -1 0",
        "7 [\"a\"] -0.5 -0.25",
        "8 [\"b\"] -0.75 0",
        "11 [\"a\", \"b\"] -0.125 0",
        "12 [\"b\", \"a\"] -0.2 0",
    ];
    assert_eq!(read(SliceLines::new(SMALL.as_bytes())).unwrap(), expected);
    for capacity in [1, 7, 4096] {
        let reader = std::io::BufReader::with_capacity(capacity, SMALL.as_bytes());
        assert_eq!(read(ReadLines::new(reader)).unwrap(), expected);
    }
}

#[test]
fn a_reader_that_fails_is_an_error_of_its_own() {
    #[derive(Debug)]
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let error = Reader::new(ReadLines::new(std::io::BufReader::new(Broken))).unwrap_err();
    assert!(matches!(error, ReadError::Source(_)));
    assert_eq!(error.to_string(), "the disk is gone");
}

#[test]
fn what_is_written_is_lmplzs_form_and_reads_the_same() {
    let mut writer = Writer::new(Vec::new(), &[3, 2]).unwrap();
    writer.push([&b"<unk>"[..]], -1.0, 0.0).unwrap();
    writer.push([&b"a"[..]], -0.5, -0.25).unwrap();
    writer.push([&b"b"[..]], -0.75, 0.0).unwrap();
    writer.push([&b"a"[..], b"b"], -0.125, 0.0).unwrap();
    writer.push([&b"b"[..], b"a"], -0.2, 0.0).unwrap();
    let text = writer.finish().unwrap();
    let expected = SMALL.replace("b\n\n", "b\t0\n\n").replace("-2e-1", "-0.2");
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn every_number_is_read_back_bit_for_bit() {
    // Steps through all exponents, with mantissas of every kind.
    let numbers: Vec<f32> = (0x8000_0000_u32..0xFF80_0000)
        .step_by(10_007)
        .map(f32::from_bits)
        .chain([-0.0, 0.0, -1e-45, f32::MIN, -99.0])
        .collect();
    let mut writer = Writer::new(Vec::new(), &[numbers.len() as u64, 0]).unwrap();
    for &number in &numbers {
        writer.push([&b"a"[..]], number, -number).unwrap();
    }
    let text = writer.finish().unwrap();
    let mut reader = Reader::new(SliceLines::new(&text)).unwrap();
    for number in numbers {
        let entry = reader.next_entry().unwrap().unwrap();
        assert_eq!(entry.probability.to_bits(), number.to_bits());
        assert_eq!(entry.backoff.to_bits(), (-number).to_bits());
    }
}

#[test]
fn the_writer_refuses_what_could_not_be_read() {
    let word: &[u8] = b"a";
    let start = || Writer::new(Vec::new(), &[2, 1]).unwrap();
    for bad in [&b""[..], b"a b", b"a\tb", b"a\r", b"a\nb", b"a\0"] {
        assert_eq!(start().push([bad], -1.0, 0.0), Err(WriteError::Word));
    }
    for (probability, backoff) in [(0.5, 0.0), (f32::NAN, 0.0), (-1.0, f32::NAN)] {
        assert_eq!(start().push([word], probability, backoff), Err(WriteError::Number));
    }
    assert_eq!(start().push([word, word], -1.0, 0.0), Err(WriteError::Words));
    assert_eq!(start().finish(), Err(WriteError::Count));
    let mut full = Writer::new(Vec::new(), &[1]).unwrap();
    full.push([word], -1.0, 0.0).unwrap();
    assert_eq!(full.push([word], -1.0, 0.0), Err(WriteError::Count));
    for order in [0, MAX_ORDER + 1] {
        let refused = Writer::new(Vec::new(), &vec![1; order]).map(|_| ());
        assert_eq!(refused, Err(WriteError::Order(order)));
    }
}

#[test]
fn minus_infinity_is_taken_only_when_asked_for() {
    let text = SMALL.replace("-0.75", "-inf");
    let refused = read(SliceLines::new(text.as_bytes())).unwrap_err();
    assert_eq!(refused, "line 8: the log probability -inf; for a probability of zero write -99");
    let reader = Reader::new(SliceLines::new(text.as_bytes())).unwrap();
    let mut reader = reader.accept_minus_infinity();
    let mut least = 0_f32;
    while let Some(entry) = reader.next_entry().unwrap() {
        least = least.min(entry.probability);
    }
    assert_eq!(least, f32::NEG_INFINITY);
}
