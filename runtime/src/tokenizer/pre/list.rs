//! The rule sets by name.

use super::PreTokenizer;
use super::sets::Set;
use super::steps::{Digits, Step};
use super::words::{Cased, Letters, Tail, Words};

const GPT2: Step = Step::Gpt2 { digits: false };

const LLAMA3: Words =
    Words { contractions: true, letters: Letters::Alone, max_numbers: 3, tail: Tail::Newlines };
const QWEN2: Words = Words { max_numbers: 1, ..LLAMA3 };
/// As many as there are.
const ANY_NUMBER: usize = usize::MAX;

const GPT4O: Cased =
    Cased { contractions: true, han: false, max_numbers: 3, tail: Tail::NewlinesAndSlashes };

pub(super) const DEFAULT: PreTokenizer = PreTokenizer {
    names: &[
        "gpt-2",
        "phi-2",
        "jina-es",
        "jina-de",
        "jina-v1-en",
        "jina-v2-es",
        "jina-v2-de",
        "jina-v2-code",
        "roberta-bpe",
        "gigachat",
        "a.x-4.0",
        "mellum",
        "mpt",
        "jais",
        "trillion",
        "granite-docling",
        "exaone4",
    ],
    steps: &[GPT2],
    nfc: false,
    whole_words: false,
    add_bos: false,
};

const fn rules(names: &'static [&'static str], steps: &'static [Step]) -> PreTokenizer {
    PreTokenizer { names, steps, ..DEFAULT }
}

/// All of them. The first is used for a name that none of them has.
pub(super) const LIST: [PreTokenizer; 34] = [
    DEFAULT,
    PreTokenizer { nfc: true, ..rules(&["olmo", "modern-bert"], &[GPT2]) },
    rules(
        &["smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[Step::Gpt2 { digits: true }],
    ),
    PreTokenizer { nfc: true, ..rules(&["command-r"], &[Step::Gpt2 { digits: true }]) },
    PreTokenizer {
        whole_words: true,
        add_bos: true,
        ..rules(
            &[
                "llama-bpe",
                "llama3",
                "llama-v3",
                "falcon3",
                "falcon-h1",
                "pixtral",
                "midm-2.0",
                "lfm2",
                "jina-v5-nano",
            ],
            &[Step::Words(LLAMA3)],
        )
    },
    rules(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[Step::Words(LLAMA3)]),
    PreTokenizer { whole_words: true, ..rules(&["glm4", "glm5"], &[Step::Words(LLAMA3)]) },
    PreTokenizer {
        nfc: true,
        ..rules(&["qwen2", "deepseek-r1-qwen", "megrez", "f2llmv2"], &[Step::Words(QWEN2)])
    },
    rules(&["stablelm2", "hunyuan", "solar-open", "grok-2", "kormo"], &[Step::Words(QWEN2)]),
    rules(
        &["bailingmoe", "bailingmoe2", "llada-moe"],
        // Possessive quantifiers, and one newline after white space that may be newlines: the same.
        &[Step::Words(QWEN2)],
    ),
    PreTokenizer {
        nfc: true,
        ..rules(&["qwen35"], &[Step::Words(Words { letters: Letters::Marked, ..QWEN2 })])
    },
    rules(&["seed-coder"], &[Step::Words(Words { tail: Tail::None, ..QWEN2 })]),
    rules(&["ufakzeka"], &[Step::Words(Words { contractions: false, ..QWEN2 })]),
    rules(
        &["exaone-moe"],
        &[Step::Words(Words { letters: Letters::Spaced, tail: Tail::One, ..QWEN2 })],
    ),
    rules(&["laguna"], &[Step::Lines, Step::Words(QWEN2)]),
    PreTokenizer {
        whole_words: true,
        ..rules(
            &["minicpm5"],
            &[Step::Numbers { most: 3 }, Step::Words(Words { max_numbers: ANY_NUMBER, ..LLAMA3 })],
        )
    },
    rules(&["jais-2"], &[Step::Words(LLAMA3), Step::SpacePowers]),
    rules(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[Step::Cased(GPT4O)]),
    PreTokenizer {
        whole_words: true,
        ..rules(&["granite-embed-multi-97m"], &[Step::Cased(GPT4O)])
    },
    PreTokenizer {
        whole_words: true,
        add_bos: true,
        ..rules(&["tekken"], &[Step::Cased(Cased { contractions: false, max_numbers: 1, ..GPT4O })])
    },
    rules(&["kimi-k2"], &[Step::Cased(Cased { han: true, tail: Tail::Newlines, ..GPT4O })]),
    rules(&["tiny_aya", "cohere2moe"], &[Step::Threes(Digits::BeforeBoundary), Step::Cased(GPT4O)]),
    PreTokenizer {
        whole_words: true,
        ..rules(
            &["youtu"],
            &[
                Step::Runs(&[Set::Hangul, Set::WidePunctuation, Set::Bopomofo, Set::EastAsian]),
                Step::Cased(Cased { max_numbers: 1, ..GPT4O }),
            ],
        )
    },
    rules(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        &[
            Step::Numbers { most: 3 },
            Step::Runs(&[Set::EastAsian]),
            Step::Punctuated { lines: false },
        ],
    ),
    rules(
        &["spark2_5"],
        &[
            Step::Numbers { most: 3 },
            Step::Runs(&[Set::EastAsian]),
            Step::Punctuated { lines: true },
            Step::Each(Set::Number),
        ],
    ),
    rules(
        &["afmoe"],
        &[
            Step::Threes(Digits::Numbers),
            Step::Runs(&[Set::AfmoeAsian]),
            Step::Punctuated { lines: false },
        ],
    ),
    rules(
        &["deepseek-llm"],
        &[
            Step::Each(Set::Newline),
            Step::SpaceAndRun(Set::DeepseekLetter),
            Step::SpaceAndRun(Set::DeepseekPunctuation),
            Step::FinalSpace,
            Step::Runs(&[Set::DeepseekEastAsian]),
            Step::Each(Set::Number),
        ],
    ),
    rules(
        &["deepseek-coder"],
        &[
            Step::Each(Set::Newline),
            Step::SpaceAndRun(Set::Letter),
            Step::SpaceAndRun(Set::Punctuation),
            Step::Runs(&[Set::DeepseekEastAsian]),
            Step::Each(Set::Number),
        ],
    ),
    rules(
        &["falcon"],
        &[Step::Runs(&[Set::AllPunctuation]), GPT2, Step::NumberBytes, Step::ThreeAscii],
    ),
    rules(
        &["default"],
        &[
            Step::Runs(&[Set::DefaultPunctuation]),
            GPT2,
            Step::Runs(&[Set::Number]),
            Step::ThreeAscii,
        ],
    ),
    rules(&["bloom", "poro-chat", "gpt3-finnish"], &[Step::BlankAndRun(Set::Bloom)]),
    rules(&["viking"], &[Step::BlankAndRun(Set::Bloom), Step::Each(Set::Number)]),
    rules(&["superbpe"], &[Step::Runs(&[Set::Number]), Step::Threes(Digits::Cut)]),
    PreTokenizer {
        add_bos: true,
        ..rules(
            &["chameleon"],
            &[
                Step::Sentinel,
                Step::Image,
                Step::Indents,
                Step::Each(Set::Number),
                Step::Each(Set::AllPunctuation),
                GPT2,
            ],
        )
    },
];
