//! `mote importance`: which columns of a model's matrices matter, for `mote quantize`.

mod matrix;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use mote_formats::gguf::Gguf;
use mote_runtime::score::{Figures, log_probability};
use mote_runtime::{Model, Observer, Origin, Session, Site};
use serde::Serialize;

use crate::cli::write_json;
use crate::failure::{Result, shown};
use crate::host::{Engine, Memory, with_decoder};
use crate::input;
use crate::interrupt;
use crate::options::{ModelOption, Purpose, RulesOption, SessionOptions};
use crate::output;
use crate::perplexity::windows::{self, Windows};
use crate::streams::Streams;
use crate::tokenize::tell_unknown_rules;
pub use matrix::Importance;
use matrix::Sums;

/// Find the columns that matter for quantising
#[derive(Args, Debug)]
#[command(after_help = "\
Feeds a text that is typical of the model's use and sums, for each column of each matrix (but
routers, those by head of latent attention, attn_k_b and attn_v_b, and RWKV 7's of low rank), the
squares of what meets it. `mote quantize --importance` then lets the errors of a column count that
much. The text is cut into windows of --ctx tokens (512). 100 of them are plenty; the text should
not be the one that the result is judged by. The file has the form of llama-imatrix (GGUF), and
either program reads the other's. The model should be the one that will be quantised, in F32, F16,
BF16 or Q8_0.

JSON keys: output; matrices; windows; tokens; perplexity: of the second half of each window;
seconds.

Example:
  mote importance -m model-f16.gguf -f text.txt -o importance.gguf
  mote quantize model-f16.gguf -o model-q3.gguf Q3_K_M --importance importance.gguf")]
pub struct Command {
    #[command(flatten)]
    model: ModelOption,
    /// A file with the text
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The first N windows alone [default: all]
    #[arg(long, value_name = "N")]
    windows: Option<NonZeroUsize>,
    /// The head, too: of little use where it is the embedding as well
    #[arg(long)]
    head: bool,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rules: RulesOption,
    #[command(flatten)]
    session: SessionOptions,
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }
}

#[derive(Serialize)]
struct Report {
    output: String,
    matrices: usize,
    windows: usize,
    tokens: usize,
    perplexity: f64,
    seconds: f64,
}

/// Measures.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let start = Instant::now();
    let window = windows::length(command.session.compute.ctx)?;
    output::check_absent(&command.output, command.force)?;
    with_decoder(&command.model.model, command.rules.name(), |model| {
        tell_unknown_rules(model.tokenizer(), streams);
        let text = input::read_file(&command.file)?;
        let most = command.windows.map(NonZeroUsize::get);
        let windows = Windows::new(model.tokenizer(), &text, window, most)?;
        let mut observed = Observed::default();
        let figures = command.measure(model, &windows, window, &mut observed, streams)?;
        let sums = observed.sums(model.gguf(), command.head);
        let name = shown(&command.file);
        let shape = (windows.len(), window);
        let existing = output::existing(command.force);
        output::write(&command.output, existing, |out| matrix::write(&sums, &name, shape, out))?;
        let report = Report {
            output: shown(&command.output),
            matrices: sums.len(),
            windows: windows.len(),
            tokens: windows.len() * window,
            perplexity: figures.perplexity(),
            seconds: start.elapsed().as_secs_f64(),
        };
        if command.json { write_json(&report, streams) } else { report.print(streams) }
    })
}

impl Command {
    /// Feeds every window; gives the probability of its second half.
    fn measure(
        &self,
        model: &Model<'_>,
        windows: &Windows<'_>,
        window: usize,
        observed: &mut Observed,
        streams: &mut Streams<'_>,
    ) -> Result<Figures> {
        let engine = Engine::new(&self.session, streams)?;
        let all_float = model.weights().all_float();
        let compute = &self.session.compute;
        let options = compute.session(all_float, Purpose::Score, window, engine.threads());
        let plan = Session::plan(model, &options)?;
        let mut memory = Memory::new(plan.total_bytes)?;
        // Not `host::with_session`, whose session lives shorter than who observes it.
        let mut session = Session::new(model, &options, engine.kernels, &engine.pool, &mut memory)?;
        session.observe(observed);
        let (mut figures, half) = (Figures::default(), window / 2);
        let mut tokens = Vec::with_capacity(window);
        windows.each(1, streams, |prompt, scored| {
            tokens.clear();
            tokens.extend_from_slice(prompt);
            tokens.extend_from_slice(scored);
            session.rewind(0);
            // The logits of all are asked for, so that all go through the last layer.
            let visit = |i: usize, logits: &mut [f32]| {
                let next = tokens.get(i + 1).filter(|_| i >= half);
                let log_probability = |&id: &u32| log_probability(engine.kernels, logits, id);
                if let Some(log_probability) = next.and_then(log_probability) {
                    figures.add(log_probability, 0);
                }
            };
            session.score_with(&tokens, Origin::Prompt, 0, interrupt::not_pressed, visit)?;
            Ok(())
        })?;
        Ok(figures)
    }
}

