//! What tells about files: inspect, verify, diff.

use std::fs;
use std::io::{Seek, SeekFrom};
use std::time::{Duration, Instant};

use mote_formats::Gguf;
use mote_formats::gguf::{Builder, CHECKSUMS_KEY, TensorType};
use mote_kernels::QuantType;
use mote_tests::shared::{root, shared};

use super::*;

/// The tiny llama in another encoding, with checksums.
fn summed(kind: QuantType) -> Vec<u8> {
    let encoded = models::encoded(&models::llama(), kind);
    let gguf = Gguf::parse(&encoded).unwrap();
    let mut builder = Builder::copy_of(&gguf).unwrap();
    builder.add_checksums().unwrap();
    let mut data = builder.write_index(Vec::new()).unwrap();
    gguf.tensors().for_each(|tensor| data.write(tensor.data()).unwrap());
    let (mut file, checksums) = data.finish_checksums().unwrap();
    checksums.write_in(&mut file);
    file
}

/// Where a tensor's data begins.
fn offset(file: &[u8], name: &str) -> usize {
    Gguf::parse(file).unwrap().tensor(name).unwrap().offset()
}

#[test]
fn inspect_sums_up_and_shows_what_is_asked_for() {
    let path = file("summary.gguf", &summed(QuantType::Q8_0));
    let summary = mote(&["inspect", &path]);
    for part in ["(llama)", "q8_0", "32 tokens", "1 layers of width 32", "checksums", "memory"] {
        assert!(summary.text().contains(part), "{part}: {}", summary.out);
    }
    assert!(summary.text().lines().count() < 20, "{}", summary.out);
    assert!(!summary.text().contains("attn_norm"));
    assert!(mote(&["inspect", &path, "--metadata"]).text().contains(CHECKSUMS_KEY));
    let shown = mote(&["inspect", &path, "--vocab", "--range", "1..3"]);
    assert_eq!(shown.text().lines().count(), 3, "{}", shown.out);
    let report = mote(&["inspect", &path, "--vocab", "--range", "..4", "--json"]).json();
    let tokens = report["tokens"].as_array().unwrap();
    assert_eq!((tokens.len(), &tokens[3]["id"]), (4, &Value::from(3)));
    assert_eq!(report["checksums"], true);
    assert_eq!(mote(&["inspect", &path, "--range", "1"]).code, 2);
    assert_eq!(mote(&["inspect", &path, "--vocab", "--range", "x"]).code, 2);
}

/// Encodings of ggml that mote cannot compute with are named, and those that ggml gave up.
#[test]
fn inspect_names_foreign_encodings() {
    for (id, name, nearest) in
        [(15, "q8_k", "q8_0"), (40, "nvfp4", "mxfp4"), (41, "q1_0", "q2_k"), (42, "q2_0", "q2_k")]
    {
        let mut builder = Builder::new();
        builder.set("general.architecture", "llama").unwrap();
        let foreign = TensorType::from_id(id).unwrap();
        let row = u64::from(foreign.block_len());
        builder.add_tensor("t", &[row, 2], foreign).unwrap();
        let mut data = builder.write_index(Vec::new()).unwrap();
        data.write(&vec![0; 2 * foreign.block_bytes() as usize]).unwrap();
        let path = file(&format!("foreign_{id}.gguf"), &data.finish().unwrap());
        let shown = mote(&["inspect", &path]);
        let line = shown.text().lines().find(|line| line.contains(name)).unwrap();
        assert!(line.contains("mote cannot compute with it") && line.contains(nearest), "{line}");
        assert!(mote(&["verify", &path]).text().contains("finite"));
        assert!(mote(&["inspect", &path, "--vocab"]).errors.contains("no vocabulary"));

        let mut bytes = std::fs::read(&path).unwrap();
        // The record ends with type and offset.
        let end = Gguf::parse(&bytes).unwrap().index_bytes();
        bytes[end - 12] = 31;
        let withdrawn = mote(&["inspect", &file("withdrawn.gguf", &bytes)]);
        assert!(withdrawn.errors.contains("q4_0_4_4"), "{}", withdrawn.errors);
    }
}

