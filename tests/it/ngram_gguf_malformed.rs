//! Files of n-gram models that are damaged or lie: refused when they are opened, or else harmless:
//! every question is answered, and the answer ends.

use mote_formats::gguf::{Builder, Gguf, Reason, Value};
use mote_formats::ngram::{Trie, TrieError, keys};
use mote_kernels::Candidate;
use mote_runtime::ngram::{State, distribution, score, top};
use mote_runtime::{AnyModel, LoadError};
use mote_tests::models::fixture;
use mote_tests::ngram::{Words, convert, convert_to};

/// A model of 13 words, trigrams, exact values.
fn tiny() -> Vec<u8> {
    convert(&fixture("ngram/tiny/lmplz.order3.arpa")).unwrap()
}

/// A model large enough to be cut in many places: trigrams of 300 words.
fn larger() -> Vec<u8> {
    convert(larger_text().as_bytes()).unwrap()
}

fn larger_text() -> String {
    let words = 300;
    let mut text = format!("\\data\\\nngram 1={}\nngram 2=9000\nngram 3=9000\n", words + 3);
    text += "\n\\1-grams:\n-3\t<unk>\n0\t<s>\t-0.5\n-2\t</s>\n";
    (0..words).for_each(|word| text += &format!("-2.{word:03}\tw{word}\t-0.{word:03}\n"));
    let context = |i: usize| (i / 30, (i * 7 + i / 30) % words);
    for order in 2..=3 {
        text += &format!("\n\\{order}-grams:\n");
        for i in 0..9000 {
            let (a, b) = context(i);
            let last = if order == 3 { format!(" w{}", (i * 13) % words) } else { String::new() };
            text += &format!("-1.{i:04}\tw{a} w{b}{last}\n");
        }
    }
    text + "\n\\end\\\n"
}

/// The file again, with keys and tensors changed: `None` leaves one as it is.
fn rebuilt(
    file: &[u8],
    key: impl Fn(&str) -> Option<Value<'static>>,
    tensor: impl Fn(&str) -> Option<Vec<u8>>,
) -> Vec<u8> {
    let gguf = Gguf::parse(file).unwrap();
    let mut builder = Builder::new();
    for (name, value) in gguf.metadata() {
        builder.set(name, key(name).unwrap_or(value)).unwrap();
    }
    let mut contents = Vec::new();
    for old in gguf.tensors() {
        let data = tensor(old.name()).unwrap_or_else(|| old.data().to_vec());
        let size = old.data().len() / old.n_elements() as usize;
        let elements = (data.len() / size) as u64;
        builder.add_tensor(old.name(), &[elements], old.tensor_type()).unwrap();
        contents.push(data);
    }
    let mut writer = builder.write_index(Vec::new()).unwrap();
    contents.iter().for_each(|data| writer.write(data).unwrap());
    writer.finish().unwrap()
}

/// A tensor's u32s, changed.
fn words(file: &[u8], tensor: &str, change: impl Fn(&mut Vec<u32>)) -> Vec<u8> {
    let gguf = Gguf::parse(file).unwrap();
    let data = gguf.tensor(tensor).unwrap_or_else(|| panic!("{tensor}")).data();
    let mut words: Vec<u32> =
        data.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    change(&mut words);
    let data: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    rebuilt(file, |_| None, |name| (name == tensor).then(|| data.clone()))
}

fn with_key(file: &[u8], key: &str, value: Value<'static>) -> Vec<u8> {
    rebuilt(file, |name| (name == key).then_some(value), |_| None)
}

fn opened(file: &[u8]) -> Result<(), TrieError> {
    Trie::new(&Gguf::parse(file).unwrap()).map(|_| ())
}

