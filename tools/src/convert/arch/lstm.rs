//! A language model of memory cells: torch.nn.Embedding, torch.nn.LSTM and torch.nn.Linear under the names
//! `embedding`, `lstm` and `output`.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Inner, MixIn, Vocab};
use super::{Mapping, MixerSizes, Rule, Sizes, decoder, tensor};
use crate::convert::keys::Keys;

pub static LSTM: Mapping = Mapping {
    globals: &[
        tensor("embedding.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("output.weight", "output.weight", &[Vocab, Inner]).optional(),
        tensor("output.bias", "output.bias", &[Vocab]).optional(),
    ],
    layers: "lstm",
    ..decoder("lstm", &[], &["lstm"], LAYER, describe)
};

const LAYER: &[Rule] = &[
    tensor("weight_ih", "cell_in.weight", &[MixIn, Embd]).first(),
    tensor("weight_ih", "cell_in.weight", &[MixIn, Inner]).later(),
    tensor("bias_ih", "cell_in.bias", &[MixIn]).optional(),
    tensor("weight_hh", "cell_back.weight", &[MixIn, Inner]),
    tensor("bias_hh", "cell_back.bias", &[MixIn]).optional(),
];

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    let n_layers = Keys::layers(config, config.required("num_layers")?)?;
    let sizes = keys.seed(config, n_layers)?;
    let width = config.required("hidden_size")?;
    let projected = width.saturating_mul(4);
    Keys::check_widths(config, &[("hidden_size", projected)])?;
    if width != sizes.n_embd && config.flag("tie_word_embeddings")? == Some(true) {
        let why = "is only for layers as wide as the embedding";
        return Err(config.out_of_range("tie_word_embeddings", why));
    }
    keys.count("hidden_length", width);
    let mixer = MixerSizes { projected, inner: width, ..sizes.mixer };
    Ok(Sizes { mixer, ..sizes })
}
