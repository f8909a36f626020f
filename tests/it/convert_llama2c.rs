//! `mote convert` of llama2.c's checkpoints, and of split GGUF files.

use mote_formats::gguf::{Builder, Gguf, Strings, Value};
use mote_formats::hf::tokenizer::{Reason, read_llama2c};
use mote_formats::llama2c::{Checkpoint, CheckpointError};
use mote_tests::checkpoint::Checkpoint as Folder;
use mote_tests::models::{fixture, llama};

use crate::convert::{Converted, convert};

/// The header's numbers for the fixture: dim, hidden_dim, n_layers, n_heads, n_kv_heads,
/// vocab_size, max_seq_len.
const NUMBERS: [i32; 7] = [32, 64, 1, 4, 2, 32, 128];
/// Bytes of the tables of sines and cosines, which nobody reads.
const ANGLES: usize = 128 * 8 * 4;

/// A checkpoint of the fixture's weights, whose head has a matrix of its own unless `shared`.
fn checkpoint(version: u32, shared: bool) -> Vec<u8> {
    let file = llama();
    let gguf = Gguf::parse(&file).unwrap();
    let data = |name: &str| gguf.tensor(&format!("{name}.weight")).unwrap().data().to_vec();
    let of_layer = |name: &str| data(&format!("blk.0.{name}"));
    // The codes of each matrix, and behind them its scales.
    let stored = |matrix: Vec<u8>| if version == 2 { codes(&matrix) } else { matrix };
    let layer_matrix = |name: &str| stored(of_layer(name));
    let matrices = ["attn_q", "attn_k", "attn_v", "attn_output"].map(layer_matrix).concat();
    let network = ["ffn_gate", "ffn_down", "ffn_up"].map(layer_matrix).concat();
    let (attention_norm, network_norm) = (of_layer("attn_norm"), of_layer("ffn_norm"));
    let (embedding, last_norm) = (stored(data("token_embd")), data("output_norm"));
    let head = if shared { Vec::new() } else { stored(data("output")) };
    let mut numbers = NUMBERS;
    if version == 0 {
        numbers[5] *= if shared { 1 } else { -1 };
    }
    let numbers = numbers.map(i32::to_le_bytes).concat();
    if version == 0 {
        let angles = vec![0; ANGLES];
        let parts = [numbers, embedding, attention_norm, matrices, network_norm];
        return [parts.concat(), network, last_norm, angles, head].concat();
    }
    let mut header = [&b"24ka"[..], &version.to_le_bytes(), &numbers, &[shared.into()]].concat();
    if version == 2 {
        header.extend_from_slice(&(GROUP as i32).to_le_bytes());
    }
    header.resize(256, 0);
    let norms = [attention_norm, network_norm, last_norm].concat();
    let weights = [embedding, matrices, network, head].concat();
    [header, norms, weights].concat()
}

/// Elements that share a scale.
const GROUP: usize = 16;