impl Report {
    fn print(&self, streams: &mut Streams<'_>) -> Result<()> {
        let Report { output, matrices, windows, tokens, perplexity, seconds } = self;
        let out = &mut *streams.output;
        writeln!(out, "{output}: importance for {matrices} matrices, {seconds:.1} s")?;
        Ok(writeln!(out, "{tokens} tokens in {windows} windows, perplexity {perplexity:.4}")?)
    }
}

/// Sums of squares by place.
#[derive(Default)]
struct Observed(BTreeMap<(usize, Site), Column>);

#[derive(Default)]
struct Column {
    sums: Vec<f64>,
    rows: u64,
}

impl Observer for Observed {
    fn input(&mut self, site: Site, layer: usize, rows: &[f32], cols: usize) {
        let column = self.0.entry((layer, site)).or_default();
        column.sums.resize(cols, 0.0);
        for row in rows.chunks_exact(cols) {
            column.rows += 1;
            for (sum, &x) in column.sums.iter_mut().zip(row) {
                *sum += f64::from(x * x);
            }
        }
    }
}

impl Observed {
    /// For each matrix of the file that meets them.
    fn sums(self, gguf: &Gguf<'_>, head: bool) -> BTreeMap<String, Sums> {
        let mut all = BTreeMap::new();
        for ((layer, site), column) in self.0 {
            let in_layer = |names: &[&str]| -> Vec<String> {
                names.iter().map(|name| format!("blk.{layer}.{name}.weight")).collect()
            };
            let names = match site {
                Site::Attention => in_layer(&[
                    "attn_q",
                    "attn_k",
                    "attn_v",
                    "attn_qkv",
                    "attn_q_a",
                    "attn_kv_a_mqa",
                ]),
                Site::LatentQueries => in_layer(&["attn_q_b"]),
                Site::AttentionOutput => in_layer(&["attn_output"]),
                Site::Mixer => in_layer(&[
                    "ssm_in",
                    "cell_in",
                    "window",
                    "shortconv.in_proj",
                    "attn_qkv",
                    "attn_gate",
                    "ssm_alpha",
                    "ssm_beta",
                    "ssm_ba",
                ]),
                Site::Back => in_layer(&["cell_back"]),
                Site::Selection => in_layer(&["ssm_x"]),
                Site::Step => in_layer(&["ssm_dt"]),
                Site::MixerOutput => {
                    in_layer(&["ssm_out", "shortconv.out_proj", "time_mix_output"])
                }
                Site::MixerKeys => in_layer(&["time_mix_key"]),
                Site::MixerValues => in_layer(&["time_mix_value"]),
                Site::MixerGates => in_layer(&["time_mix_receptance"]),
                Site::FeedForwardGates => in_layer(&["channel_mix_receptance"]),
                Site::FeedForward => in_layer(&[
                    "ffn_gate",
                    "ffn_up",
                    "ffn_gate_shexp",
                    "ffn_up_shexp",
                    "channel_mix_key",
                ]),
                Site::Down => in_layer(&["ffn_down", "channel_mix_value"]),
                Site::UpExpert(_) => {
                    in_layer(&["ffn_gate_exps", "ffn_up_exps", "ffn_gate_up_exps"])
                }
                Site::DownExpert(_) => in_layer(&["ffn_down_exps"]),
                Site::DownShared => in_layer(&["ffn_down_shexp"]),
                Site::LayerEmbedding => vec!["per_layer_model_proj.weight".to_owned()],
                Site::LayerGate => in_layer(&["inp_gate"]),
                Site::LayerOutput => in_layer(&["proj"]),
                Site::Head if !head => continue,
                Site::Head if gguf.tensor("output.weight").is_some() => {
                    vec!["output.weight".to_owned()]
                }
                Site::Head => vec!["token_embd.weight".to_owned()],
            };
            let expert = match site {
                Site::UpExpert(expert) | Site::DownExpert(expert) => expert,
                _ => 0,
            };
            for name in names {
                let Some(tensor) = gguf.tensor(&name) else { continue };
                let experts = tensor.shape()[2] as usize;
                let cols = column.sums.len();
                let sums = all.entry(name).or_insert_with(Sums::default);
                // An expert that no token went through has zeros.
                sums.values.resize(experts * cols, 0.0);
                sums.rows.resize(experts, 0);
                let values = sums.values.iter_mut().skip(expert * cols);
                values.zip(&column.sums).for_each(|(value, &sum)| *value = sum as f32);
                if let Some(rows) = sums.rows.get_mut(expert) {
                    *rows = column.rows;
                }
            }
        }
        all
    }
}