/// Encodings that are read only: shown, verified, compared, and quantised from; what is written instead is
/// told.
#[test]
fn encodings_of_grids_are_read() {
    let points = root().join("tests/fixtures/quantize/points.gguf").into_os_string();
    let points = points.into_string().unwrap();
    let shown = mote(&["inspect", &points, "--tensors"]);
    for name in ["iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s"] {
        assert!(shown.text().contains(name), "{}", shown.out);
    }
    assert!(!shown.out.contains("cannot"), "{}", shown.out);
    assert!(mote(&["verify", &points]).text().contains("finite"));
    let exact = file("points_f32.gguf", b"");
    assert_eq!(
        mote(&["quantize", &points, "-o", &exact, "F32", "--force", "--requantize"]).code,
        0
    );
    let compared = mote(&["diff", &points, &exact, "--json"]);
    let compared: Value = serde_json::from_str(&compared.out).unwrap();
    for tensor in compared["tensors"]["compared"].as_array().unwrap() {
        assert_eq!(tensor["relative_rmse"], 0.0, "{tensor}");
    }
    for (name, nearest) in [("IQ2_XXS", "q2_k"), ("iq3_s", "q3_k")] {
        for args in [
            &["quantize", &points, "-o", "x", name][..],
            &["quantize", &points, "-o", "x", "Q8_0", "--tensor-type", &format!("*={name}")],
            &["convert", "x", "-o", "x", "--type", name],
        ] {
            let refused = mote(args);
            assert_eq!(refused.code, 2, "{}", refused.errors);
            assert!(
                refused.errors.contains("reads") && refused.errors.contains(nearest),
                "{args:?}"
            );
        }
    }
}

/// A model with such an encoding is refused by name, and the nearest one is told.
#[test]
fn models_in_foreign_encodings_are_refused() {
    // Two blocks of Q4_0 are as large as one of NVFP4.
    let mut bytes = models::fixture("models/llama-q4_0.gguf");
    let name = b"blk.0.attn_q.weight";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    // Behind the name the number of dimensions, two of them, and the type.
    bytes[at + 4 + 16] = 40;
    let outcome = mote(&["score", "-m", &file("nvfp4.gguf", &bytes), "--ids", "1,2,3"]);
    assert_eq!(outcome.code, 3, "{}", outcome.errors);
    assert!(
        outcome.errors.contains("nvfp4") && outcome.errors.contains("mxfp4"),
        "{}",
        outcome.errors
    );
}

#[test]
fn case_387_texts_of_a_file_drive_no_terminal() {
    let hostile = "\x1b[2J\x07 \u{202e}";
    let changed = [("general.architecture", hostile), ("general.name", hostile)];
    let path = file("hostile.gguf", &models::with_strings(&models::llama(), &changed));
    let with_tensor = models::edited(&models::llama(), &[], |tensors| {
        let mut tensor = tensors[0].clone();
        tensor.name = hostile.into();
        tensors.push(tensor);
    });
    let mut hostile_files = vec![path, file("hostile-tensor.gguf", &with_tensor)];
    for name in ["kv_key_escape", "tk_token_escape", "tk_rwkv_escape"] {
        let found = shared(&format!("malformed/{name}.gguf"));
        hostile_files.extend(found.map(|path| path.into_os_string().into_string().unwrap()));
        let fixture = crate::gguf_malformed::files().find(|(id, _)| id == name);
        hostile_files
            .extend(fixture.map(|(id, bytes)| file(&format!("hostile-{id}.gguf"), &bytes)));
    }
    assert!(hostile_files.len() > 3, "{hostile_files:?}");
    for path in &hostile_files {
        for option in ["--metadata", "--tensors", "--vocab", "--json"] {
            let shown = mote(&["inspect", path, option]);
            let all = format!("{}{}", shown.out, shown.errors);
            assert!(!all.contains(['\x1b', '\x07', '\u{202e}']) || option == "--json", "{all}");
            assert!(!all.contains(['\x1b', '\x07']), "{all}");
        }
        for command in [&["verify", path][..], &["diff", path, &baseline().0]] {
            let shown = mote(command);
            let all = format!("{}{}", shown.out, shown.errors);
            assert!(!all.contains(['\x1b', '\x07', '\u{202e}']), "{all}");
        }
    }
}

