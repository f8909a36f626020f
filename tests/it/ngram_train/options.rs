//! Memory, threads, units, and texts that cannot be.

use std::collections::HashSet;

use mote_formats::Gguf;
use mote_formats::ngram::{Trie, keys};

use super::*;

/// A text of some size that looks a little like one: Zipf's law, and sentences.
fn long_text(words: usize) -> Vec<u8> {
    let mut random = mote_tests::random::Random::new(7);
    let mut text = Vec::new();
    let mut last = 0;
    for i in 1..=words {
        let x = 1.0 / (1.0 + random.below(3000) as f64) * 3000.0;
        // Half of the words depend on the one before, so that n-grams come again.
        let word = if i % 2 == 0 { (last * 7 + x as usize % 3) % 997 } else { x as usize };
        text.extend_from_slice(format!("w{word}").as_bytes());
        last = word;
        text.push(if random.below(12) == 0 { b'\n' } else { b' ' });
    }
    text.push(b'\n');
    text
}

#[test]
fn memory_and_threads_change_no_byte() {
    let input = place("long.txt");
    std::fs::write(&input, long_text(200_000)).unwrap();
    for (i, smoothing) in ["mkn", "stupid"].iter().enumerate() {
        for (j, bits) in ["8", "32"].iter().enumerate() {
            let made = |memory, threads, name: &str| {
                let path = place(&format!("long-{i}-{j}-{name}.gguf"));
                let prune = if i == 0 { "0" } else { "0,0,1" };
                let args = [
                    "--smoothing",
                    smoothing,
                    "--value-bits",
                    bits,
                    "--prune",
                    prune,
                    "--memory",
                    memory,
                    "-t",
                    threads,
                    "-o",
                    text(&path),
                    text(&input),
                ];
                train(&args, b"").report();
                std::fs::read(path).unwrap()
            };
            let want = made("200M", "1", "all");
            let cases =
                [("1M", "1"), ("1M", "2"), ("1M", "4"), ("3M", "2"), ("200M", "4"), ("1G", "2")];
            for (memory, threads) in cases {
                let got = made(memory, threads, "part");
                assert!(got == want, "{smoothing}, {bits} bits, {memory}, {threads} threads");
            }
        }
    }
}

/// Whatever machine runs this: the checksum of everything that was estimated, and the file's length.
#[test]
fn the_model_is_the_same_bytes_on_every_cpu() {
    let input = place("golden.txt");
    std::fs::write(&input, long_text(20_000)).unwrap();
    let golden = [
        ("mkn", "8", 14158187296121226165, 66656),
        ("mkn", "32", 13696320081554616966, 144896),
        ("kn", "8", 2222501642524348580, 66656),
        ("stupid", "4", 3243606775757547202, 40352),
    ];
    let found = golden.map(|(smoothing, bits, ..)| {
        let path = place(&format!("golden-{smoothing}-{bits}.gguf"));
        let args =
            ["--smoothing", smoothing, "--value-bits", bits, "-o", text(&path), text(&input)];
        train(&args, b"").report();
        let file = std::fs::read(path).unwrap();
        let gguf = Gguf::parse(&file).unwrap();
        let Some(mote_formats::gguf::Value::U64(checksum)) = gguf.get(keys::CHECKSUM) else {
            panic!("no checksum")
        };
        Trie::new(&gguf).unwrap().verify().unwrap();
        (smoothing, bits, checksum, file.len())
    });
    assert_eq!(found, golden);
}

#[test]
fn packed_texts_and_pieces_of_a_text_are_the_text() {
    let whole = std::fs::read(tiny_text()).unwrap();
    let made = |args: &[&str], input: &[u8]| {
        let path = place("pieces.gguf");
        let args = [&["-n", "3", "-o", text(&path)], args].concat();
        train(&args, input).report();
        std::fs::read(path).unwrap()
    };
    let input = tiny_text();
    let want = made(&[text(&input)], b"");
    assert!(made(&[], &whole) == want, "standard input");
    let cut = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let (first, second) = (place("first.txt"), place("second.txt"));
    std::fs::write(&first, &whole[..cut]).unwrap();
    std::fs::write(&second, &whole[cut..]).unwrap();
    assert!(made(&[text(&first), text(&second)], b"") == want, "two files");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &whole).unwrap();
    assert!(made(&[], &packed.finish().unwrap()) == want, "packed");
}