/// Codes for the values of a matrix, then a scale for each group.
fn codes(weights: &[u8]) -> Vec<u8> {
    let values = floats(weights);
    let (mut codes, mut scales) = (Vec::new(), Vec::new());
    for group in values.chunks(GROUP) {
        let scale = group.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0;
        codes.extend(group.iter().map(|x| (x / scale).round() as i8 as u8));
        scales.extend(scale.to_le_bytes());
    }
    [codes, scales].concat()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The tokens, scores and types of a vocabulary with pieces.
fn vocabulary(gguf: &Gguf<'_>) -> Vec<(Vec<u8>, f32, i32)> {
    let array = |key: &str| gguf.get(&format!("tokenizer.ggml.{key}")).unwrap().as_array().unwrap();
    let texts: Strings<'_> = array("tokens").strings().unwrap();
    let scores = array("scores").elements::<f32>().unwrap();
    let types = array("token_type").elements::<i32>().unwrap();
    let rest = scores.iter().zip(types.iter());
    texts.zip(rest).map(|(text, (score, kind))| (text.as_bytes().to_vec(), score, kind)).collect()
}

/// tokenizer.bin of a GGUF's vocabulary; old ones have characters for bytes.
fn tokenizer_bin(gguf: &Gguf<'_>, old: bool) -> Vec<u8> {
    let mut file = 27_u32.to_le_bytes().to_vec();
    for (id, (text, score, kind)) in vocabulary(gguf).into_iter().enumerate() {
        let text = String::from_utf8(text).unwrap();
        let text = match (id, kind) {
            (1 | 2, _) => format!("\n{text}\n"),
            (_, 6) if old => char::from((id - 3) as u8).to_string(),
            _ => text.replace('\u{2581}', " "),
        };
        file.extend(score.to_le_bytes());
        file.extend((text.len() as u32).to_le_bytes());
        file.extend(text.as_bytes());
    }
    file
}

/// Widths whose first bytes are those of a pickle.
#[test]
fn a_width_that_begins_like_a_pickle_is_none() {
    let folder = Folder::empty("llama2c-pickle");
    let (input, output) = (folder.path("model.bin"), folder.path("out.gguf"));
    for dim in [640_i32, 896, 1152, 1408] {
        let numbers = [dim, 2, 1, 1, 1, 1, 1];
        let header = numbers.map(i32::to_le_bytes).concat();
        assert!(header[0] == 0x80 && (2..=5).contains(&header[1]));
        let (dim, hidden) = (dim as usize, 2);
        // Embedding, three norms, four matrices of attention, three of the network, two tables.
        let floats = dim + 3 * dim + 4 * dim * dim + 3 * dim * hidden + 2 * (dim / 2);
        std::fs::write(&input, [header, vec![0; 4 * floats]].concat()).unwrap();
        let args = [input.to_str().unwrap(), "-o", output.to_str().unwrap()];
        let Converted { code, report } = convert(&args);
        assert_eq!(code, 2, "{report}");
        assert!(report.to_string().contains("llama2.c"), "{report}");
        // Anything else of that beginning is a pickle.
        std::fs::write(&input, [numbers.map(i32::to_le_bytes).concat(), vec![0; 40]].concat())
            .unwrap();
        let Converted { code, report } = convert(&args);
        assert_eq!(code, 3, "{report}");
        assert!(report.to_string().contains("pickle"), "{report}");
    }
}

/// Every version gives the fixture's tensors again, whose logits the tests of the runtime know.
#[test]
fn every_version_has_the_same_tensors() {
    let folder = Folder::empty("llama2c");
    let (input, words) = (folder.path("model.bin"), folder.path("tokenizer.bin"));
    let output = folder.path("out.gguf");
    let file = llama();
    let expected = Gguf::parse(&file).unwrap();
    std::fs::write(&words, tokenizer_bin(&expected, false)).unwrap();
    let paths = [&input, &words, &output].map(|path| path.to_str().unwrap());
    for (version, shared) in [(0, false), (0, true), (1, false), (1, true), (2, false), (2, true)] {
        std::fs::write(&input, checkpoint(version, shared)).unwrap();
        let args = [paths[0], "--tokenizer", paths[1], "-o", paths[2], "--force"];
        let Converted { code, report } = convert(&args);
        assert_eq!(code, 0, "{report}");
        let written = std::fs::read(&output).unwrap();
        let gguf = Gguf::parse(&written).unwrap();
        assert_eq!(gguf.n_tensors(), if shared { 11 } else { 12 });
        for tensor in gguf.tensors() {
            let wanted = expected.tensor(tensor.name()).unwrap();
            assert_eq!(tensor.dims(), wanted.dims(), "{}", tensor.name());
            if version < 2 || tensor.dims().len() == 1 {
                assert!(tensor.data() == wanted.data(), "{}", tensor.name());
                continue;
            }
            let (found, wanted) = (floats(tensor.data()), floats(wanted.data()));
            for (a, b) in found.chunks(GROUP).zip(wanted.chunks(GROUP)) {
                let most = b.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= most / 253.0));
            }
        }
        for key in ["context_length", "embedding_length", "block_count", "feed_forward_length"] {
            let key = format!("llama.{key}");
            assert_eq!(gguf.get(&key).unwrap().as_u64(), expected.get(&key).unwrap().as_u64());
        }
        let heads = |key: &str| gguf.get(&format!("llama.attention.{key}")).unwrap().as_u64();
        assert_eq!((heads("head_count"), heads("head_count_kv")), (Some(4), Some(2)));
        assert!(gguf.checksums().unwrap().is_some());
        let Converted { code, report } = convert(&[paths[0], "-o", paths[2], "--force"]);
        assert!(code == 2 && report.to_string().contains("--tokenizer FILE"), "{report}");
    }
}

