//! `mote convert` and checkpoints that cannot be, or that want to lead it somewhere (case numbers:
//! ROBUSTNESS.md).

use std::fs;
use std::path::Path;

use mote_formats::Gguf;
use mote_tests::checkpoint::{Checkpoint, file_of, read, tensors};
use serde_json::{Value, json};

use crate::convert::{Converted, convert};

/// Exit codes of `mote --help`.
const IO: u8 = 1;
const USAGE: u8 = 2;
const UNSUPPORTED: u8 = 3;
const DAMAGED: u8 = 4;

/// Converting fails with this code, leaves no file, and says `part`.
fn fails(checkpoint: &Checkpoint, code: u8, part: &str) {
    let names = checkpoint.names();
    let output = checkpoint.path("out.gguf");
    let converted = convert(&[checkpoint.arg(), "-o", output.to_str().unwrap()]);
    assert_eq!(converted.code, code, "{}", converted.report);
    let sentence = converted.report["error"]["message"].as_str().unwrap();
    assert!(sentence.contains(part), "{sentence}");
    assert_eq!(checkpoint.names(), names);
}

fn succeeds(checkpoint: &Checkpoint) -> Vec<u8> {
    let output = checkpoint.path("out.gguf");
    let Converted { code, report } =
        convert(&[checkpoint.arg(), "-o", output.to_str().unwrap(), "--force"]);
    assert_eq!(code, 0, "{report}");
    let file = read(&output);
    fs::remove_file(&output).unwrap();
    file
}

/// Divides the fixture's weights into two shards with an index; gives the index.
fn sharded(checkpoint: &Checkpoint) -> Value {
    let whole = tensors(&read(&checkpoint.path("model.safetensors")));
    let mut map = serde_json::Map::new();
    for (name, part) in [("a.safetensors", &whole[..5]), ("b.safetensors", &whole[5..])] {
        checkpoint.write(name, file_of(part));
        map.extend(part.iter().map(|tensor| (tensor.name.clone(), name.into())));
    }
    fs::remove_file(checkpoint.path("model.safetensors")).unwrap();
    Value::Object(map)
}

fn write_index(checkpoint: &Checkpoint, map: &Value) {
    let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    checkpoint.write("model.safetensors.index.json", index.to_string());
}

/// The file is large enough for what it says, and has no such bytes: nothing of its size is read or made.
#[test]
fn case_306_a_header_above_the_limit_in_a_file_of_holes() {
    let checkpoint = Checkpoint::new("case_306");
    let path = checkpoint.path("model.safetensors");
    for length in [100_000_001_u64, 150_000_000, u64::MAX, 1 << 63] {
        fs::write(&path, length.to_le_bytes()).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(200_000_000).unwrap();
        let start = std::time::Instant::now();
        fails(&checkpoint, DAMAGED, "header");
        assert!(start.elapsed() < std::time::Duration::from_secs(1));
    }
}

#[test]
fn case_320_shards_lie_in_the_folder() {
    let checkpoint = Checkpoint::new("case_320");
    let map = sharded(&checkpoint);
    let outside = Checkpoint::new("case_320_outside");
    write_index(&checkpoint, &map);
    succeeds(&checkpoint);
    let with_shard = |name: &str, code, part: &str| {
        let mut map = map.clone();
        map["lm_head.weight"] = name.into();
        write_index(&checkpoint, &map);
        fails(&checkpoint, code, part);
    };
    with_shard("c.safetensors", IO, "c.safetensors");
    let target = outside.path("model.safetensors");
    let target = target.to_str().unwrap();
    for name in ["../../etc/passwd", "/dev/zero", "C:\\x", "..", "", "a/b", "a\u{0}b", target] {
        with_shard(name, DAMAGED, "not the name of a file");
    }
    fs::create_dir(checkpoint.path("folder")).unwrap();
    with_shard("folder", IO, "not a regular file");
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(target, checkpoint.path("link")).unwrap();
        symlink("/dev/zero", checkpoint.path("zero")).unwrap();
        for name in ["link", "zero"] {
            with_shard(name, DAMAGED, "leads out of the folder");
        }
        let fifo = checkpoint.path("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        if made.is_ok_and(|status| status.success()) {
            // Opening it would wait for ever.
            with_shard("fifo", IO, "not a regular file");
        }
    }
}

