//! score --bits, score --compare, shannon and rescore, on models small enough to be worked out by hand,
//! and on KenLM's figures.

use mote_tests::shared::{real_model, shared};

use super::*;

/// Bigrams of three words. log10 p: a after <s> -0.25, b after a -0.4, c after a -0.8, </s> after b
/// -0.35; everything else backs off.
const WORDS: &str = "\
\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-1\t<unk>
-99\t<s>\t-0.3
-0.6\t</s>
-0.5\ta\t-0.2
-0.7\tb\t-0.1
-0.9\tc

\\2-grams:
-0.25\t<s> a
-0.4\ta b
-0.35\tb </s>
-0.8\ta c

\\end\\
";

/// The bytes a, b and blank; all others share a thousandth.
const BYTES: &str = "\
\\data\\
ngram 1=6
ngram 2=1

\\1-grams:
-3\t<unk>
-99\t<s>
-1.5\t</s>
-0.5\t97
-0.7\t98
-0.6\t32\t-0.1

\\2-grams:
-0.2\t32 98

\\end\\
";

/// An ARPA text as a GGUF file.
fn ngram(name: &str, arpa: &[u8], more: &[&str]) -> String {
    let text = file(&format!("{name}.arpa"), arpa);
    let model = format!("{text}.gguf");
    let args = ["ngram", "convert", &text, "-o", &model, "--value-bits", "32", "--force"];
    mote(&[&args[..], more].concat()).text();
    model
}

fn number(value: &Value, path: &[&str]) -> f64 {
    let found = path.iter().fold(value, |value, key| &value[key]);
    found.as_f64().unwrap_or_else(|| panic!("{path:?}: {value}"))
}

fn near(found: f64, wanted: f64) {
    assert!((found - wanted).abs() <= 1e-6 * wanted.abs().max(1.0), "{found}, not {wanted}");
}

#[test]
fn perplexities_have_their_conventions() {
    let model = ngram("bits", WORDS.as_bytes(), &[]);
    let args = ["score", "-m", &model, "--bits", "--lines", "--tokens", "--json"];
    // -0.25 -0.4 -0.35; c backs off to -1.2, x is -1 after it, and </s> -0.6.
    let report = mote_reading(&args, b"a b\nc  x\n").json();
    let wanted = [
        "all",
        "bytes",
        "characters",
        "mode",
        "sentences",
        "tokens",
        "unknown",
        "without_ends",
        "without_ends_and_unknown",
        "without_unknown",
        "words",
    ];
    assert_eq!(keys(&report), wanted);
    for (convention, log10, tokens) in [
        ("all", -3.8, 6),
        ("without_unknown", -2.8, 5),
        ("without_ends", -2.85, 4),
        ("without_ends_and_unknown", -1.85, 3),
    ] {
        let mean = -log10 / f64::from(tokens);
        assert_eq!(report[convention]["tokens"], tokens);
        near(number(&report, &[convention, "perplexity"]), 10f64.powf(mean));
        near(number(&report, &[convention, "bits_per_token"]), mean * 10f64.log2());
        near(number(&report, &[convention, "nll"]), -log10 * 10f64.ln());
        assert_eq!(report[convention]["bits_per_word"].is_null(), convention.contains("unknown"));
    }
    near(number(&report, &["all", "perplexity_per_word"]), 10f64.powf(3.8 / 6.0));
    near(number(&report, &["all", "bits_per_byte"]), 3.8 * 10f64.log2() / 9.0);
    near(number(&report, &["without_ends", "bits_per_character"]), 2.85 * 10f64.log2() / 7.0);
    let sizes = ["sentences", "words", "characters", "bytes", "unknown"];
    assert_eq!(sizes.map(|key| report[key].as_u64().unwrap()), [2, 4, 7, 7, 1]);
    let tokens = report["tokens"].as_array().unwrap();
    let matched: Vec<&Value> = tokens.iter().map(|token| &token["matched"]).collect();
    assert_eq!(matched, [2, 2, 2, 1, 1, 1]);
    near(number(&tokens[3], &["log10"]), -1.2);
    assert_eq!((&tokens[4]["unknown"], &tokens[4]["sentence"]), (&true.into(), &2.into()));
    // A line without its end is one, and an empty one has an end.
    assert_eq!(mote_reading(&args, b"a b\nc  x").json(), report);
    let empty = mote_reading(&args, b"\n").json();
    near(number(&empty, &["all", "nll"]), 0.9 * 10f64.ln());
    // Ids are the same.
    let ids = file("bits_ids", b"3 4\n5 0\n");
    let by_ids = mote(&[&args[..], &["--ids-file", &ids]].concat()).json();
    assert_eq!((&by_ids["all"]["nll"], &by_ids["words"]), (&report["all"]["nll"], &3.into()));
    let open = mote_reading(&[&args[..], &["--no-end"]].concat(), b"a b\nc  x").json();
    near(number(&open, &["all", "nll"]), 2.85 * 10f64.ln());
}

