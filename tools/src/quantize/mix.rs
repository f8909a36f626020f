//! **The list of mixes**: what each TYPE of `mote quantize` makes of a tensor. They are those of
//! llama-quantize (llama.cpp 0c1e570), found by comparing what it writes.

use mote_kernels::QuantType::{self, *};

/// A TYPE: one encoding, or a mix of several.
#[derive(Debug)]
pub struct Mix {
    /// As on the command line, in any case.
    pub name: &'static str,
    /// Another name for it.
    pub alias: Option<&'static str>,
    /// `general.file_type`.
    pub file_type: u32,
    /// What a matrix is if no rule applies.
    pub base: QuantType,
    /// The base is for tensors of several experts alone; what all others are.
    dense: Option<QuantType>,
    /// Exceptions; the first that applies counts.
    rules: &'static [Rule],
}

/// What a matrix does in the model, as far as its encoding depends on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The head, or the embedding that is also the head.
    Head,
    /// Values of attention, alone or together with queries and keys.
    Value,
    /// Keys of attention.
    Key,
    /// Attention's output.
    AttentionOutput,
    /// The feed-forward network's last matrix.
    Down,
    /// The embedding beside a head.
    Embedding,
    /// All others.
    Other,
}

/// What is known of the model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Layers.
    pub layers: u64,
    /// Experts of a layer; 0 without.
    pub experts: u64,
    /// Query heads that share a key-value head.
    pub heads_per_value: u64,
    /// Of the Falcon architecture.
    pub falcon: bool,
    /// 80 layers with shared key-value heads: values are an eighth of the queries.
    pub large: bool,
    /// The importance of columns is known.
    pub importance: bool,
}

#[derive(Debug)]
struct Rule {
    role: Role,
    layers: Layers,
    when: When,
    kind: QuantType,
}

#[derive(Clone, Copy, Debug)]
enum Layers {
    All,
    First(u64),
    FirstEighth,
    FirstSixteenth,
    /// The first and the last eighth, and every third between.
    Half,
}

#[derive(Clone, Copy, Debug)]
enum When {
    Always,
    /// At least four query heads share a value head.
    Shared,
    EightExperts,
    Falcon,
    Importance,
    NoImportance,
}

const fn rule(role: Role, layers: Layers, when: When, kind: QuantType) -> Rule {
    Rule { role, layers, when, kind }
}

use Layers::{All, First, FirstEighth, FirstSixteenth, Half};
use Role::{AttentionOutput, Down, Embedding, Value};
use When::{Always, EightExperts, Falcon, Importance, NoImportance, Shared};

const EXPERTS_OUTPUT: Rule = rule(AttentionOutput, All, EightExperts, Q5_K);
/// Of the non-linear encodings.
const NON_LINEAR: &[Rule] =
    &[rule(Value, All, Shared, Q5_K), rule(Down, FirstEighth, NoImportance, Q5_K), EXPERTS_OUTPUT];