/// Both kinds of tokenizer.bin give the vocabulary again.
#[test]
fn vocabularies_come_back() {
    let file = fixture("tokenizer/spm_llama.gguf");
    let gguf = Gguf::parse(&file).unwrap();
    let expected = vocabulary(&gguf);
    for old in [false, true] {
        let bytes = tokenizer_bin(&gguf, old);
        let tokenizer = read_llama2c(&bytes, expected.len()).unwrap();
        let mut builder = Builder::new();
        tokenizer.write(&mut builder).unwrap();
        let written = builder.write_index(Vec::new()).unwrap().finish().unwrap();
        let written = Gguf::parse(&written).unwrap();
        assert!(vocabulary(&written) == expected, "old: {old}");
        assert_eq!(written.get("tokenizer.ggml.bos_token_id").unwrap().as_u64(), Some(1));
        let reason = |bytes: &[u8], rows| read_llama2c(bytes, rows).unwrap_err().reason().clone();
        let tokens = expected.len();
        for rows in [tokens + 1, tokens - 1] {
            let tokens = tokens.min(rows + 1);
            assert_eq!(reason(&bytes, rows), Reason::Count { tokens, rows });
        }
        for end in [0, 3, 7, 11, 12, bytes.len() - 1] {
            let error = reason(&bytes[..end], tokens);
            assert!(matches!(error, Reason::Truncated | Reason::Count { .. }), "{end}: {error:?}");
        }
        let mut huge = bytes.clone();
        huge[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(reason(&huge, tokens), Reason::TokenTooLong { id: 0, .. }));
        let mut nan = bytes;
        nan[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(reason(&nan, tokens), Reason::Score(0));
    }
}

/// A header's numbers and the file's size say the same, or the file is refused.
#[test]
fn damaged_checkpoints_are_refused() {
    let parse = |bytes: &[u8]| Checkpoint::parse(bytes).map(|checkpoint| checkpoint.tensors.len());
    for version in 0..=2 {
        let good = checkpoint(version, false);
        assert_eq!(parse(&good), Ok(12));
        for bytes in [&good[..good.len() - 1], &[&good[..], &[0]].concat()] {
            assert!(matches!(parse(bytes), Err(CheckpointError::Length { .. })));
        }
        for end in 0..good.len().min(300) {
            assert!(parse(&good[..end]).is_err());
        }
        let numbers = if version == 0 { 0 } else { 8 };
        for place in 0..7 {
            for number in [0, i32::MAX, i32::MIN, -1, 3, 1 << 20] {
                // The longest context is in the file's size only where sines and cosines are.
                if version > 0 && place == 6 && number > 0 && number < i32::MAX {
                    continue;
                }
                let mut bytes = good.clone();
                bytes[numbers + 4 * place..][..4].copy_from_slice(&number.to_le_bytes());
                assert!(parse(&bytes).is_err(), "version {version}, {place}: {number}");
            }
        }
    }
    let mut bytes = checkpoint(1, true);
    bytes[4] = 3;
    assert_eq!(parse(&bytes), Err(CheckpointError::Version(3)));
    let mut bytes = checkpoint(2, true);
    for group in [0, -1, 7, i32::MAX] {
        bytes[37..41].copy_from_slice(&group.to_le_bytes());
        assert_eq!(parse(&bytes), Err(CheckpointError::Group(group)));
    }
}

/// The files of a split model: all metadata in the first, as llama.cpp splits them.
fn split(folder: &Folder, parts: &[&[usize]]) -> Vec<String> {
    let file = llama();
    let gguf = Gguf::parse(&file).unwrap();
    let tensors: Vec<_> = gguf.tensors().collect();
    let mut paths = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let mut builder = Builder::new();
        if place == 0 {
            gguf.metadata().for_each(|(key, value)| builder.set(key, value).unwrap());
        }
        builder.set("split.no", place as u16).unwrap();
        // The builder makes whole files: the count is put in afterwards.
        builder.set("split.count", 1_u16).unwrap();
        builder.set("split.tensors.count", Value::I32(tensors.len() as i32)).unwrap();
        let of_part = || part.iter().map(|&i| &tensors[i]);
        of_part().for_each(|t| builder.add_tensor(t.name(), t.dims(), t.tensor_type()).unwrap());
        let mut writer = builder.write_index(Vec::new()).unwrap();
        of_part().for_each(|tensor| writer.write(tensor.data()).unwrap());
        let mut bytes = writer.finish().unwrap();
        let key = b"split.count";
        let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
        bytes[at + key.len() + 4] = parts.len() as u8;
        let name = format!("tiny-{:05}-of-{:05}.gguf", place + 1, parts.len());
        std::fs::write(folder.path(&name), bytes).unwrap();
        paths.push(folder.path(&name).to_str().unwrap().to_owned());
    }
    paths
}