#[test]
fn a_stream_has_one_beginning_and_no_end() {
    let model = ngram("stream", WORDS.as_bytes(), &[]);
    let args = ["score", "-m", &model, "--bits", "--json"];
    let report = mote_reading(&args, b"a b\na b\n").json();
    // a after b backs off: -0.1 -0.5.
    near(number(&report, &["all", "nll"]), (0.25 + 0.4 + 0.6 + 0.4) * 10f64.ln());
    assert_eq!((&report["mode"], &report["all"]), (&"stream".into(), &report["without_ends"]));
    let begun = mote_reading(&[&args[..], &["--begin", "a"]].concat(), b"b").json();
    near(number(&begun, &["all", "nll"]), 0.4 * 10f64.ln());
    let people = mote(&["score", "-m", &model, "--bits", "--tokens", "-p", "a x"]);
    for part in ["ln p", "log10 p", "without unknown", "bits/byte"] {
        assert!(people.text().contains(part), "{}", people.out);
    }
    let (llama, _) = baseline();
    let args = ["score", "-m", &llama, "-p", "hello a world", "--json"];
    let (bits, plain) = (mote(&[&args[..], &["--bits"]].concat()).json(), mote(&args).json());
    assert_eq!(bits["all"]["nll"], plain["nll"]);
    near(number(&bits, &["all", "bits_per_byte"]), number(&plain, &["bits_per_byte"]));
}

/// KenLM's perplexities, and its log10 p and matched length of every token.
#[test]
fn kenlm_has_the_same_perplexities() {
    let Some(folder) = shared("ngram") else { return };
    for (name, more, has_ids) in [
        ("brown2k/o2", &[][..], false),
        ("brown2k/o3_prune_0_0_1", &[], false),
        ("brown2k/o3_interpolate_unigrams_0", &["--accept-inf"], false),
        ("shake2000/o4", &[], false),
        ("bytes_brown/o6_fb_prune_0_0_0_1_1_1", &["--units", "bytes"], true),
    ] {
        let path = folder.join(name);
        let arpa = std::fs::read(path.with_extension("arpa")).unwrap();
        let model = ngram(&format!("kenlm_{}", name.replace('/', "_")), &arpa, more);
        let test = path.with_file_name("test.txt");
        // Bytes have ids from 3 on.
        let shift = |line: &str| -> String {
            let ids = line.split(' ').map(|byte| byte.parse::<u32>().unwrap() + 3);
            ids.map(|id| format!("{id} ")).collect()
        };
        let text = std::fs::read_to_string(&test).unwrap();
        let ids: Vec<String> = text.lines().filter(|_| has_ids).map(shift).collect();
        let ids = file(&format!("kenlm_{}.ids", name.replace('/', "_")), ids.join("\n").as_bytes());
        let from = if has_ids { ["--ids-file", &ids] } else { ["-f", test.to_str().unwrap()] };
        let args = ["score", "-m", &model, "--bits", "--lines", "--tokens", "--json"];
        let report = mote(&[&args[..], &from].concat()).json();
        let known = &json(&path.with_extension("json"))["models"]["arpa"];
        for (ours, theirs) in [("all", "ppl_incl_oov"), ("without_unknown", "ppl_excl_oov")] {
            let (found, wanted) =
                (number(&report, &[ours, "perplexity"]), number(known, &[theirs]));
            assert!((found / wanted - 1.0).abs() < 1e-6, "{name}: {ours} {found}, {wanted}");
        }
        assert_eq!(
            (&report["unknown"], &report["all"]["tokens"]),
            (&known["oov"], &known["tokens"])
        );
        let table = std::fs::read_to_string(path.with_extension("arpa.tokens.tsv")).unwrap();
        let tokens = report["tokens"].as_array().unwrap();
        assert_eq!(table.lines().count(), tokens.len() + 1);
        for (line, token) in table.lines().skip(1).zip(tokens) {
            let fields: Vec<&str> = line.split('\t').collect();
            let log10: f64 = fields[5].parse().unwrap();
            assert!((number(token, &["log10"]) - log10).abs() < 1e-5, "{name}: {line} {token}");
            assert_eq!(fields[4], token["matched"].to_string(), "{name}: {line}");
        }
    }
}