#[test]
fn case_388_every_file_is_inspected_within_a_second() {
    let Some(folder) = shared("malformed") else { return };
    let mut n = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        let path = path.into_os_string().into_string().unwrap();
        for command in [&["inspect", &path][..], &["inspect", &path, "--tensors", "--vocab"]] {
            let start = Instant::now();
            let outcome = mote(command);
            assert!([0, 1, 3, 4].contains(&outcome.code), "{path}: {}", outcome.errors);
            assert!(start.elapsed() < Duration::from_secs(1), "{path}: {:?}", start.elapsed());
        }
        n += 1;
    }
    assert!(n > 100, "{n} files");
}

#[test]
fn verify_names_the_damaged_tensor() {
    let sound = summed(QuantType::Q8_0);
    let path = file("verify_sound.gguf", &sound);
    let report = mote(&["verify", &path, "--json"]).json();
    assert_eq!(
        (&report["sound"], &report["checksums"]["wrong"]),
        (&Value::from(true), &Value::from(0))
    );
    let hash = report["blake3"].as_str().unwrap().to_string();
    assert!(mote(&["verify", &path, "--expect", &hash]).text().contains("all right"));
    let another = mote(&["verify", &path, "--expect", &"0".repeat(64)]);
    assert_eq!(another.code, 4, "{}", another.out);
    assert_eq!(mote(&["verify", &path, "--expect", "12"]).code, 2);

    let mut damaged = sound.clone();
    damaged[offset(&sound, "blk.0.ffn_down.weight") + 5] ^= 1;
    let path = file("verify_damaged.gguf", &damaged);
    let outcome = mote(&["verify", &path]);
    assert_eq!(outcome.code, 4);
    assert!(outcome.out.contains("tensor \"blk.0.ffn_down.weight\": checksum "), "{}", outcome.out);
    let outcome = mote(&["verify", &path, "--json"]);
    let report: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!((outcome.code, &report["sound"]), (4, &Value::from(false)));
    assert_eq!(report["damage"][0]["tensor"], "blk.0.ffn_down.weight");
    assert_eq!(mote(&["verify", &file("verify_cut.gguf", &sound[..sound.len() / 2])]).code, 4);
    assert_eq!(mote(&["verify", "no such file"]).code, 1);
}

/// With the file's hash, a bit anywhere; without, one of the weights, whose tensor is named. A file whose index
/// is damaged may not open at all.
#[test]
fn case_418_every_flipped_bit_is_found() {
    const FLIPS: usize = 10_000;
    let sound = summed(QuantType::Q8_0);
    let path = file("flipped.gguf", &sound);
    let hash = mote(&["verify", &path, "--json"]).json()["blake3"].as_str().unwrap().to_string();
    let gguf = Gguf::parse(&sound).unwrap();
    let tensor_at = |at: usize| {
        gguf.tensors()
            .find(|tensor| (tensor.offset()..tensor.offset() + tensor.data().len()).contains(&at))
    };
    let mut open = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut put = |at: usize, byte: u8| {
        open.seek(SeekFrom::Start(at as u64)).unwrap();
        open.write_all(&[byte]).unwrap();
    };
    let (mut in_tensors, mut refused) = (0, 0);
    for i in 0..FLIPS {
        // Spread over all of the file: header, metadata, index, tensors and what is between them.
        let bit = i * (8 * sound.len() - 1) / (FLIPS - 1);
        let at = bit / 8;
        put(at, sound[at] ^ 1 << (bit % 8));
        let outcome = mote(&["verify", &path, "--expect", &hash, "--json"]);
        put(at, sound[at]);
        let report: Value = serde_json::from_str(&outcome.out).unwrap();
        assert!([3, 4].contains(&outcome.code), "bit {bit}: {report}");
        if report["error"].is_object() {
            refused += 1;
        } else {
            assert_eq!((outcome.code, &report["sound"]), (4, &Value::from(false)), "bit {bit}");
        }
        if let Some(tensor) = tensor_at(at) {
            in_tensors += 1;
            assert_eq!(report["damage"][0]["tensor"], *tensor.name(), "bit {bit}");
        }
    }
    assert!(in_tensors > FLIPS / 2 && refused > FLIPS / 100, "{in_tensors}, {refused}");
    assert_eq!(mote(&["verify", &path, "--expect", &hash]).code, 0);
}