/// Asks a model all that can be asked, along a short text.
fn ask(trie: &Trie<'_>) {
    let n = trie.n_words();
    let mut state = State::EMPTY;
    let mut all = vec![0.0; n.min(1 << 12)];
    let mut best = [Candidate::default(); 5];
    for i in 0..6_u32 {
        distribution(trie, &state, &mut all);
        let found = top(trie, &state, &mut best);
        let word = best[..found].first().map_or(i, |best| best.id);
        for word in [word, i * 3 % n as u32, n as u32, u32::MAX] {
            state = score(trie, &state, word).1;
        }
        state = score(trie, &state, i * 5 % n as u32).1;
    }
}

#[test]
fn case_347_header_and_keys() {
    let file = tiny();
    assert_eq!(opened(&file), Ok(()));
    let parse = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..][..bytes.len()].copy_from_slice(bytes);
        Gguf::parse(&file).map(|_| ()).unwrap_err().reason()
    };
    assert!(matches!(parse(0, b"LMGG"), Reason::Foreign(_)));
    assert_eq!(parse(4, &[9, 0, 0, 0]), Reason::Version(9));
    assert_eq!(parse(4, &[0, 0, 0, 3]), Reason::BigEndian);

    let key = |key: &'static str, value: Value<'static>| {
        assert_eq!(opened(&with_key(&file, key, value)), Err(TrieError::Key(key)), "{value:?}");
    };
    for order in [0_u32, 17, 255, u32::MAX] {
        key(keys::ORDER, order.into());
    }
    key(keys::ORDER, "3".into());
    // As many counts as orders, none of them too large.
    for order in [2_u32, 4] {
        let changed = with_key(&file, keys::ORDER, order.into());
        assert_eq!(opened(&changed), Err(TrieError::Key(keys::COUNTS)));
    }
    key(keys::COUNTS, 3_u64.into());
    for bits in [0_u32, 9, 31, 33, u32::MAX] {
        key(keys::VALUE_BITS, bits.into());
    }
    key(keys::SMOOTHING, "none".into());
    let stupid = with_key(&file, keys::SMOOTHING, "stupid-backoff".into());
    assert_eq!(opened(&stupid), Err(TrieError::Key(keys::ALPHA)));
    let other = with_key(&file, "general.architecture", "ngrams".into());
    assert_eq!(opened(&other), Err(TrieError::Architecture));
    // Codes that are not there.
    let coded = opened(&with_key(&file, keys::VALUE_BITS, 8_u32.into()));
    assert!(matches!(coded, Err(TrieError::Tensor { .. })), "{coded:?}");
}

/// The words of a directory's record: data, first key and widths, children.
#[test]
fn case_347_directories_that_lead_astray() {
    let file = larger();
    let n = Trie::new(&Gguf::parse(&file).unwrap()).unwrap().n_words();
    let directory = |level: usize, change: fn(&mut Vec<u32>)| {
        let changed = words(&file, &format!("{level}gram.directory"), change);
        assert_eq!(opened(&changed), Err(TrieError::Directory { level }));
    };
    // Data, or children, past the end.
    directory(2, |words| words[3] = u32::MAX);
    directory(2, |words| words[5] = u32::MAX);
    directory(3, |words| words[2] = u32::MAX / 2);
    // Children that come before those of the block before.
    directory(2, |words| words[3 * 4 + 2] = 0);
    directory(2, |words| words.swap(3 * 4 + 2, 3 * 9 + 2));
    // Behind the last.
    directory(2, |words| *words.last_mut().unwrap() -= 1);
    directory(2, |words| *words.last_mut().unwrap() += 1);
    // Keys of more bits than there are.
    directory(3, |words| words[1] |= 31 << 22);
    // A record too few, and one too many.
    directory(2, |words| words.truncate(words.len() - 3));
    directory(3, |words| words.extend([0, 0]));

    let unigrams =
        |change: &dyn Fn(&mut Vec<u32>)| opened(&words(&file, "unigram.entries", change));
    let astray = Err(TrieError::Directory { level: 1 });
    assert_eq!(unigrams(&|words| words[5] = u32::MAX), astray);
    assert_eq!(unigrams(&|words| words.swap(20 * 3 + 2, 40 * 3 + 2)), astray);
    assert_eq!(unigrams(&|words| words[n * 3 + 2] += 1), astray);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -99.5, 1e30] {
        let found = unigrams(&|words| words[6] = value.to_bits());
        assert!(matches!(found, Err(TrieError::Tensor { level: 1, .. })), "{value}: {found:?}");
    }
    // An id past the table.
    let found = opened(&words(&file, "unigram.by_probability", |words| words[1] = 303));
    assert_eq!(found, astray);
}