/// The other files of a checkpoint are found by fixed names; they must not be links out, either.
#[cfg(unix)]
#[test]
fn case_320_links_out_of_the_folder() {
    let outside = Checkpoint::new("links_outside");
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let checkpoint = Checkpoint::new("links");
        fs::remove_file(checkpoint.path(name)).unwrap();
        std::os::unix::fs::symlink(outside.path(name), checkpoint.path(name)).unwrap();
        fails(&checkpoint, DAMAGED, "leads out of the folder");
    }
}

#[test]
fn case_321_the_index_and_the_shards_agree() {
    let checkpoint = Checkpoint::new("case_321");
    let map = sharded(&checkpoint);
    let mut missing = map.clone();
    missing["model.layers.7.mlp.up_proj.weight"] = "a.safetensors".into();
    write_index(&checkpoint, &missing);
    fails(&checkpoint, DAMAGED, "is missing, which");
    let mut elsewhere = map.clone();
    elsewhere["lm_head.weight"] = "b.safetensors".into();
    write_index(&checkpoint, &elsewhere);
    fails(&checkpoint, DAMAGED, "is missing, which");
    let mut silent = map.clone();
    silent.as_object_mut().unwrap().remove("lm_head.weight");
    write_index(&checkpoint, &silent);
    fails(&checkpoint, DAMAGED, "is not in");
    // In both shards.
    let first = tensors(&read(&checkpoint.path("a.safetensors")));
    let second = tensors(&read(&checkpoint.path("b.safetensors")));
    checkpoint.write("b.safetensors", file_of(&[&second[..], &first[..1]].concat()));
    write_index(&checkpoint, &map);
    fails(&checkpoint, DAMAGED, "in two files");
    for index in [json!(1), json!([]), json!({ "a": 1 }), Value::Null] {
        write_index(&checkpoint, &index);
        fails(&checkpoint, DAMAGED, "model.safetensors.index.json");
    }
    checkpoint.write("model.safetensors.index.json", "{");
    fails(&checkpoint, DAMAGED, "model.safetensors.index.json");
}