/// All of them, small ones last.
pub const MIXES: &[Mix] = &[
    plain("F32", 0, F32),
    plain("F16", 1, F16),
    plain("BF16", 32, BF16),
    plain("Q8_0", 7, Q8_0),
    plain("Q6_K", 18, Q6_K),
    Mix {
        name: "Q5_K_M",
        alias: Some("Q5_K"),
        file_type: 17,
        base: Q5_K,
        dense: None,
        rules: &[rule(Value, Half, Always, Q6_K), rule(Down, Half, Always, Q6_K)],
    },
    plain("Q5_K_S", 16, Q5_K),
    plain("Q5_1", 9, Q5_1),
    Mix { rules: &[rule(Down, FirstEighth, Importance, Q5_1)], ..plain("Q5_0", 8, Q5_0) },
    Mix {
        name: "Q4_K_M",
        alias: Some("Q4_K"),
        file_type: 15,
        base: Q4_K,
        dense: None,
        rules: &[
            rule(Value, Half, Always, Q6_K),
            rule(Down, FirstSixteenth, Falcon, Q6_K),
            rule(Down, Half, Falcon, Q5_K),
            rule(Down, All, Falcon, Q4_K),
            rule(Down, Half, Always, Q6_K),
            rule(AttentionOutput, All, Falcon, Q4_K),
            EXPERTS_OUTPUT,
        ],
    },
    Mix {
        rules: &[
            rule(Value, First(4), Always, Q5_K),
            rule(Down, All, Falcon, Q4_K),
            rule(Down, FirstEighth, Always, Q5_K),
            rule(AttentionOutput, All, Falcon, Q4_K),
            EXPERTS_OUTPUT,
        ],
        ..plain("Q4_K_S", 14, Q4_K)
    },
    Mix { rules: NON_LINEAR, ..plain("IQ4_NL", 25, IQ4_NL) },
    Mix { rules: NON_LINEAR, ..plain("IQ4_XS", 30, IQ4_XS) },
    Mix { dense: Some(Q8_0), ..plain("MXFP4_MOE", 38, MXFP4) },
    plain("Q4_1", 3, Q4_1),
    Mix { rules: &[rule(Down, FirstEighth, Importance, Q4_1)], ..plain("Q4_0", 2, Q4_0) },
    Mix {
        rules: &[
            rule(Value, All, Always, Q5_K),
            rule(Down, All, Falcon, Q4_K),
            rule(Down, All, Always, Q5_K),
            rule(AttentionOutput, All, Falcon, Q4_K),
            rule(AttentionOutput, All, EightExperts, Q3_K),
            rule(AttentionOutput, All, Always, Q5_K),
        ],
        ..plain("Q3_K_L", 13, Q3_K)
    },
    Mix {
        name: "Q3_K_M",
        alias: Some("Q3_K"),
        file_type: 12,
        base: Q3_K,
        dense: None,
        rules: &[
            rule(Value, First(2), Always, Q5_K),
            rule(Value, All, Always, Q4_K),
            rule(Down, FirstSixteenth, Always, Q5_K),
            rule(Down, Half, Falcon, Q4_K),
            rule(Down, All, Falcon, Q3_K),
            rule(Down, All, Always, Q4_K),
            rule(AttentionOutput, All, Falcon, Q3_K),
            EXPERTS_OUTPUT,
            rule(AttentionOutput, All, Always, Q4_K),
        ],
    },
    Mix {
        rules: &[rule(AttentionOutput, All, Falcon, Q3_K), EXPERTS_OUTPUT],
        ..plain("Q3_K_S", 11, Q3_K)
    },
    Mix {
        rules: &[
            rule(Value, All, Shared, Q4_K),
            rule(Value, All, Always, Q3_K),
            rule(Down, All, Always, Q3_K),
            rule(AttentionOutput, All, Falcon, Q2_K),
            EXPERTS_OUTPUT,
            rule(AttentionOutput, All, Always, Q3_K),
        ],
        ..plain("Q2_K", 10, Q2_K)
    },
    Mix {
        rules: &[rule(Value, All, Shared, Q4_K), rule(Down, FirstEighth, Always, Q4_K)],
        ..plain("Q2_K_S", 21, Q2_K)
    },
    Mix { rules: &[rule(Embedding, All, Always, Q4_K)], ..plain("TQ2_0", 37, TQ2_0) },
    Mix { rules: &[rule(Embedding, All, Always, Q4_K)], ..plain("TQ1_0", 36, TQ1_0) },
];

const fn plain(name: &'static str, file_type: u32, base: QuantType) -> Mix {
    Mix { name, alias: None, file_type, base, dense: None, rules: &[] }
}

impl Mix {
    /// By its name.
    pub fn by_name(name: &str) -> Option<&'static Mix> {
        let is = |other: &str| other.eq_ignore_ascii_case(name);
        MIXES.iter().find(|mix| is(mix.name) || mix.alias.is_some_and(is))
    }

    /// What a matrix should be: of this role, the `index`-th of it (by layers, from 0), with so many
    /// numbers along each dimension, rows first.
    pub fn kind(&self, role: Role, index: u64, shape: [u64; 4], facts: &Facts) -> QuantType {
        let (base, [row, _, matrices, _]) = (self.base, shape);
        if let Some(dense) = self.dense {
            return if matrices > 1 && role != Role::Head { base } else { dense };
        }
        if base.integer().is_none() {
            return base;
        }
        let eight = facts.experts == 8;
        match role {
            Role::Head if facts.falcon || !row.is_multiple_of(base.block_len() as u64) => Q8_0,
            Role::Head if base == Q8_0 => Q8_0,
            Role::Head => Q6_K,
            Role::Value | Role::Key if eight => Q8_0,
            _ => {
                let found = self.rules.iter().find(|rule| rule.applies(role, index, facts));
                let kind = found.map_or(base, |rule| rule.kind);
                let small = role == Role::Value && matches!(kind, Q3_K | Q4_K);
                if small && facts.large { Q5_K } else { kind }
            }
        }
    }
}

impl Rule {
    fn applies(&self, role: Role, index: u64, facts: &Facts) -> bool {
        let (n, eighth) = (facts.layers, facts.layers / 8);
        let layer = match self.layers {
            Layers::All => true,
            Layers::First(n) => index < n,
            Layers::FirstEighth => index < eighth,
            Layers::FirstSixteenth => index < n / 16,
            Layers::Half => {
                index < eighth || index >= n.saturating_mul(7) / 8 || (index - eighth) % 3 == 2
            }
        };
        let when = match self.when {
            When::Always => true,
            When::Shared => facts.heads_per_value >= 4,
            When::EightExperts => facts.experts == 8,
            When::Falcon => facts.falcon,
            When::Importance => facts.importance,
            When::NoImportance => !facts.importance,
        };
        self.role == role && layer && when
    }
}
