//! The tokens that other programs give: Hugging Face, SentencePiece, llama.cpp.

use super::*;

/// A part of the same strings, in the repository.
#[test]
fn fixture_strings() {
    let strings = json(&fixture("strings.json"));
    for name in FIXTURES {
        let answers = json(&fixture(&format!("{name}.json")));
        with_fixture(name, |tokenizer| check_against(tokenizer, &strings, &answers, name));
    }
}

/// All strings of the shared set through every vocabulary that exists as GGUF too.
#[test]
fn hugging_face_reference_strings() {
    let Some(reference) = shared("reference") else { return };
    let strings = json(&reference.join("tokrefs/strings.json"));
    for (name, files) in [
        ("bpe_gpt2", &["gpt2"][..]),
        ("bpe_smollm", &["llama_k256"]),
        ("bpe_starcoder", &["granite"]),
        ("bpe_llama3", &["llama3", "smollm3", "lfm2"]),
        ("bpe_qwen2", &["qwen2", "qwen3"]),
        ("bpe_neox", &["olmo2"]),
        ("spm_llama", &["llama", "phi3"]),
        ("spm_gemma", &["gemma3"]),
        ("wordpiece_bert", &["bert"]),
    ] {
        let answers = json(&reference.join(format!("tokrefs/{name}.json")));
        for file in files {
            with_file(&reference.join(format!("gguf/{file}-f32.gguf")), |tokenizer| {
                assert!(tokenizer.is_pre_tokenizer_known());
                check_against(tokenizer, &strings, &answers, name);
            });
        }
    }
}

/// Unigram, beside what SentencePiece gives.
#[test]
fn unigram_gives_the_pieces_of_sentencepiece() {
    let rows = json(&fixture("unigram.json"));
    with_fixture("unigram", |tokenizer| {
        assert!(tokenizer.adds_eos() && !tokenizer.adds_bos() && tokenizer.adds_space_prefix());
        let mut wrong = Vec::new();
        for row in rows.as_array().unwrap() {
            let (text, expected) = (row[0].as_str().unwrap(), ids_of(&row[1]));
            let found = tokenizer.encode_to_vec(text.as_bytes(), PLAIN).unwrap();
            if found != expected {
                wrong.push(format!("{text:?}: {found:?}, expected {expected:?}"));
            }
            // Exactly what is asked for is enough, and one place more does no harm.
            let mut scratch = vec![0xA5; tokenizer.scratch_bytes(text.len())];
            let mut ids = vec![0; found.len() + 1];
            let count = tokenizer.encode(text.as_bytes(), PLAIN, &mut scratch, &mut ids).unwrap();
            assert_eq!(ids[..count], found);
        }
        assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
        let ids = tokenizer.encode_to_vec(b"the  model", PLAIN).unwrap();
        assert_eq!(decode(tokenizer, &ids, WITH_SPECIAL), b"the model");
    });
}

/// The texts that llama.cpp ships for the vocabularies of released models.
#[test]
fn llama_cpp_vocabularies() {
    let Some(folder) = shared("tokenizers") else { return };
    for name in
        ["gpt-2", "llama-bpe", "qwen2", "llama-spm", "phi-3", "starcoder", "falcon", "bert-bge"]
    {
        let file = folder.join(format!("ggml-vocab-{name}.gguf"));
        let read = |extension| std::fs::read_to_string(file.with_extension(extension)).unwrap();
        let (texts, answers) = (read("gguf.inp"), read("gguf.out"));
        with_file(&file, |tokenizer| {
            let texts = texts.split("\n__ggml_vocab_test__\n");
            for (text, answer) in texts.zip(answers.lines()) {
                let expected: Vec<u32> =
                    answer.split_whitespace().map(|id| id.parse().unwrap()).collect();
                let found = tokenizer.encode_to_vec(text.as_bytes(), PLAIN).unwrap();
                assert_eq!(found, expected, "{name}: {text:?}");
            }
        });
    }
}

/// The prompts of the real models, with BOS where it belongs.
#[test]
fn real_prompts() {
    let Some(reference) = shared("reference/real") else { return };
    for name in ["SmolLM2-135M-Instruct.Q4_1", "gemma-3-270m-Q4_K_M"] {
        let Some(model) = real_model(&format!("{name}.gguf")) else { continue };
        let answers = json(&reference.join(format!("{name}.json")));
        with_file(&model, |tokenizer| {
            let options = EncodeOptions { parse_special: true, ..tokenizer.default_options() };
            for (prompt, answer) in answers["prompts"].as_object().unwrap() {
                let text = answer["text"].as_str().unwrap();
                let found = tokenizer.encode_to_vec(text.as_bytes(), options).unwrap();
                assert_eq!(found, ids_of(&answer["ids"]), "{name}, {prompt}");
            }
        });
    }
}

/// Pieces that merge by a list, as gemma4 has them, are those that merge by scores.
#[test]
fn merges_of_pieces_give_the_same_tokens_as_scores() {
    let folder = fixture("spm_gemma");
    let strings = json(&fixture("strings.json"));
    let answers = json(&fixture("spm_gemma.json"));
    let file = std::fs::read(fixture("spm_gemma.gguf")).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    let merges = json(&folder.join("tokenizer.json"))["model"]["merges"].clone();
    let merges: Vec<String> = merges
        .as_array()
        .unwrap()
        .iter()
        .map(|merge| match merge.as_array() {
            Some(pair) => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
            None => merge.as_str().unwrap().into(),
        })
        .collect();
    let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
    for (model, pre) in [("gemma4", "default"), ("gpt2", "sarvam-moe"), ("gpt2", "gemma4")] {
        let mut builder = Builder::new();
        for (key, value) in gguf.metadata() {
            let replaced = ["scores", "model", "pre", "merges"];
            if !replaced.iter().any(|name| *key == *format!("tokenizer.ggml.{name}")) {
                builder.set(key, value).unwrap();
            }
        }
        builder.set("tokenizer.ggml.model", model).unwrap();
        builder.set("tokenizer.ggml.pre", pre).unwrap();
        builder.set_strings("tokenizer.ggml.merges", &merges).unwrap();
        let file = builder.write_index(Vec::new()).unwrap().finish().unwrap();
        with_bytes(&file, |tokenizer| check_against(tokenizer, &strings, &answers, model));
    }
}
