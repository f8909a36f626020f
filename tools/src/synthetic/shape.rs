//! Shapes: how many layers, how wide, and which tensors that makes.

use clap::ValueEnum;
use mote_kernels::QuantType;

use super::types::{Role, Types};

/// The shape of a model, named by how many weights it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// As Llama 3.2 1B, with 49,152 tokens
    #[value(name = "1b")]
    OneBillion,
    /// As SmolLM2 135M
    #[value(name = "135m")]
    SmolLm,
    /// Two layers of 256, for tests
    Tiny,
}

/// The numbers of a shape. The head shares the embedding's weights.
#[derive(Clone, Copy, Debug)]
pub struct Dimensions {
    pub layers: u32,
    pub width: u32,
    pub feed_forward: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub vocabulary: u32,
}

/// One tensor of a model to be made.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    /// Weights of a row, and rows; a norm has one row.
    pub row: u32,
    pub rows: u32,
    pub role: Role,
    pub kind: QuantType,
}

impl Shape {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Shape::OneBillion => "1b",
            Shape::SmolLm => "135m",
            Shape::Tiny => "tiny",
        }
    }

    pub(super) fn dimensions(self) -> Dimensions {
        let [layers, width, feed_forward, heads, kv_heads, vocabulary] = match self {
            Shape::OneBillion => [16, 2048, 8192, 32, 8, 49_152],
            Shape::SmolLm => [30, 576, 1536, 9, 3, 49_152],
            Shape::Tiny => [2, 256, 512, 4, 2, 512],
        };
        Dimensions { layers, width, feed_forward, heads, kv_heads, vocabulary }
    }
}

impl Dimensions {
    /// Width of a head of the attention.
    pub fn head(&self) -> u32 {
        self.width / self.heads
    }

    /// The tensors of the file, in its order.
    pub fn tensors(&self, types: Types) -> Vec<Tensor> {
        let (width, feed_forward) = (self.width, self.feed_forward);
        let kv_width = self.head() * self.kv_heads;
        let in_layer = [
            ("attn_norm", width, 1, Role::Norm),
            ("attn_q", width, width, Role::Other),
            ("attn_k", width, kv_width, Role::Other),
            ("attn_v", width, kv_width, Role::AttentionValue),
            ("attn_output", width, width, Role::Other),
            ("ffn_norm", width, 1, Role::Norm),
            ("ffn_gate", width, feed_forward, Role::Other),
            ("ffn_up", width, feed_forward, Role::Other),
            ("ffn_down", feed_forward, width, Role::FeedForwardDown),
        ];
        let tensor = |name, layer, row, rows, role| {
            let kind = types.of(role, layer, self.layers, row);
            Tensor { name, row, rows, role, kind }
        };
        let embedding =
            tensor("token_embd.weight".to_owned(), 0, width, self.vocabulary, Role::Head);
        let layers = (0..self.layers).flat_map(|layer| {
            in_layer.map(|(name, row, rows, role)| {
                tensor(format!("blk.{layer}.{name}.weight"), layer, row, rows, role)
            })
        });
        let norm = tensor("output_norm.weight".to_owned(), 0, width, 1, Role::Norm);
        [embedding].into_iter().chain(layers).chain([norm]).collect()
    }
}

impl Tensor {
    /// Bytes of all rows.
    pub fn bytes(&self) -> u64 {
        let blocks = u64::from(self.row) * u64::from(self.rows) / self.kind.block_len() as u64;
        blocks * self.kind.block_bytes() as u64
    }

    /// As the file's index has them.
    pub fn dims(&self) -> Vec<u64> {
        match self.role {
            Role::Norm => vec![self.row.into()],
            _ => vec![self.row.into(), self.rows.into()],
        }
    }
}