#[test]
fn case_347_a_checksum_that_is_wrong() {
    let file = larger();
    let verify = |file: &[u8]| Trie::new(&Gguf::parse(file).unwrap()).unwrap().verify();
    assert_eq!(verify(&file), Ok(()));
    let other = with_key(&file, keys::CHECKSUM, 1_u64.into());
    assert!(matches!(verify(&other), Err(TrieError::Checksum { stored: 1, .. })));
    // Data of any kind: ids and keys past the tables, values that are not finite.
    for byte in [0, 0x55, 0x7F, 0xFF] {
        let data = |name: &str| {
            let data = Gguf::parse(&file).unwrap().tensor(name)?.data().len();
            name.ends_with(".data").then(|| vec![byte; data])
        };
        let changed = rebuilt(&file, |_| None, data);
        assert!(matches!(verify(&changed), Err(TrieError::Checksum { .. })));
        ask(&Trie::new(&Gguf::parse(&changed).unwrap()).unwrap());
    }
}

/// A model is loaded only if its data is what was written.
#[test]
fn case_347_a_model_with_a_wrong_checksum_is_not_loaded() {
    let file = tiny();
    let data = Gguf::parse(&file).unwrap().tensor("3gram.data").unwrap().offset();
    for flipped in [0, 1] {
        let mut file = file.clone();
        file[data] ^= flipped;
        let gguf = Gguf::parse(&file).unwrap();
        let mut memory = vec![0; AnyModel::bytes_needed(&gguf).unwrap()];
        let model = AnyModel::new(&gguf, &mut memory);
        let refused = matches!(model, Err(LoadError::Ngram(TrieError::Checksum { .. })));
        assert_eq!(refused, flipped == 1, "{model:?}");
    }
}

/// Who damages a file can mend its checksum. Conversions end all the same, in time and memory that
/// the file's size bounds: n-grams with several contexts are refused.
#[test]
fn case_347_conversions_of_a_liars_file_end() {
    let file = convert_to(larger_text().as_bytes(), 8).unwrap();
    let place = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        path.to_str().unwrap().to_owned()
    };
    let (input, arpa, index) = (place("liar.gguf"), place("liar.arpa"), place("liar-index.gguf"));
    let mut refused = 0;
    for step in 0..60 {
        let damaged = |name: &str| {
            (name == "2gram.data").then(|| {
                let mut data = Gguf::parse(&file).unwrap().tensor(name).unwrap().data().to_vec();
                let at = step * data.len() / 60;
                data[at] ^= 0xa5;
                data
            })
        };
        let lying = rebuilt(&file, |_| None, damaged);
        let computed = match Trie::new(&Gguf::parse(&lying).unwrap()).unwrap().verify() {
            Err(TrieError::Checksum { computed, .. }) => computed,
            other => panic!("{other:?}"),
        };
        let mended = |key: &str| (key == keys::CHECKSUM).then_some(Value::U64(computed));
        std::fs::write(&input, rebuilt(&lying, mended, |_| None)).unwrap();
        for args in [&["-o", &arpa][..], &["--index", "-o", &index]] {
            let args = [&["ngram", "convert", "--force", &input], args].concat();
            refused += usize::from(crate::cli::mote(&args).code() != 0);
        }
    }
    assert!(refused > 20, "{refused} of 120");
}