#[test]
fn case_322_numbers_of_the_configuration() {
    let refused = |changes: Value, code, part: &str| {
        let checkpoint = Checkpoint::new("case_322");
        checkpoint.configure(&changes);
        fails(&checkpoint, code, part);
    };
    for value in [json!(0), json!(-1), json!(1e308), json!("32"), json!(32.5), json!([32])] {
        for key in ["hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size"] {
            refused(json!({ key: value }), DAMAGED, key);
        }
    }
    for key in ["hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size"] {
        refused(json!({ key: null }), DAMAGED, "is missing");
    }
    refused(json!({ "num_key_value_heads": 3 }), DAMAGED, "must divide");
    refused(json!({ "num_attention_heads": 5 }), DAMAGED, "must divide");
    for n in [31, 33] {
        refused(json!({ "vocab_size": n }), DAMAGED, "by config.json it has");
    }
    refused(json!({ "num_hidden_layers": 2 }), DAMAGED, "no tensor layers.1.");
    refused(json!({ "num_hidden_layers": 1024 }), DAMAGED, "no tensor layers.1.");
    for n in [1025, 1u64 << 31] {
        refused(json!({ "num_hidden_layers": n }), DAMAGED, "num_hidden_layers must be at most");
    }
    let huge = json!({ "head_dim": 1 << 16, "num_attention_heads": 1u64 << 31,
        "num_key_value_heads": 1u64 << 31, "hidden_size": 1u64 << 31 });
    refused(huge, DAMAGED, "hidden_size makes more than");
    for n in [3, 1u64 << 31] {
        refused(json!({ "head_dim": n }), DAMAGED, "head_dim must be even");
    }
    for epsilon in [json!(0), json!(-1e-5), json!(1), json!("1e-5")] {
        refused(json!({ "rms_norm_eps": epsilon }), DAMAGED, "rms_norm_eps");
    }
    for base in [json!(0), json!(-1.0), json!("1"), json!(1e300)] {
        refused(json!({ "rope_parameters": { "rope_theta": base } }), DAMAGED, "rope_theta");
    }
    refused(json!({ "rope_parameters": { "rope_type": "dynamic" } }), UNSUPPORTED, "dynamic");
    refused(json!({ "rope_parameters": { "rope_type": "linear" } }), DAMAGED, "factor is missing");
    refused(json!({ "rope_parameters": { "factor": 8.0 } }), DAMAGED, "rope_type is missing");
    let by_kind = json!({ "full_attention": { "rope_theta": 5e5 }, "sliding_attention": 5 });
    refused(json!({ "rope_parameters": by_kind }), DAMAGED, "must be an object");
    let by_kind = json!({ "full_attention": { "rope_theta": 5e5 },
        "sliding_attention": { "rope_theta": 1e4 } });
    refused(json!({ "rope_parameters": by_kind }), UNSUPPORTED, "rope_parameters");
    refused(json!({ "hidden_act": "relu" }), UNSUPPORTED, "hidden_act");
    refused(json!({ "quantization_config": {} }), UNSUPPORTED, "quantised already");
    refused(json!({ "architectures": ["T5Model"] }), UNSUPPORTED, "no support for T5Model");
    refused(json!({ "architectures": null, "model_type": null }), DAMAGED, "model_type");
}

/// A head beside a tied embedding is kept, as transformers 5 does; without one, the configuration
/// must say that it is tied.
#[test]
fn case_322_tied_weights() {
    let checkpoint = Checkpoint::new("tied");
    let plain = succeeds(&checkpoint);
    checkpoint.configure(&json!({ "tie_word_embeddings": true }));
    assert!(succeeds(&checkpoint) == plain);
    checkpoint.change_tensors(|tensors| tensors.retain(|tensor| tensor.name != "lm_head.weight"));
    let file = succeeds(&checkpoint);
    assert!(Gguf::parse(&file).unwrap().tensor("output.weight").is_none());
    // The class's default is no.
    for tied in [json!(false), Value::Null] {
        checkpoint.configure(&json!({ "tie_word_embeddings": tied }));
        fails(&checkpoint, DAMAGED, "lm_head.weight");
    }
    checkpoint.configure(&json!({ "tie_word_embeddings": "yes" }));
    fails(&checkpoint, DAMAGED, "tie_word_embeddings");
}

#[test]
fn tensors_that_have_no_place() {
    let change = |name: &str, part: &str, code| {
        let checkpoint = Checkpoint::new("no_place");
        checkpoint.change_tensors(|tensors| tensors[1].name = name.into());
        fails(&checkpoint, code, part);
    };
    for name in [
        "model.layers.00.mlp.up_proj.weight",
        "model.layers.+0.mlp.up_proj.weight",
        "model.layers.1.mlp.up_proj.weight",
        "model.layers.18446744073709551616.mlp.up_proj.weight",
        "model.layers..mlp.up_proj.weight",
        "x",
        "\u{1b}[31m",
    ] {
        change(name, "has no place", UNSUPPORTED);
    }
    change("model.layers.0.self_attn.q_proj.bias", "has shape", DAMAGED);
    let checkpoint = Checkpoint::new("no_place_twice");
    checkpoint.change_tensors(|tensors| {
        let mut copy =
            tensors.iter().find(|tensor| tensor.name == "model.norm.weight").unwrap().clone();
        copy.name = "norm.weight".into();
        tensors.push(copy);
    });
    fails(&checkpoint, DAMAGED, "are both output_norm.weight");
    let checkpoint = Checkpoint::new("no_place_type");
    checkpoint.change_tensors(|tensors| tensors[0].dtype = "I32".into());
    fails(&checkpoint, UNSUPPORTED, "stored as I32");
    // Tables of old checkpoints are left out.
    let checkpoint = Checkpoint::new("no_place_table");
    let plain = succeeds(&checkpoint);
    checkpoint.change_tensors(|tensors| {
        let mut table = tensors[0].clone();
        table.name = "model.layers.0.self_attn.rotary_emb.inv_freq".into();
        tensors.push(table);
    });
    assert!(succeeds(&checkpoint) == plain);
}