#[test]
fn verify_finds_numbers_that_are_none() {
    for kind in QuantType::ALL.iter().filter(|kind| 32 % kind.block_len() == 0) {
        let mut file_bytes = models::encoded(&models::llama(), *kind);
        let name = "blk.0.ffn_down.weight";
        let sound = mote(&["verify", &file(&format!("finite_{}.gguf", kind.name()), &file_bytes)]);
        assert!(sound.text().contains("finite"), "{}", sound.out);
        // All bits set is NaN, whatever the float.
        let at = offset(&file_bytes, name) + 3 * kind.block_bytes();
        file_bytes[at..at + kind.block_bytes().min(4)].fill(0xff);
        let path = file(&format!("nan_{}.gguf", kind.name()), &file_bytes);
        let outcome = mote(&["verify", &path]);
        assert_eq!(outcome.code, 4, "{}", kind.name());
        let expected = format!("tensor \"{name}\": block 3 has a number");
        assert!(outcome.out.contains(&expected), "{}: {}", kind.name(), outcome.out);
    }
}

#[test]
fn diff_measures_and_tells_by_its_exit_code() {
    let (model, _) = baseline();
    let same = mote(&["diff", &model, &model]);
    assert!(same.text().starts_with("equal"), "{}", same.out);
    let coarse = file("diff_q4_0.gguf", &models::encoded(&models::llama(), QuantType::Q4_0));
    let fine = file("diff_q8_0.gguf", &models::encoded(&models::llama(), QuantType::Q8_0));
    let worst = |path: &str| {
        let outcome = mote(&["diff", &model, path, "--json"]);
        assert_eq!(outcome.code, 1, "{}", outcome.errors);
        let report: Value = serde_json::from_str(&outcome.out).unwrap();
        let compared = report["tensors"]["compared"].as_array().unwrap().clone();
        let errors = compared.iter().map(|tensor| tensor["relative_rmse"].as_f64().unwrap());
        assert!(errors.clone().is_sorted_by(|a, b| a >= b));
        assert_eq!(
            (&compared[0]["type_a"], &report["equal"]),
            (&"f32".into(), &Value::from(false))
        );
        errors.max_by(f64::total_cmp).unwrap()
    };
    let (coarse_error, fine_error) = (worst(&coarse), worst(&fine));
    assert!(fine_error > 0.0 && fine_error < 0.02, "{fine_error}");
    assert!(coarse_error > 4.0 * fine_error && coarse_error < 0.3, "{coarse_error}");

    let renamed = models::with_strings(&models::llama(), &[("general.architecture", "other")]);
    let outcome = mote(&["diff", &model, &file("diff_renamed.gguf", &renamed)]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.out.contains("general.architecture") && outcome.out.contains("12 identical"));
    let bare = file("diff_bare.gguf", &models::vocabulary(&models::llama()));
    let outcome = mote(&["diff", &model, &bare]);
    assert!(outcome.out.contains("- token_embd.weight"), "{}", outcome.out);
    assert_eq!(mote(&["diff", &model, "no such file"]).code, 1);
}