/// Token ids have no unknown word: the ids that KenLM has not seen share what it gives to one.
#[test]
fn kenlm_has_the_same_perplexity_of_token_ids() {
    let Some(folder) = shared("ngram/bpe_shake") else { return };
    let Some(vocabulary) = real_model("SmolLM2-135M-Instruct.Q4_1.gguf") else { return };
    let path = folder.join("o4_fb_prune_0_0_1.arpa");
    let arpa = std::fs::read(&path).unwrap();
    let model = ngram("kenlm_bpe", &arpa, &["--tokenizer", vocabulary.to_str().unwrap()]);
    let test = folder.join("test.txt");
    let args = ["score", "-m", &model, "--bits", "--lines", "--ids-file", test.to_str().unwrap()];
    let report = mote(&[&args[..], &["--json"]].concat()).json();
    let known = &json(&path.with_extension("json"))["models"]["arpa"];
    for (ours, theirs) in [("unknown_as_one", "ppl_incl_oov"), ("without_unknown", "ppl_excl_oov")]
    {
        let (found, wanted) = (number(&report, &[ours, "perplexity"]), number(known, &[theirs]));
        assert!((found / wanted - 1.0).abs() < 1e-5, "{ours} {found}, {wanted}");
    }
    assert!(number(&report, &["all", "perplexity"]) > number(known, &["ppl_incl_oov"]));
    assert_eq!((&report["unknown"], &report["all"]["tokens"]), (&known["oov"], &known["tokens"]));
}

/// What stupid backoff has not seen is impossible.
#[test]
fn what_is_impossible_costs_infinitely_much() {
    let text = file("stupid.txt", b"a b\na c\nb a\n");
    let model = format!("{text}.gguf");
    let train = ["ngram", "train", "-n", "2", "--smoothing", "stupid", "--value-bits", "32"];
    let _ = std::fs::remove_file(&model);
    mote(&[&train[..], &["-o", &model, &text]].concat()).text();
    let args = ["score", "-m", &model, "--bits", "--lines", "--tokens", "--json"];
    let report = mote_reading(&args, b"a x b\n").json();
    assert!(report["all"]["perplexity"].is_null() && report["tokens"][1]["log10"].is_null());
    // 2/3 of the lines begin with a; b is 2 of 9 after unknown words, times 0.4; 1/2 of b ends a line.
    let nll = -(2.0f64 / 3.0 * 0.4 * 2.0 / 9.0 * 0.5).ln();
    near(number(&report, &["without_unknown", "nll"]), nll);
    let told = mote_reading(&args[..6], b"a x b\n");
    assert!(told.text().contains("-inf") && told.text().contains(" inf"), "{}", told.out);
}

/// A mixture of a model with itself is the model.
#[test]
fn mixtures_are_scored_too() {
    let (llama, _) = baseline();
    let score = |more: &[&str]| {
        let args = ["score", "-m", &llama, "--bits", "--lines", "-p", "hello a\nworld", "--json"];
        number(&mote(&[&args[..], more].concat()).json(), &["all", "nll"])
    };
    near(score(&["--mix", &llama]), score(&[]));
    let lists = file("mixed_lists.tsv", LISTS);
    let args = ["rescore", "-m", &llama, "--mix", &llama, "-f", &lists, "--json"];
    assert!(mote(&args).json()["lists"][0]["hypotheses"][0]["language"].is_f64());
    let args = ["shannon", "-m", &llama, "-p", "hello a world", "--json"];
    let mixed = mote(&[&args[..], &["--mix", &llama]].concat()).json();
    assert_eq!(mixed["ranks"], mote(&args).json()["ranks"]);
}