#[test]
fn case_323_code_is_not_run() {
    let checkpoint = Checkpoint::new("case_323");
    let plain = succeeds(&checkpoint);
    checkpoint.configure(&json!({
        "auto_map": { "AutoModelForCausalLM": "modeling_evil.EvilForCausalLM" },
        "trust_remote_code": true,
    }));
    checkpoint.write("modeling_evil.py", "raise SystemExit('run')");
    assert!(succeeds(&checkpoint) == plain);
}

#[test]
fn case_324_pickle_is_not_read() {
    for name in ["pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt"] {
        let checkpoint = Checkpoint::new("case_324");
        fs::remove_file(checkpoint.path("model.safetensors")).unwrap();
        // Whoever opens it finds that it cannot be opened.
        fs::create_dir(checkpoint.path(name)).unwrap();
        fails(&checkpoint, UNSUPPORTED, "not supported: pickle");
    }
    for start in [&b"PK\x03\x04"[..], b"\x80\x02", b"\x80\x05"] {
        let checkpoint = Checkpoint::new("case_324");
        let file = [start, &[0; 100]].concat();
        checkpoint.write("model.safetensors", &file);
        fails(&checkpoint, UNSUPPORTED, "not supported: pickle");
        checkpoint.write("pytorch_model.bin", &file);
        let path = checkpoint.path("pytorch_model.bin");
        let out = checkpoint.path("out.gguf");
        let converted = convert(&[path.to_str().unwrap(), "-o", out.to_str().unwrap()]);
        assert_eq!(converted.code, UNSUPPORTED);
        assert!(converted.report.to_string().contains("not supported: pickle"));
    }
}

#[test]
fn case_325_a_pointer_of_git_lfs() {
    let checkpoint = Checkpoint::new("case_325");
    let pointer = "version https://git-lfs.github.com/spec/v1\n\
        oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 46624\n";
    checkpoint.write("model.safetensors", pointer);
    fails(&checkpoint, DAMAGED, "Git LFS pointer");
    let checkpoint = Checkpoint::new("nothing");
    fs::remove_file(checkpoint.path("model.safetensors")).unwrap();
    fails(&checkpoint, DAMAGED, "no safetensors file");
    let checkpoint = Checkpoint::new("no_config");
    fs::remove_file(checkpoint.path("config.json")).unwrap();
    fails(&checkpoint, DAMAGED, "no config.json");
    for text in ["", "{", "[]", "1", &"[".repeat(100_000)] {
        checkpoint.write("config.json", text);
        fails(&checkpoint, DAMAGED, "config.json: ");
    }
}

/// Python writes numbers that JSON does not have. They are read, and refused where a number is used.
#[test]
fn numbers_that_json_does_not_have() {
    for (key, number, code) in [
        ("time_step_limit", "[0.0, Infinity]", 0),
        ("rope_theta", "Infinity", DAMAGED),
        ("rms_norm_eps", "NaN", DAMAGED),
        ("rope_theta", "-Infinity", DAMAGED),
    ] {
        let checkpoint = Checkpoint::new("not_json");
        let config = String::from_utf8(read(&checkpoint.path("config.json"))).unwrap();
        let other = config.replacen(&format!("\"{key}\""), "\"other\"", 1);
        checkpoint.write("config.json", other.replacen('{', &format!("{{\"{key}\": {number},"), 1));
        if code == 0 {
            succeeds(&checkpoint);
        } else {
            fails(&checkpoint, code, key);
        }
    }
}

