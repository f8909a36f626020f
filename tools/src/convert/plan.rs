//! Which tensors the output has, in which encoding, and where each comes from.

use std::collections::{HashMap, HashSet};

use mote_formats::gguf::{ShortName, Text};
use mote_formats::hf::weights::{Source, Weights};
use mote_formats::hf::{Config, ConfigError};
use mote_formats::safetensors::Dtype;
use mote_kernels::QuantType;

use super::arch::{HEAD_NAME, Layers, MAPPINGS, Mapping, Rule, Sizes, Transform, Width};
use super::keys::Keys;
use crate::failure::{Code, Failure, Result};

/// The output before it is written.
#[derive(Debug)]
pub struct Plan<'a> {
    pub mapping: &'static Mapping,
    pub keys: Keys,
    pub sizes: Sizes,
    /// The tensors in the order of the file: computed ones, then those of the checkpoint in its order.
    pub outputs: Vec<Output<'a>>,
    /// How many matrices are stored as f16 because their rows are no whole blocks.
    pub fallbacks: usize,
    /// How many tensors of the checkpoint are of parts that are not converted.
    pub left_out: usize,
}

/// A tensor of the output.
#[derive(Debug)]
pub struct Output<'a> {
    pub name: String,
    /// Elements along each dimension, neighbours first.
    pub dims: Vec<u64>,
    pub kind: QuantType,
    pub origin: Origin<'a>,
}

/// Where a tensor's elements come from.
#[derive(Debug)]
pub enum Origin<'a> {
    Computed(Vec<f32>),
    /// One tensor, or several, one after the other.
    Stored {
        parts: Vec<Part<'a>>,
        transform: Transform,
    },
}

/// A tensor of the checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub source: &'a Source,
    pub stored: Stored,
}

/// The types of a checkpoint's elements that are converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// As an encoding of mote.
    As(QuantType),
    /// 64-bit floats, which become f32.
    F64,
}

/// Tensors that become one, with their numbers among them.
type Numbered<'a> = Vec<(u64, &'a Source)>;

/// Where a tensor of the checkpoint goes.
struct Place {
    /// Its name in the output.
    name: String,
    layer: Option<u64>,
    rule: &'static Rule,
    /// Which it is among those that become one.
    number: u64,
}

/// What is said in front of the tensors' own names, in one model or another.
const PARTS: &[&str] = &[
    "language_model.model.",
    "model.language_model.",
    "language_model.",
    "model.decoder.",
    "model.backbone.",
    "model.",
    "transformer.",
    "gpt_neox.",
    "decoder.",
    "backbone.",
];

impl Output<'_> {
    /// Elements.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }

    /// Bytes in the output.
    pub fn bytes(&self) -> u64 {
        let (block, bytes) = (self.kind.block_len() as u64, self.kind.block_bytes() as u64);
        self.elements() / block * bytes
    }
}

/// The mapping for a checkpoint's class.
pub fn mapping(config: &Config) -> Result<&'static Mapping> {
    let model = config.text("model_type").map_err(refused)?;
    let found = match (config.class(), model) {
        (Some(class), _) => MAPPINGS.iter().find(|mapping| mapping.classes.contains(&class)),
        (None, Some(model)) => MAPPINGS.iter().find(|mapping| mapping.models.contains(&model)),
        (None, None) => {
            let sentence = "config.json: neither architectures nor model_type is there";
            return Err(Failure::new(Code::Format, sentence));
        }
    };
    found.copied().ok_or_else(|| {
        let name = Text::from(config.class().or(model).unwrap_or_default());
        let known: Vec<&str> =
            MAPPINGS.iter().flat_map(|mapping| mapping.classes).copied().collect();
        let known = known.join(", ");
        Failure::new(Code::Model, format_args!("no support for {name}, only for {known}"))
    })
}

/// What a configuration's error is to who asked.
pub fn refused(error: ConfigError) -> Failure {
    use mote_formats::hf::config::ConfigReason;
    let code = match error.reason {
        ConfigReason::Unsupported(_) => Code::Model,
        _ => Code::Format,
    };
    Failure::new(code, error)
}