#[test]
fn bytes_and_their_ids_are_the_same_model() {
    let lines = "abc cab\nbca\n\nünicode ab\nabc\n";
    let decimal: String = lines
        .lines()
        .map(|line| {
            let ids: Vec<String> = line.bytes().map(|byte| byte.to_string()).collect();
            ids.join(" ") + "\n"
        })
        .collect();
    let (bytes, ids, file) = (place("bytes.arpa"), place("ids.arpa"), place("bytes.gguf"));
    let exact = ["--value-bits", "32"];
    let args = ["-n", "4", "--units", "bytes", "--arpa", text(&bytes), "-o", text(&file)];
    train(&[&args[..], &exact].concat(), lines.as_bytes()).report();
    let args = ["-n", "4", "--units", "ids", "--arpa", text(&ids)];
    train(&args, decimal.as_bytes()).report();
    assert_eq!(arpa(&bytes), arpa(&ids));

    let file = std::fs::read(file).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    let model = Asked::new(&gguf);
    assert_eq!(model.ids.len(), 259);
    for context in [&[][..], &["<0x61>"], &["<0x61>", "<0x62>"], &["<0x00>"]] {
        let sum = model.sum_after(context);
        assert!((sum - 1.0).abs() < 2e-6, "after {context:?}: {sum}");
    }
}

#[test]
fn tokens_are_those_of_the_tokenizer() {
    let vocabulary = root().join("tests/fixtures/tokenizer/bpe_smollm.gguf");
    let lines = "Once upon a time\nthere was a mouse\n\nOnce there was a time\n";
    let tokenizer = ["--tokenizer", text(&vocabulary)];
    let (file, arpa_file) = (place("tokens.gguf"), place("tokens.arpa"));
    let exact = ["-n", "3", "--value-bits", "32"];
    let outputs = ["-o", text(&file), "--arpa", text(&arpa_file)];
    let args = [&tokenizer[..], &exact, &outputs].concat();
    let report = train(&args, lines.as_bytes()).report();
    assert_eq!(report["sentences"], 4);

    // The ids that `mote tokenize` gives, as text.
    let ids = lines.lines().map(|line| {
        let mut out = Vec::new();
        let args = ["mote", "tokenize", "-m", text(&vocabulary), "--no-bos", "--json", "-p", line];
        let mut streams = Streams {
            input: &mut &b""[..],
            output: &mut out,
            errors: &mut Vec::new(),
            terminal: Terminal::default(),
        };
        assert_eq!(mote_tools::run(args.map(OsString::from), &mut streams), 0);
        let report: Value = serde_json::from_slice(&out).unwrap();
        let ids = report["ids"].as_array().unwrap().iter().map(Value::to_string);
        ids.collect::<Vec<_>>().join(" ") + "\n"
    });
    let ids: String = ids.collect();
    let (file_of_ids, arpa_of_ids) = (place("token-ids.gguf"), place("token-ids.arpa"));
    let outputs = ["-o", text(&file_of_ids), "--arpa", text(&arpa_of_ids)];
    let args = [&tokenizer[..], &exact, &["--units", "ids"], &outputs].concat();
    train(&args, ids.as_bytes()).report();
    assert!(std::fs::read(&file).unwrap() == std::fs::read(file_of_ids).unwrap());
    assert_eq!(arpa(&arpa_file), arpa(&arpa_of_ids));
    // And without the tokenizer, the same text.
    train(&["-n", "3", "--units", "ids", "--arpa", text(&arpa_of_ids)], ids.as_bytes()).report();
    assert_eq!(arpa(&arpa_file), arpa(&arpa_of_ids));

    let file = std::fs::read(file).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    let model = Asked::new(&gguf);
    let sum = model.sum_after(&[]);
    assert!((sum - 1.0).abs() < 1e-5, "unseen tokens share the rest: {sum}");
}

