//! `mote run --save-session` and `--load-session`.

use mote_tests::models::fixture;

use super::*;

fn model() -> String {
    file("sessions-model.gguf", &fixture("models/llama-f32.gguf"))
}

#[test]
fn a_text_goes_on_as_if_it_had_not_been_interrupted() {
    let (model, prompt) = (model(), "the man and the other of the");
    for (i, more) in [
        &["--temp", "0"][..],
        &["--seed", "3", "--temp", "1.2", "--repetition-penalty", "1.3"],
        &["--activations", "mixed", "--kv", "f32", "--speculate", "off"],
    ]
    .into_iter()
    .enumerate()
    {
        let session = file(&format!("text-{i}.session"), b"");
        let _ = std::fs::remove_file(&session);
        let run = |n: &str, which: &[&str]| {
            let args = ["run", "-m", &model, "-n", n, "--ignore-eos", "--json"];
            let options: Vec<&str> = match which.contains(&"--load-session") {
                // The file knows these.
                true => more.iter().copied().filter(|it| !["--kv", "f32"].contains(it)).collect(),
                false => more.to_vec(),
            };
            mote(&[&args[..], &options, which].concat()).json()
        };
        let whole = run("40", &[prompt]);
        let first = run("13", &[prompt, "--save-session", &session]);
        let again = ["--load-session", &session, "--save-session", &session];
        let (second, third) = (run("1", &again), run("26", &again[..2]));
        let [ids, texts] = ["ids", "text"].map(|key| [&first, &second, &third].map(|it| &it[key]));
        let ids: Vec<&Value> = ids.iter().flat_map(|ids| ids.as_array().unwrap()).collect();
        assert_eq!(ids, whole["ids"].as_array().unwrap().iter().collect::<Vec<_>>(), "{more:?}");
        let text: String = texts.iter().map(|text| text.as_str().unwrap()).collect();
        let split = text.contains('\u{fffd}');
        assert!(split || text == whole["text"].as_str().unwrap(), "{text:?}, {whole}");
        let tokens = |report: &Value| report["prompt_tokens"].as_u64().unwrap();
        assert_eq!(tokens(&second), tokens(&first) + 13);
        // A prompt is appended.
        let more = run("2", &[&["and so"], &again[..2]].concat());
        assert!(tokens(&more) > tokens(&third));
    }
}

#[test]
fn a_text_that_ctrl_c_ended_goes_on() {
    let model = model();
    let session = file("ended.session", b"");
    std::fs::remove_file(&session).unwrap();
    let run = |more: &[&str]| {
        let args = ["run", "-m", &model, "--ignore-eos", "--json"];
        let outcome = mote(&[&args[..], more].concat());
        (outcome.code, serde_json::from_str::<Value>(&outcome.out).unwrap())
    };
    let (_, whole) = run(&["the man", "-n", "60"]);
    mote_tools::interrupt::after(Some(25));
    let (code, first) = run(&["the man", "-n", "60", "--save-session", &session]);
    mote_tools::interrupt::after(None);
    assert_eq!((code, &first["stop"]), (130, &"interrupted".into()));
    let n = 60 - first["ids"].as_array().unwrap().len();
    let (_, second) = run(&["-n", &n.to_string(), "--load-session", &session]);
    let ids = [joined(&first["ids"]), joined(&second["ids"])].join(",");
    assert_eq!(ids, joined(&whole["ids"]));
}

#[test]
fn an_n_gram_model_is_saved_too() {
    let text: Vec<u32> = (0..400).map(|i| i * 7 % 300).collect();
    let model = fixture("models/llama-f32.gguf");
    let lm = file("sessions-lm.gguf", &mote_tests::ngrams::ngram(&model, &text, 3));
    let session = file("lm.session", b"");
    std::fs::remove_file(&session).unwrap();
    let run = |n: &str, which: &[&str]| {
        let args = ["run", "-m", &lm, "-n", n, "--ignore-eos", "--json"];
        mote(&[&args[..], which].concat()).json()
    };
    let whole = run("12", &["--ids", "1,40,47"]);
    let first = run("5", &["--ids", "1,40,47", "--save-session", &session]);
    let second = run("7", &["--load-session", &session]);
    let ids = [joined(&first["ids"]), joined(&second["ids"])].join(",");
    assert_eq!(ids, joined(&whole["ids"]));
}

#[test]
fn damaged_sessions_are_refused() {
    let model = model();
    let path = file("damage.session", b"");
    std::fs::remove_file(&path).unwrap();
    let save = ["run", "-m", &model, "-n", "3", "a text", "--save-session", &path];
    assert_eq!(mote(&save).code, 0);
    let bytes = std::fs::read(&path).unwrap();
    let load = |bytes: &[u8], model: &str| {
        let path = file(&format!("damaged-{}.session", bytes.len()), bytes);
        let outcome = mote(&["run", "-m", model, "-n", "3", "--load-session", &path]);
        assert!(outcome.code == 0 || outcome.errors.contains("session"), "{}", outcome.errors);
        outcome.code
    };
    assert_eq!(load(&bytes, &model), 0);
    for len in [0, 7, 8, 40, 63, 64, bytes.len() / 2, bytes.len() - 1] {
        assert_eq!(load(&bytes[..len], &model), 4, "{len}");
    }
    for at in [0, 9, 17, 33, 57, bytes.len() / 2, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert_eq!(load(&changed, &model), 4, "{at}");
    }
    // A context as large as can be takes no memory.
    let mut huge = bytes.clone();
    huge[32..40].fill(0x7f);
    assert_eq!(load(&huge, &model), 4);
    let (other, _) = baseline();
    assert_eq!(load(&bytes, &other), 2);
    let text = file("no.session", b"precious");
    let kept = mote(&["run", "-m", &model, "-n", "3", "a text", "--save-session", &text]);
    assert_eq!((kept.code, &*std::fs::read(&text).unwrap()), (1, &b"precious"[..]));
    let nowhere = ["run", "-m", &model, "-n", "1", "a", "--save-session", "no/such/folder/file"];
    assert_eq!(mote(&nowhere).code, 1);
    let twice = ["run", "-m", &model, "a", "--save-session", "x", "--fallback", &model];
    assert_eq!(mote(&twice).code, 2);
}