#[test]
fn case_348_cut_anywhere() {
    let file = larger();
    assert!(file.len() > 1 << 16);
    let gguf = Gguf::parse(&file).unwrap();
    let end = gguf.tensors().map(|tensor| tensor.offset() + tensor.data().len()).max().unwrap();
    let random = (0..64_u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) as usize % end);
    let mut cuts: Vec<usize> = (0..end).step_by(4096).chain(random).collect();
    cuts.push(end - 1);
    assert!(cuts.len() > 64 + 16);
    for len in cuts {
        let cut = &file[..len];
        assert!(Gguf::parse(cut).ok().is_none_or(|gguf| Trie::new(&gguf).is_err()), "{len}");
    }
}

/// Successors stand one level below their context: no range can lead back. What can be done is to
/// let all contexts have the same successors, or to fill the data with noise.
#[test]
fn case_349_a_loop_cannot_be_written() {
    let file = larger();
    let n = Trie::new(&Gguf::parse(&file).unwrap()).unwrap().n_words();
    let all_to_last = words(&file, "unigram.entries", |words| {
        let end = words[n * 3 + 2];
        (1..n).for_each(|word| words[word * 3 + 2] = end);
    });
    ask(&Trie::new(&Gguf::parse(&all_to_last).unwrap()).unwrap());
    for (seed, bits) in (1..20).flat_map(|seed| [(seed, 32), (seed, 8), (seed, 1)]) {
        let file = convert_to(larger_text().as_bytes(), bits).unwrap();
        let noise = |name: &str| {
            let len = Gguf::parse(&file).unwrap().tensor(name)?.data().len();
            name.ends_with(".data").then(|| random_bytes(seed, len))
        };
        let file = rebuilt(&file, |_| None, noise);
        ask(&Trie::new(&Gguf::parse(&file).unwrap()).unwrap());
    }
}

fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Metadata, unigrams and directories; of the data, a part.
#[test]
fn every_changed_byte_is_survived() {
    survives(&tiny());
    survives(&convert_to(&fixture("ngram/tiny/lmplz.order3.arpa"), 8).unwrap());
}

fn survives(whole: &[u8]) {
    let gguf = Gguf::parse(whole).unwrap();
    let mut places: Vec<usize> = (0..gguf.index_bytes()).collect();
    for tensor in gguf.tensors() {
        let len = tensor.data().len().min(256);
        places.extend(tensor.offset()..tensor.offset() + len);
    }
    let mut file = whole.to_vec();
    let mut accepted = 0;
    for at in places {
        let old = whole[at];
        for new in [0, 1, 0x7F, 0x80, 0xFF, old ^ 2, old.wrapping_add(1), old.wrapping_sub(1)] {
            file[at] = new;
            let Ok(gguf) = Gguf::parse(&file) else { continue };
            let Ok(trie) = Trie::new(&gguf) else { continue };
            let _ = trie.verify();
            ask(&trie);
            accepted += 1;
        }
        file[at] = old;
    }
    assert!(accepted > 1000, "{accepted}");
}

#[test]
fn case_351_every_context_has_a_distribution() {
    let file = tiny();
    let gguf = Gguf::parse(&file).unwrap();
    let model = Words::new(&gguf);
    let long = ["the", "cat", "saw"].repeat(40);
    let contexts: [&[&str]; 8] = [
        &[],
        &["<s>"],
        &["zebra", "unicorn", "zebra"],
        &["<s>", "the", "mouse"],
        &["cheese", "zebra", "the"],
        &["</s>"],
        &["fell", "fell", "fell", "fell"],
        &long,
    ];
    for context in contexts {
        let state = model.state(context.iter().copied());
        let mut all = vec![0.0; model.trie.n_words()];
        distribution(&model.trie, &state, &mut all);
        for (id, log10) in (0..).zip(&all) {
            assert_eq!(score(&model.trie, &state, id).0.log10, *log10, "{context:?} {id}");
        }
        let sum: f64 = all.iter().map(|&log10| 10_f64.powf(log10.into())).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{context:?}: {sum}");
    }
    // What stands before the last words does not matter.
    let short = model.state(["the", "cat", "saw", "the", "cat", "saw"]);
    assert_eq!(model.state(long.iter().copied()), short);
}