#[test]
fn a_limited_vocabulary_leaves_out_n_grams_alone() {
    let list = place("list.txt");
    std::fs::write(&list, "the mouse\tate\ncheese unheard-of").unwrap();
    let (whole, limited) = (place("whole.arpa"), place("limited.arpa"));
    let file = place("limited.gguf");
    let input = tiny_text();
    train(&["-n", "3", "--arpa", text(&whole), text(&input)], b"").report();
    let args = ["--vocab-limit", text(&list), "--arpa", text(&limited), "-o", text(&file)];
    let args = [&["-n", "3", text(&input)], &args[..]].concat();
    train(&args, b"").report();
    let (whole, limited) = (arpa(&whole), arpa(&limited));
    let stays = |words: &str| {
        let list = ["the", "mouse", "ate", "cheese", "<s>", "</s>", "<unk>"];
        words.split(' ').all(|word| list.contains(&word))
    };
    let want = whole.keys().filter(|words| stays(words)).count();
    assert_eq!(limited.len(), want);
    assert!(limited.keys().all(|words| stays(words)));
    let file = std::fs::read(file).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(Asked::new(&gguf).ids.len(), 7);
}

#[test]
fn texts_and_options_that_cannot_be() {
    let path = place("none.gguf");
    let _ = std::fs::remove_file(&path);
    let refused = |args: &[&str], input: &[u8]| {
        let args = [&["-o", text(&path)], args].concat();
        let outcome = train(&args, input);
        assert!(!path.exists());
        (outcome.code, outcome.error())
    };
    let (code, error) = refused(&[], b"a b\nc <s> d\n");
    assert_eq!(code, 1);
    assert!(error.contains("line 2") && error.contains("--skip-symbols"), "{error}");
    assert_eq!(refused(&[], b"").0, 1);
    assert_eq!(refused(&["--stream"], b"\n\n").0, 1);
    let (code, error) = refused(&["--discount-fallback", "off", "-n", "2"], b"a b\n");
    assert_eq!((code, error.contains("1-grams give no discounts")), (1, true), "{error}");
    let folder = train(&["-o", "no/such/folder/lm.gguf"], b"a b\n");
    assert_eq!(folder.code, 1, "before any work");
    for args in [
        &["--prune", "1"][..],
        &["--prune", "0,2,1"],
        &["--prune", "0,0,0,1", "-n", "3"],
        &["-n", "0"],
        &["-n", "17"],
        &["--units", "tokens"],
        &["--units", "ids"],
        &["--vocab-pad", "9", "--interpolate-unigrams", "no"],
        &["--units", "bytes", "--vocab-limit", "list"],
        &["--smoothing", "stupid", "--arpa", "x.arpa"],
        &["--discount-fallback", "2,1,1"],
        &["--value-bits", "9"],
        &["--memory", "much"],
    ] {
        assert_eq!(refused(args, b"a b\n").0, 2, "{args:?}");
    }
    assert_eq!(refused(&["no/such/file"], b"").0, 1);
    assert_eq!(refused(&["--temp-dir", "no/such/folder"], b"a b\n").0, 1);
    let outcome = train(&["-n", "2"], b"a b\n");
    assert_eq!(outcome.code, 2, "nothing to write");
}