#[test]
fn minimal_pairs_are_compared_token_by_token() {
    let model = ngram("compare", WORDS.as_bytes(), &[]);
    let args = ["score", "-m", &model, "--compare", "a b", "a c"];
    let report = mote(&[&args[..], &["--json"]].concat()).json();
    assert_eq!(keys(&report), ["pairs", "summary"]);
    let pair = &report["pairs"][0];
    near(pair["ln"][0].as_f64().unwrap(), -10f64.ln());
    near(pair["ln"][1].as_f64().unwrap(), -1.65 * 10f64.ln());
    near(number(pair, &["difference"]), 0.65 * 10f64.ln());
    near(number(pair, &["difference_per_token"]), 0.65 / 3.0 * 10f64.ln());
    let aligned = pair["aligned"].as_array().unwrap();
    let differences: Vec<f64> = aligned.iter().map(|row| number(row, &["difference"])).collect();
    [0.0, 0.4, 0.25].into_iter().zip(differences).for_each(|(wanted, found)| {
        near(found, wanted * 10f64.ln());
    });
    assert_eq!(aligned[1]["tokens"], serde_json::json!(["b", "c"]));
    assert!(mote(&args).text().contains("the first is more probable"), "{}", mote(&args).out);
    let pairs = file("pairs.tsv", b"a b\ta c\tx\na c\ta b\ty\n\nb\tc c c\tx\n");
    let report = mote(&["score", "-m", &model, "--pairs", &pairs, "--json"]).json();
    near(number(&report, &["summary", "accuracy"]), 2.0 / 3.0);
    assert_eq!(report["groups"][0]["group"], "x");
    assert_eq!(
        (&report["groups"][0]["pairs"], &report["groups"][0]["accuracy"]),
        (&2.into(), &1.0.into())
    );
    assert_eq!(report["groups"][1]["accuracy"], 0.0);
    let shorter = &report["pairs"][2]["aligned"];
    assert!(shorter.as_array().unwrap().iter().any(|row| row["tokens"][0].is_null()), "{shorter}");
    assert!(mote(&["score", "-m", &model, "--pairs", &pairs]).text().contains("accuracy 0.6667"));
}