#[test]
fn case_326_outputs_that_cannot_be() {
    let checkpoint = Checkpoint::new("case_326");
    let to = |output: &Path, more: &[&str]| {
        let args = [&[checkpoint.arg(), "-o", output.to_str().unwrap()], more].concat();
        let Converted { code, report } = convert(&args);
        (code, report["error"]["message"].as_str().unwrap_or_default().to_string())
    };
    let before = read(&checkpoint.path("model.safetensors"));
    let names = checkpoint.names();
    let (code, sentence) = to(Path::new(checkpoint.arg()), &["--force"]);
    assert!(code == IO && sentence.contains("is a folder"), "{sentence}");
    for name in ["model.safetensors", "config.json", "tokenizer.json"] {
        let (code, sentence) = to(&checkpoint.path(name), &[]);
        assert!(code == IO && sentence.contains("--force"), "{sentence}");
        let (code, sentence) = to(&checkpoint.path(name), &["--force"]);
        assert!(code == USAGE && sentence.contains("of the checkpoint"), "{sentence}");
    }
    let (code, _) = to(&checkpoint.path("none/out.gguf"), &[]);
    assert_eq!(code, IO);
    assert_eq!(checkpoint.names(), names);
    assert!(read(&checkpoint.path("model.safetensors")) == before);

    let output = checkpoint.path("out.gguf");
    fs::write(&output, "mine").unwrap();
    let (code, sentence) = to(&output, &[]);
    assert!(code == IO && sentence.contains("exists already"), "{sentence}");
    assert_eq!(read(&output), b"mine");
    assert_eq!(to(&output, &["--force"]).0, 0);
    assert!(Gguf::parse(&read(&output)).is_ok());
    // The output is no input.
    let (code, sentence) = to(&checkpoint.path("other.gguf"), &[]);
    assert_eq!(code, 0, "{sentence}");
    let args = [output.to_str().unwrap(), "-o", output.to_str().unwrap(), "--force"];
    let Converted { code, report } = convert(&args);
    assert!(code == USAGE && report.to_string().contains("GGUF file already"), "{report}");
}

/// Where no file may be larger than so many blocks: what a full disk is like.
#[cfg(unix)]
#[test]
fn case_326_a_full_disk_in_a_process() {
    let checkpoint = Checkpoint::new("full_disk");
    let names = checkpoint.names();
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" convert \"$1\" -o \"$1/out.gguf\"";
    let mote = env!("CARGO_BIN_EXE_mote-for-tests");
    let args = ["-c", script, mote, checkpoint.arg()];
    let output = std::process::Command::new("sh").args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(IO)), "{errors}");
    assert_eq!(checkpoint.names(), names);
}

/// SIGKILL at any moment: under the final name is nothing, or all of it.
#[cfg(unix)]
#[test]
fn case_327_killed_at_random_moments_in_a_process() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let checkpoint = Checkpoint::new("killed");
    let output = checkpoint.path("out.gguf");
    let start = || {
        let mut mote = Command::new(env!("CARGO_BIN_EXE_mote-for-tests"));
        mote.args(["convert", checkpoint.arg(), "-o", output.to_str().unwrap(), "--force"]);
        mote.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let begun = Instant::now();
    assert!(start().wait().unwrap().success());
    let whole = read(&output);
    // A little longer than it takes, so that some get through.
    let longest = (begun.elapsed() * 5 / 4).min(Duration::from_millis(60)).as_micros() as usize;
    let mut random = mote_tests::random::Random::new(327);
    let mut finished = 0;
    for _ in 0..100 {
        let _ = fs::remove_file(&output);
        let mut mote = start();
        std::thread::sleep(Duration::from_micros(random.below(longest) as u64));
        let _ = mote.kill();
        mote.wait().unwrap();
        if let Ok(file) = fs::read(&output) {
            assert!(file == whole);
            finished += 1;
        }
    }
    println!("{finished} of 100 were done before they were killed");
}