/// One sentence, and 16 words of context around it.
#[test]
fn any_order_and_the_shortest_texts() {
    for order in 1..=16 {
        for input in [&b"a\n"[..], b"a", b"\n", b"a b c d e f g h i j k l m n o p q r\n"] {
            let path = place(&format!("short-{order}.gguf"));
            let n = order.to_string();
            let outcome = train(&["-n", &n, "--value-bits", "32", "-o", text(&path)], input);
            outcome.report();
            let file = std::fs::read(&path).unwrap();
            let gguf = Gguf::parse(&file).unwrap();
            let model = Asked::new(&gguf);
            for context in [&[][..], &["a"], &["a", "b"], &["a", "b", "c", "d"], &["z"]] {
                let sum = model.sum_after(context);
                assert!((sum - 1.0).abs() < 1e-5, "order {order}, {input:?} {context:?}: {sum}");
            }
        }
    }
}

/// Counts as another program would make them of lines: n-grams by order, in shards.
fn write_counts(folder: &Path, input: &str, order: usize) {
    for k in 1..=order {
        let mut counts: HashMap<String, (u64, HashSet<&str>)> = HashMap::new();
        for line in input.lines() {
            let words: Vec<&str> =
                ["<s>"].into_iter().chain(line.split_ascii_whitespace()).chain(["</s>"]).collect();
            for (i, gram) in words.windows(k).enumerate().filter(|(_, gram)| *gram != ["<s>"]) {
                let left = i.checked_sub(1).map_or("", |before| words[before]);
                let place = counts.entry(gram.join(" ")).or_default();
                place.0 += 1;
                place.1.insert(left);
            }
        }
        let folder = folder.join(format!("{k}-grams"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut lines: Vec<String> = counts
            .iter()
            .map(|(gram, (raw, left))| {
                let own = k == order || gram.starts_with("<s>");
                let adjusted = if own { *raw } else { left.len() as u64 };
                format!("{gram}\t{raw}\t{adjusted}\n")
            })
            .collect();
        lines.sort();
        let (first, second) = lines.split_at(lines.len() / 3);
        std::fs::write(folder.join("part-00000"), first.concat()).unwrap();
        std::fs::write(folder.join("part-00001"), second.concat()).unwrap();
        std::fs::write(folder.join("_SUCCESS"), "").unwrap();
    }
}

#[test]
fn counts_made_elsewhere_give_the_same_bytes() {
    let input = place("counted.txt");
    std::fs::write(&input, long_text(5_000)).unwrap();
    let content = std::fs::read_to_string(&input).unwrap();
    for (order, prune) in [(1, "0"), (2, "0"), (3, "0,0,1"), (5, "0")] {
        let folder = place(&format!("counts-{order}"));
        write_counts(&folder, &content, order);
        let n = order.to_string();
        let made = |name: &str, from: &[&str]| {
            let path = place(name);
            let args = ["-n", &n, "--prune", prune, "-o", text(&path)];
            let args = [&args, from].concat();
            let report = train(&args, b"").report();
            (std::fs::read(path).unwrap(), report["tokens"].clone(), report["sentences"].clone())
        };
        let want = made("from-text.gguf", &[text(&input)]);
        let got = made("from-counts.gguf", &["--counts", text(&folder)]);
        assert!(got == want, "order {order}");
    }
    // What is not there, and what is wrong.
    let folder = place("counts-5");
    let path = place("from-no-counts.gguf");
    let args = ["-n", "6", "-o", text(&path), "--counts", text(&folder)];
    let outcome = train(&args, b"");
    assert!(outcome.error().contains("6-grams"), "{}", outcome.out);
    std::fs::create_dir_all(folder.join("6-grams")).unwrap();
    let long = format!("{}\t1\t1\n", "w0 ".repeat(6 << 20));
    for line in [
        "a b c\t1\t1\n",
        "w0 w0 w0 w0 w0 never-seen\t1\t1\n",
        "w0\n",
        "w0\tx\t1\n",
        "w0 w0 w0 w0 w0 w0\t18446744073709551615\t1\n",
        &long,
    ] {
        std::fs::write(folder.join("6-grams/part-00000"), line).unwrap();
        let outcome = train(&args, b"");
        assert!(outcome.error().contains("line 1"), "{line:.40} {}", outcome.out);
    }
}