/// Any part leads to the whole model, bit for bit.
#[test]
fn the_parts_of_a_split_model_are_joined() {
    let folder = Folder::empty("split");
    let output = folder.path("whole.gguf");
    let output = output.to_str().unwrap();
    let file = llama();
    let expected = Gguf::parse(&file).unwrap();
    for parts in [
        &[&[0, 1, 2][..], &[3, 4, 5, 6, 7, 8], &[9, 10, 11]][..],
        &[&[], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
    ] {
        let paths = split(&folder, parts);
        for path in &paths {
            let Converted { code, report } = convert(&[path, "-o", output, "--force"]);
            assert_eq!(code, 0, "{report}");
            let written = std::fs::read(output).unwrap();
            let gguf = Gguf::parse(&written).unwrap();
            let described = |gguf: &Gguf<'_>| {
                let tensors = gguf.tensors();
                let described = tensors.map(|t| (t.name(), t.dims().to_vec(), t.data().to_vec()));
                described
                    .map(|(name, dims, data)| (name.to_owned(), dims, data))
                    .collect::<Vec<_>>()
            };
            assert!(described(&gguf) == described(&expected));
            let keys = |gguf: &Gguf<'_>| -> Vec<String> {
                let keys = gguf.metadata().map(|(key, value)| format!("{key} {value:?}"));
                keys.filter(|key| !key.starts_with("mote.")).collect()
            };
            assert_eq!(keys(&gguf).len(), keys(&expected).len());
            assert!(gguf.get("split.count").is_none() && gguf.checksums().unwrap().is_some());
        }
    }
}

/// A part alone is no model, and other files in its place are found.
#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let folder = Folder::empty("split-refused");
    let paths = split(&folder, &[&[0, 1, 2], &[3, 4, 5, 6, 7, 8], &[9, 10, 11]]);
    let output = folder.path("whole.gguf");
    let output = output.to_str().unwrap();
    let refused = |args: &[&str], code: u8, sentence: &str| {
        let converted = convert(&[args, &["-o", output]].concat());
        let report = converted.report.to_string();
        assert_eq!(converted.code, code, "{report}");
        assert!(report.contains(sentence), "{report}");
        assert!(!folder.path("whole.gguf").exists());
    };
    let bytes = std::fs::read(&paths[0]).unwrap();
    let error = Gguf::parse(&bytes).unwrap_err().to_string();
    assert!(error.contains("mote convert PART -o WHOLE.gguf"), "{error}");
    refused(&[&paths[0], "--type", "f16"], 2, "joined as they are");
    let converted = convert(&[&paths[0], "-o", &paths[1], "--force"]);
    assert_eq!(converted.code, 2, "{}", converted.report);
    let other = folder.path("renamed.gguf");
    std::fs::copy(&paths[0], &other).unwrap();
    refused(&[other.to_str().unwrap()], 2, "its name");
    for number in ["tiny-00001-of-00000.gguf", "tiny-00009-of-00003.gguf"] {
        let other = folder.path(number);
        std::fs::copy(&paths[0], &other).unwrap();
        refused(&[other.to_str().unwrap()], 2, "its name");
        std::fs::remove_file(&other).unwrap();
    }
    std::fs::copy(&paths[0], &paths[2]).unwrap();
    refused(&[&paths[0]], 4, "split.no is 0");
    std::fs::remove_file(&paths[2]).unwrap();
    refused(&[&paths[0]], 1, "tiny-00003-of-00003.gguf");
    split(&folder, &[&[0, 1, 2], &[3, 4, 5, 6, 7, 8], &[9, 10]]);
    refused(&[&paths[0]], 4, "11 tensors");
    split(&folder, &[&[0, 1, 2], &[2, 3, 4, 5, 6, 7], &[9, 10, 11]]);
    refused(&[&paths[0]], 4, "twice");
}