impl<'a> Plan<'a> {
    /// What becomes of a checkpoint. `wanted`: the encoding of matrices; `None` as they are stored.
    pub fn new(
        mapping: &'static Mapping,
        config: &Config,
        weights: &'a Weights,
        wanted: Option<QuantType>,
    ) -> Result<Plan<'a>> {
        check_quantization(mapping, config)?;
        let mut keys = Keys::new(mapping.name);
        let sizes = (mapping.describe)(config, &mut keys).map_err(refused)?;
        let tied = config.flag("tie_word_embeddings").map_err(refused)?.unwrap_or(mapping.tied);
        let mut plan =
            Plan { mapping, keys, sizes, outputs: Vec::new(), fallbacks: 0, left_out: 0 };
        for (name, values) in plan.keys.tensors() {
            let dims = vec![values.len() as u64];
            let origin = Origin::Computed(values.clone());
            plan.outputs.push(Output { name: (*name).into(), dims, kind: QuantType::F32, origin });
        }
        let mut names = Vec::new();
        let mut sources: HashMap<String, (&Rule, Sizes, Numbered<'_>)> = HashMap::new();
        for source in weights.tensors() {
            let places = plan.places(source)?;
            let table = mapping.ignored.iter().any(|end| source.name().ends_with(end));
            plan.left_out += usize::from(places.is_empty() && !table);
            for Place { name, layer, rule, number } in places {
                let (_, _, parts) = sources.entry(name.clone()).or_insert_with(|| {
                    names.push(name.clone());
                    (rule, *plan.sizes_of(layer), Vec::new())
                });
                if let Some((_, other)) = parts.iter().find(|(other, _)| *other == number) {
                    let (one, two) = (shown(other.name()), shown(source.name()));
                    let sentence = format_args!("{one} and {two} are both {name}");
                    return Err(Failure::new(Code::Format, sentence));
                }
                parts.push((number, source));
            }
        }
        for name in names {
            if let Some((rule, sizes, parts)) = sources.get_mut(&name) {
                parts.sort_by_key(|(number, _)| *number);
                plan.add(name, (rule, sizes), parts, wanted)?;
            }
        }
        plan.check_complete(tied, &sources.into_keys().collect())?;
        Ok(plan)
    }

