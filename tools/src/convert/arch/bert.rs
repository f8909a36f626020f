//! BERT, RoBERTa and XLM-RoBERTa without their heads. RoBERTa's positions begin behind that of the padding token.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Context, Embd, Ff, KeyValue, Query, TokenTypes, Vocab};
use super::{Mapping, Rule, Sizes, Transform, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads, Norm};

pub static BERT: Mapping = Mapping {
    tied: true,
    globals: &[
        tensor("embeddings.position_embeddings.weight", POSITIONS, &[Context, Embd]),
        WORDS,
        TYPES,
        NORM,
        NORM_BIAS,
        OLD_NORM,
        OLD_NORM_BIAS,
    ],
    layers: "encoder.layer",
    prefixes: &["bert."],
    ignored: IGNORED,
    other_parts: OTHER_PARTS,
    ..decoder(
        "bert",
        &["BertModel", "BertForMaskedLM", "BertForPreTraining"],
        &["bert"],
        LAYER,
        bert,
    )
};

pub static ROBERTA: Mapping = Mapping {
    globals: &[
        tensor("embeddings.position_embeddings.weight", POSITIONS, &[Context, Embd])
            .transform(Transform::Skip(OFFSET)),
        WORDS,
        TYPES,
        NORM,
        NORM_BIAS,
    ],
    prefixes: &["roberta."],
    classes: &[
        "RobertaModel",
        "RobertaForMaskedLM",
        "XLMRobertaModel",
        "XLMRobertaForMaskedLM",
        "CamembertModel",
    ],
    models: &["roberta", "xlm-roberta", "camembert"],
    describe: roberta,
    ..BERT
};

/// Rows of RoBERTa's positions that are for padding.
const OFFSET: u8 = 2;

const POSITIONS: &str = "position_embd.weight";
pub(super) const WORDS: Rule =
    tensor("embeddings.word_embeddings.weight", "token_embd.weight", &[Vocab, Embd]);
const TYPES: Rule =
    tensor("embeddings.token_type_embeddings.weight", "token_types.weight", &[TokenTypes, Embd]);
pub(super) const NORM: Rule =
    tensor("embeddings.LayerNorm.weight", "token_embd_norm.weight", &[Embd]);
pub(super) const NORM_BIAS: Rule =
    tensor("embeddings.LayerNorm.bias", "token_embd_norm.bias", &[Embd]);
// As checkpoints of TensorFlow call them.
const OLD_NORM: Rule = tensor("embeddings.LayerNorm.gamma", NORM.to, &[Embd]);
const OLD_NORM_BIAS: Rule = tensor("embeddings.LayerNorm.beta", NORM_BIAS.to, &[Embd]);

/// The numbers of positions.
const IGNORED: &[&str] = &["embeddings.position_ids", "embeddings.token_type_ids"];
/// What predicted masked words and following sentences in training.
const OTHER_PARTS: &[&str] = &["pooler.", "cls.", "lm_head."];

const LAYER: &[Rule] = &[
    tensor("attention.self.query.weight", "attn_q.weight", &[Query, Embd]),
    tensor("attention.self.key.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("attention.self.value.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("attention.self.query.bias", "attn_q.bias", &[Query]),
    tensor("attention.self.key.bias", "attn_k.bias", &[KeyValue]),
    tensor("attention.self.value.bias", "attn_v.bias", &[KeyValue]),
    tensor("attention.output.dense.weight", "attn_output.weight", &[Embd, Query]),
    tensor("attention.output.dense.bias", "attn_output.bias", &[Embd]),
    tensor("attention.output.LayerNorm.weight", "attn_output_norm.weight", &[Embd]),
    tensor("attention.output.LayerNorm.bias", "attn_output_norm.bias", &[Embd]),
    tensor("attention.output.LayerNorm.gamma", "attn_output_norm.weight", &[Embd]),
    tensor("attention.output.LayerNorm.beta", "attn_output_norm.bias", &[Embd]),
    tensor("intermediate.dense.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("intermediate.dense.bias", "ffn_up.bias", &[Ff]),
    tensor("output.dense.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("output.dense.bias", "ffn_down.bias", &[Embd]),
    tensor("output.LayerNorm.weight", "layer_output_norm.weight", &[Embd]),
    tensor("output.LayerNorm.bias", "layer_output_norm.bias", &[Embd]),
    tensor("output.LayerNorm.gamma", "layer_output_norm.weight", &[Embd]),
    tensor("output.LayerNorm.beta", "layer_output_norm.bias", &[Embd]),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Always,
    n_ctx: 512,
    epsilon: 1e-12,
    norm: Norm::Layer,
    ..Defaults::USUAL
};

fn bert(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    encoder(config, keys, 0, &DEFAULTS)
}

fn roberta(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("pad_token_id", &[(OFFSET - 1).into()])?;
    let offset = OFFSET.into();
    encoder(config, keys, offset, &Defaults { n_ctx: 512 + offset, ..DEFAULTS })
}

/// The keys of an encoder whose first `offset` positions are no token's.
fn encoder(
    config: &Config,
    keys: &mut Keys,
    offset: u64,
    defaults: &Defaults,
) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["gelu".into()])?;
    config.expect("position_embedding_type", &["absolute".into()])?;
    config.expect("is_decoder", &[false.into()])?;
    config.expect("add_cross_attention", &[false.into()])?;
    let mut sizes = Keys::sizes(config, defaults)?;
    sizes.token_types = config.count("type_vocab_size")?.unwrap_or(2);
    sizes.n_ctx = match sizes.n_ctx.checked_sub(offset) {
        Some(n_ctx) if n_ctx > 0 => n_ctx,
        _ => return Err(config.out_of_range("max_position_embeddings", "leaves no position")),
    };
    keys.encoder(&sizes, Keys::epsilon(config, defaults)?);
    Ok(sizes)
}