/// Sentences that begin alike are not computed twice, and score as if they were.
#[test]
fn what_is_known_of_a_sentence_is_the_same_bits() {
    let (llama, _) = baseline();
    let texts = ["hello a world", "hello a word", "hello a", "hello a", "world", "hello a world"];
    let lines: String =
        texts.windows(2).map(|pair| format!("{}\t{}\n", pair[0], pair[1])).collect();
    let pairs = file("prefixes.tsv", lines.as_bytes());
    let report = mote(&["score", "-m", &llama, "--pairs", &pairs, "--json"]).json();
    for (pair, window) in report["pairs"].as_array().unwrap().iter().zip(texts.windows(2)) {
        for (side, text) in window.iter().enumerate() {
            let ids = mote(&["tokenize", "-m", &llama, "-p", text, "--json"]).json();
            let ids = format!("{},2", joined(&ids["ids"]));
            let alone = mote(&["score", "-m", &llama, "--ids", &ids, "--json"]).json();
            let rows = pair["aligned"].as_array().unwrap().iter();
            let found: Vec<&Value> =
                rows.map(|row| &row["ln"][side]).filter(|ln| !ln.is_null()).collect();
            assert_eq!(found, alone["logprobs"].as_array().unwrap().iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_model_plays_shannons_game() {
    let model = ngram("shannon", WORDS.as_bytes(), &[]);
    let args = ["shannon", "-m", &model, "-p", "a b c a"];
    let report = mote(&[&args[..], &["--json"]].concat()).json();
    let wanted = [
        "bounds",
        "bounds_per_character",
        "characters",
        "cross_entropy",
        "first",
        "guessed",
        "mean",
        "player",
        "ranks",
        "smoothed_bounds",
        "symbols",
    ];
    assert_eq!(keys(&report), wanted);
    // After b: </s> -0.35, a -0.6, b -0.8, c -1.0.
    assert_eq!(report["ranks"], serde_json::json!([[1, 3], [4, 1]]));
    let bits = 2.0 - 0.75 * 3f64.log2();
    near(number(&report, &["bounds", "upper"]), bits);
    near(number(&report, &["bounds", "lower"]), bits);
    // Of 2, 3 and 4 guesses each has a third of the quarter.
    let smoothed = bits + 0.25 * 3f64.log2();
    near(number(&report, &["smoothed_bounds", "upper"]), smoothed);
    near(number(&report, &["bounds_per_character", "upper"]), smoothed * 4.0 / 7.0);
    assert!(mote(&args).text().contains("bits per character"));
    let later = mote(&[&args[..], &["--known", "2", "-n", "1", "--json"]].concat()).json();
    assert_eq!(later["ranks"], serde_json::json!([[4, 1]]));
    let (llama, _) = baseline();
    let report = mote(&["shannon", "-m", &llama, "-p", "hello a world", "--json"]).json();
    let nll = mote(&["score", "-m", &llama, "-p", "hello a world", "--json"]).json();
    near(number(&report, &["cross_entropy"]), number(&nll, &["bits_per_token"]));
    assert_eq!(report["guessed"], nll["logprobs"].as_array().unwrap().len());
}

#[test]
fn a_model_of_bytes_guesses_letters() {
    let model = ngram("letters", BYTES.as_bytes(), &["--units", "bytes"]);
    let args = ["shannon", "-m", &model, "--letters", "--json", "-p"];
    // a, blank, b, and at last a blank after b; of all others the first letter is the first guess.
    let report = mote(&[&args[..], &["A,b. c"]].concat()).json();
    assert_eq!((&report["symbols"], &report["guessed"]), (&"letters".into(), &5.into()));
    assert_eq!(report["ranks"], serde_json::json!([[1, 2], [2, 2], [4, 1]]));
    let words = ngram("no_letters", WORDS.as_bytes(), &[]);
    let refused = mote(&["shannon", "-m", &words, "--letters", "-p", "a b"]);
    assert_eq!(refused.code, 2, "{}", refused.errors);
}

#[test]
fn a_person_plays_shannons_game() {
    let args = ["shannon", "-p", "The cat!", "--known", "1", "--json"];
    // h at once; e after two others, one of them twice; the blank; of "xca" the second is right.
    let guesses = b"h\na\nA\n?\noe\n_\nxca\na\nt\nignored\n";
    let played = mote_reading(&args, guesses);
    let report = played.json();
    assert_eq!((&report["player"], &report["guessed"]), (&"person".into(), &6.into()));
    assert_eq!(report["ranks"], serde_json::json!([[1, 4], [2, 1], [3, 1]]));
    assert!(played.errors.contains("T?") && played.errors.contains("THE_CA?"), "{}", played.errors);
    // A dot, or the end of the input, ends the game early.
    for end in [&b"h\n.\n"[..], b"h\n"] {
        assert_eq!(mote_reading(&args, end).json()["guessed"], 1);
    }
    assert!(mote_reading(&args[..5], b"h\ne\n").text().contains("2 letters"));
    assert_eq!(mote_reading(&args, b"").code, 1);
    assert_eq!(mote_reading(&["shannon"], b"a").code, 2);
}

const LISTS: &[u8] = b"one\ta c\t-1\none\ta b\t-2\n\ntwo\tb\t-1\ntwo\ta b\t-1.5\ntwo\tc c c\t-3\n";

#[test]
fn the_language_model_reorders_what_the_channel_offers() {
    let model = ngram("rescore", WORDS.as_bytes(), &[]);
    let lists = file("lists.tsv", LISTS);
    let args = ["rescore", "-m", &model, "-f", &lists];
    let run = |more: &[&str]| mote(&[&args[..], more].concat());
    let report = run(&["--json"]).json();
    assert_eq!(keys(&report), ["lists", "weights"]);
    let best = &report["lists"][0]["hypotheses"][0];
    assert_eq!((&best["text"], &best["rank"]), (&"a b".into(), &2.into()));
    near(number(best, &["score"]), -2.0 - 10f64.ln());
    near(number(best, &["language"]), -10f64.ln());
    let first = |more: &[&str]| {
        let lines = run(&[&["--best"], more].concat());
        let texts = lines.text().lines().map(|line| line.split('\t').nth(1).unwrap().to_string());
        texts.collect::<Vec<_>>()
    };
    assert_eq!(first(&["-w", "0"]), ["a c", "b"]);
    // a b costs log10 -1 and b -1 -0.35: 0.35 ln 10 = 0.81 make up for 0.5.
    assert_eq!(first(&["-w", "1"]), ["a b", "a b"]);
    assert_eq!(first(&["-w", "0", "-l", "3"]), ["a c", "c c c"]);
    let by_input = mote_reading(&["rescore", "-m", &model, "--json"], LISTS).json();
    assert_eq!(by_input, report);
    let (llama, _) = baseline();
    let other = mote(&["rescore", "-m", &llama, "-f", &lists, "-w", "0", "--json"]).json();
    assert_eq!(other["lists"][0]["hypotheses"][0]["text"], "a c");
    assert!(number(&other["lists"][0]["hypotheses"][0], &["language"]) < 0.0);
}

#[test]
fn weights_are_tuned_on_references() {
    let model = ngram("tune", WORDS.as_bytes(), &[]);
    let lists = file("tune_lists.tsv", LISTS);
    let refs = file("tune_refs.tsv", b"one\ta b\ntwo\ta b\n");
    let args = ["rescore", "-m", &model, "-f", &lists];
    let run = |more: &[&str]| mote(&[&args[..], more].concat());
    for metric in ["wer", "cer", "mrr"] {
        let report = run(&["--tune", &refs, "--metric", metric, "--json"]).json();
        assert!(number(&report, &["weights", "language"]) > 0.0, "{report}");
        let errors = &report["errors"];
        assert_eq!(number(errors, &["weighted", "word_error_rate"]), 0.0);
        assert_eq!(number(errors, &["weighted", "mean_reciprocal_rank"]), 1.0);
        assert_eq!(number(errors, &["channel_alone", "word_error_rate"]), 0.5);
        assert_eq!(number(errors, &["channel_alone", "mean_reciprocal_rank"]), 0.5);
        assert_eq!(number(errors, &["best", "sentence_error_rate"]), 0.0);
    }
    let told = run(&["--refs", &refs, "-w", "0"]);
    assert!(told.errors.contains("weighted  error rates: words 0.5000"), "{}", told.errors);
    let partly = file("partly.tsv", b"two\ta b\nthree\tx\n");
    let told = run(&["--refs", &partly, "--best"]);
    assert!(told.text().lines().count() == 2 && told.errors.contains("1 of 2 lists"));
    let none = file("no_refs.tsv", b"three\tx\n");
    assert_eq!(run(&["--refs", &none]).code, 1);
}

#[test]
fn what_cannot_be_is_refused() {
    let model = ngram("refused", WORDS.as_bytes(), &[]);
    let m = model.as_str();
    let score = ["score", "-m", m];
    for (args, code) in [
        (&["--bits", "-p", ""][..], 1),
        (&["--bits", "--lines", "-p", ""], 1),
        (&["--lines", "-p", "a"], 2),
        (&["--tokens", "-p", "a"], 2),
        (&["--no-end", "-p", "a"], 2),
        (&["--bits", "--hash", "-p", "a"], 2),
        (&["--compare", "a"], 2),
        (&["--compare", "a", "b", "-p", "a"], 2),
        (&["--compare", "a", "b", "--bits"], 2),
        (&["--pairs", "no such file"], 1),
        (&["--pairs", &file("no_pairs.tsv", b"a\n")], 1),
    ] {
        let found = mote(&[&score[..], args].concat());
        assert_eq!(found.code, code, "{args:?}: {}", found.errors);
        let found = mote(&[&score[..], args, &["--json"]].concat());
        assert!(found.code == code && found.out.contains("\"error\""), "{args:?}: {}", found.out);
    }
    for (text, code) in [("a\tb\n", 1), ("", 1), ("a\tb\tx\n", 1), ("a\tb\t-1\n", 0)] {
        let found = mote_reading(&["rescore", "-m", m], text.as_bytes());
        assert_eq!(found.code, code, "{text:?}: {}", found.errors);
    }
    assert_eq!(mote(&["rescore", "-m", m, "-w", "nan"]).code, 2);
    assert_eq!(mote(&["shannon", "-m", m, "-p", ""]).code, 1);
    assert_eq!(mote(&["shannon", "--letters", "-p", "a"]).code, 2);
}