    /// Where a tensor goes; nowhere if it is left out.
    fn places(&self, source: &Source) -> Result<Vec<Place>> {
        let Mapping { globals, layers, layer, .. } = *self.mapping;
        let full = source.name();
        let mut parts = self.mapping.prefixes.iter().chain(PARTS);
        let name = parts.find_map(|part| full.strip_prefix(part)).unwrap_or(full);
        if self.mapping.ignored.iter().any(|end| name.ends_with(end))
            || self.mapping.other_parts.iter().any(|start| {
                // What is no part of one model's name is one of another's.
                name.starts_with(start) || full.starts_with(start)
            })
        {
            return Ok(Vec::new());
        }
        let in_layer = || {
            let rest = name.strip_prefix(layers)?.strip_prefix('.')?;
            let at_the_end = || rest.rsplit_once("_l").map(|(rest, number)| (number, rest));
            let (number, rest) = rest.split_once('.').or_else(at_the_end)?;
            let number: u64 = number.parse().ok().filter(|n: &u64| n.to_string() == number)?;
            Some((number, rest))
        };
        let (n_layers, extra) = (self.sizes.n_layers, self.sizes.extra_layers);
        let in_layer = in_layer();
        if in_layer.is_some_and(|(number, _)| (n_layers..n_layers + extra).contains(&number)) {
            return Ok(Vec::new());
        }
        let in_layer = in_layer.filter(|(number, _)| *number < n_layers);
        // Numbers that cannot be would pile up under one name.
        let number = |rule: &Rule, name: &str| {
            let most = rule.stack.map(|count| count.of(&self.sizes));
            rule.number(name).filter(|number| most.is_none_or(|most| *number < most))
        };
        let place = |rule: &'static Rule, in_layer: Option<(u64, &str)>| {
            let (name, rest, layer) = match in_layer {
                None => (rule.to.to_string(), name, None),
                Some((layer, rest)) => (format!("blk.{layer}.{}", rule.to), rest, Some(layer)),
            };
            Some(Place { name, layer, rule, number: number(rule, rest)? })
        };
        let rules = if in_layer.is_some() { layer } else { globals };
        let is_had = |place: &Place| place.layer.is_none_or(|layer| self.has(layer, place.rule));
        let of = |rule| place(rule, in_layer);
        let (mut found, others): (Vec<_>, Vec<_>) = rules.iter().filter_map(of).partition(is_had);
        if found.is_empty() {
            // Some stand in a layer's folder.
            found = globals.iter().filter_map(|rule| place(rule, None)).collect();
        }
        if !found.is_empty() || others.iter().any(|place| place.rule.layers == Layers::Own) {
            return Ok(found);
        }
        let (tensor, architecture) = (shown(full), self.mapping.name);
        let layers = self.sizes.n_layers;
        let sentence = "has no place in a model of architecture";
        let sentence = format_args!("{tensor} {sentence} {architecture} with {layers} layers");
        Err(Failure::new(Code::Model, sentence))
    }

    /// The sizes of a layer, or of what belongs to none.
    fn sizes_of(&self, layer: Option<u64>) -> &Sizes {
        layer.and_then(|layer| self.keys.sizes_of(layer)).unwrap_or(&self.sizes)
    }

    /// Whether a layer is one of those that a rule is for.
    fn has(&self, layer: u64, rule: &Rule) -> bool {
        match rule.layers {
            Layers::All => true,
            Layers::First => layer == 0,
            Layers::Later => layer > 0,
            Layers::Attending => !self.keys.is_recurrent(layer),
            Layers::Recurrent => self.keys.is_recurrent(layer),
            Layers::Own => layer + self.sizes.borrowing < self.sizes.n_layers,
            Layers::Dense => self.is_dense(layer),
            Layers::Sparse => !self.is_dense(layer),
        }
    }

    /// Whether a layer has no experts.
    fn is_dense(&self, layer: u64) -> bool {
        let own = self.keys.sizes_of(layer).map(|sizes| sizes.n_experts == 0);
        own.unwrap_or(layer < self.sizes.dense_layers)
    }

    /// `sources` become the tensor `name`, in the order of their numbers.
    fn add(
        &mut self,
        name: String,
        (rule, sizes): (&Rule, &Sizes),
        sources: &[(u64, &'a Source)],
        wanted: Option<QuantType>,
    ) -> Result<()> {
        let mut expected: Vec<u64> = rule.shape.widths().map(|width| width.of(sizes)).collect();
        if let (Transform::Skip(rows), Some(all)) = (rule.transform, expected.first_mut()) {
            *all = all.saturating_add(rows.into());
        }
        if let Transform::Packed { .. } = rule.transform {
            return self.add_packed(name, rule, (&expected, sources), wanted);
        }
        if rule.stack.is_none() && sources.len() != 1 {
            let sentence = format_args!("{} tensors would be {name}", sources.len());
            return Err(Failure::new(Code::Format, sentence));
        }
        let mut parts = Vec::new();
        for (_, source) in sources {
            let tensor = &source.tensor;
            if tensor.shape() != expected {
                let (found, tensor) = (tensor.shape(), shown(source.name()));
                let sentence = format_args!(
                    "{tensor} has shape {found:?}, by config.json it has {expected:?}"
                );
                return Err(Failure::new(Code::Format, sentence));
            }
            parts.push(Part { source, stored: stored(source)? });
        }
        let widths = rule.shape.widths().zip(&expected);
        let shape: Vec<u64> =
            widths.filter(|(width, _)| *width != Width::One).map(|(_, &n)| n).collect();
        let mut dims = dims(rule.transform, &shape, sizes);
        if let Some(width) = rule.rows_of {
            let row = width.of(sizes).max(1);
            dims = vec![row, dims.iter().product::<u64>() / row];
        }
        if let Some(count) = rule.stack {
            let (count, found) = (count.of(sizes), parts.len() as u64);
            let numbered = sources.iter().map(|(number, _)| *number).eq(0..count);
            if !numbered {
                let sentence = format_args!("{found} tensors are {name}, not 0 to {count} - 1");
                return Err(Failure::new(Code::Format, sentence));
            }
            dims.push(count);
        }
        let Some(first) = parts.first() else { return Ok(()) };
        let kind = self.kind(&name, &dims, first.stored, wanted);
        let origin = Origin::Stored { parts, transform: rule.transform };
        self.outputs.push(Output { name, dims, kind, origin });
        Ok(())
    }

    /// As [`Plan::add`], for the two tensors that are MXFP4 together.
    fn add_packed(
        &mut self,
        name: String,
        rule: &Rule,
        (expected, sources): (&[u64], &[(u64, &'a Source)]),
        wanted: Option<QuantType>,
    ) -> Result<()> {
        let wrong = |source: &Source, why: &str| {
            let tensor = shown(source.name());
            Failure::new(Code::Format, format_args!("{tensor} {why}"))
        };
        let &[(0, blocks), (1, scales)] = sources else {
            let sentence = format_args!("{name} is made of blocks and scales, and one is missing");
            return Err(Failure::new(Code::Format, sentence));
        };
        let &[matrices, rows, cols] = expected else { return Ok(()) };
        let units = [matrices, rows, cols / MXFP4_LEN];
        let shapes: [&[&[u64]]; 2] =
            [&[&[units[0], units[1], units[2], 16], &[units[0], units[1], cols / 2]], &[&units]];
        for (source, shapes) in [blocks, scales].into_iter().zip(shapes) {
            if source.dtype() != Dtype::U8 {
                return Err(wrong(source, "is not made of bytes"));
            }
            if !cols.is_multiple_of(MXFP4_LEN) || !shapes.contains(&source.tensor.shape()) {
                return Err(wrong(source, "has another shape than by config.json"));
            }
        }
        let stored = Stored::As(QuantType::MXFP4);
        let dims = dims(rule.transform, expected, &self.sizes);
        let kind = self.kind(&name, &dims, stored, wanted);
        let parts = [blocks, scales].map(|source| Part { source, stored }).to_vec();
        let origin = Origin::Stored { parts, transform: rule.transform };
        self.outputs.push(Output { name, dims, kind, origin });
        Ok(())
    }

    /// The encoding of a tensor, by the rules of llama.cpp's converter: vectors, norms and learned
    /// positions are f32, and rows that are no whole blocks f16.
    fn kind(
        &mut self,
        name: &str,
        dims: &[u64],
        stored: Stored,
        wanted: Option<QuantType>,
    ) -> QuantType {
        let always_f32 = dims.len() < 2
            || !name.ends_with(".weight")
            || name.ends_with("_norm.weight")
            || name.ends_with(".ffn_gate_inp.weight")
            || name.ends_with(".ffn_gate_inp_shexp.weight")
            || name.ends_with("conv1d.weight")
            || name.ends_with(".time_mix_lerp_fused.weight")
            || name.ends_with(".time_mix_w1.weight")
            || name.ends_with(".time_mix_w2.weight")
            || name.ends_with(".shortconv.conv.weight")
            || matches!(name, "position_embd.weight" | "token_types.weight");
        if always_f32 {
            return QuantType::F32;
        }
        let kind = match (wanted, stored) {
            (Some(wanted), _) => wanted,
            (None, Stored::As(kind)) => kind,
            (None, Stored::F64) => QuantType::F32,
        };
        let whole = dims.first().is_some_and(|row| row.is_multiple_of(kind.block_len() as u64));
        if whole {
            return kind;
        }
        self.fallbacks += 1;
        QuantType::F16
    }

    /// Every tensor that must be there is there.
    fn check_complete(&self, tied: bool, names: &HashSet<String>) -> Result<()> {
        let missing = |what: &str| {
            let sentence = format_args!("the checkpoint has no tensor {what}");
            Failure::new(Code::Format, sentence)
        };
        for rule in self.mapping.globals.iter().filter(|rule| rule.is_needed(&self.sizes)) {
            if !names.contains(rule.to) {
                return Err(missing(rule.from));
            }
        }
        let has_head = self.mapping.globals.iter().any(|rule| rule.to == HEAD_NAME);
        if has_head && !tied && !names.contains(HEAD_NAME) {
            let sentence =
                "for the head (lm_head.weight), and tie_word_embeddings is not true in config.json";
            return Err(missing(sentence));
        }
        for number in 0..self.sizes.n_layers {
            let sizes = self.sizes_of(Some(number));
            let needed = |rule: &&Rule| rule.is_needed(sizes) && self.has(number, rule);
            for rule in self.mapping.layer.iter().filter(needed) {
                if !names.contains(&format!("blk.{number}.{}", rule.to)) {
                    return Err(missing(&format!(
                        "{}.{number}.{}",
                        self.mapping.layers, rule.from
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Weights of a block of MXFP4.
const MXFP4_LEN: u64 = 32;

/// Refuses checkpoints that are quantised, but in a form that the mapping takes.
fn check_quantization(mapping: &Mapping, config: &Config) -> Result<()> {
    let Some(quantization) = config.get("quantization_config") else { return Ok(()) };
    let packed = |rule: &Rule| matches!(rule.transform, Transform::Packed { .. });
    let taken = mapping.layer.iter().any(packed);
    if taken && quantization.get("quant_method").is_some_and(|it| it == "mxfp4") {
        return Ok(());
    }
    let sentence = "config.json: the checkpoint is quantised already, which is not supported; \
        convert the original";
    Err(Failure::new(Code::Model, sentence))
}

/// How a tensor's elements are read.
fn stored(source: &Source) -> Result<Stored> {
    match source.dtype() {
        Dtype::F32 => Ok(Stored::As(QuantType::F32)),
        Dtype::F16 => Ok(Stored::As(QuantType::F16)),
        Dtype::BF16 => Ok(Stored::As(QuantType::BF16)),
        Dtype::F64 => Ok(Stored::F64),
        other => {
            let (tensor, other) = (shown(source.name()), other.name());
            let sentence = "which is not supported as weights";
            let sentence = format_args!("{tensor} is stored as {other}, {sentence}");
            Err(Failure::new(Code::Model, sentence))
        }
    }
}

/// The dimensions of a tensor of the output, neighbours first, by the shape of one in the checkpoint.
fn dims(transform: Transform, shape: &[u64], sizes: &Sizes) -> Vec<u64> {
    let mut dims: Vec<u64> = shape.iter().rev().copied().collect();
    if let Transform::Blocks { count, rows, transposed, .. } = transform {
        let (cols, rows) = (dims.first().copied().unwrap_or(1), rows.of(sizes));
        let (cols, rows) = if transposed { (rows, cols) } else { (cols, rows) };
        let all = [cols, rows, count.of(sizes)];
        // One block is a matrix.
        return if count == Width::Single { all[..2].to_vec() } else { all.to_vec() };
    }
    match (transform, dims.as_slice()) {
        (Transform::Flat, all) => return vec![all.iter().product()],
        (Transform::Apart, &[row, rows]) => return vec![row, 1, 1, rows],
        _ => {}
    }
    match (transform, dims.as_mut_slice()) {
        (Transform::Transpose { step, .. }, [outputs, inputs, ..]) => {
            (*outputs, *inputs) = (*inputs, *outputs / u64::from(step));
        }
        (Transform::Half(_), [row, ..]) => *row /= 2,
        (Transform::OfKeyHeads { gates }, [_, rows, ..]) => {
            *rows = if gates { sizes.mixer.inner } else { sizes.mixer.channels };
        }
        (Transform::Packed { step, .. }, [_, rows, ..]) => *rows /= u64::from(step),
        (Transform::Skip(rows), [.., last]) => *last -= u64::from(rows),
        _ => {}
    }
    dims
}

/// A name from a file, as a sentence may have it.
fn shown(name: &str) -> String {
    format!("tensor \"{}\"", ShortName::new(name.as_bytes()))
}
