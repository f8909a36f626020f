//! What both boards do with a model: load it where it lies, hash the logits of a prompt, write on,
//! all in memory that the board lends.

use core::fmt::{self, Write};

use mote_formats::ParseError;
use mote_formats::gguf::Gguf;
use mote_kernels::{CacheType, arch};
use mote_runtime::executor::Executor;
use mote_runtime::memory::TooSmall;
use mote_runtime::score::contract_bytes;
use mote_runtime::tokenizer::EncodeError;
use mote_runtime::{
    Completion, CompletionOptions, LoadError, Model, Options, Plan, Precision, Session,
    SessionError, StopReason,
};

/// Most tokens of a prompt.
const MAX_PROMPT: usize = 64;

/// What is to be done.
pub struct Task<'t> {
    /// The bytes of a GGUF file, from a multiple of 4 on; what follows the model is not looked at.
    pub file: &'t [u8],
    /// The text to be continued.
    pub prompt: &'t str,
    /// Tokens to write.
    pub tokens: usize,
    /// Tokens that go through the layers together.
    pub batch: usize,
    /// Who computes.
    pub executor: &'t dyn Executor,
}

/// The bytes that were lent.
pub struct Lent {
    /// For the model's tables.
    pub tables: usize,
    /// For the session, as planned.
    pub plan: Plan,
    /// For the text being written.
    pub text: usize,
}

impl Lent {
    /// All of them. They are the first ones of the memory; what is behind them was not touched.
    pub fn total(&self) -> usize {
        self.tables + self.plan.total_bytes + self.text
    }
}

/// Does the task in the first bytes of `memory`, which need not be cleared.
pub fn run(task: &Task<'_>, memory: &mut [u8], out: &mut dyn Write) -> Result<Lent, Failure> {
    let gguf = Gguf::parse(task.file)?;
    let tables = Model::bytes_needed(&gguf)?;
    let (lent, memory) = lend(memory, tables)?;
    let model = Model::new(&gguf, lent)?;

    // Until the session begins, its memory serves as scratch.
    let mut ids = [0; MAX_PROMPT];
    let tokenizer = model.tokenizer();
    let (text, expects) = (task.prompt.as_bytes(), tokenizer.default_options());
    let n = tokenizer.encode(text, expects, memory, &mut ids)?;
    let prompt = &ids[..n];

    let options = Options {
        n_ctx: n + task.tokens,
        batch: task.batch,
        logit_rows: 1,
        precision: Precision::Bits8,
        cache: CacheType::F32,
        threads: task.executor.threads(),
    };
    let plan = Session::plan(&model, &options)?;
    let (lent, memory) = lend(memory, plan.total_bytes)?;
    let mut session = Session::new(&model, &options, arch::best(), task.executor, lent)?;

    writeln!(out, "prompt    {}", task.prompt)?;
    let hash = hash_logits(&mut session, prompt)?;
    let kernels = session.kernels().name();
    writeln!(out, "logits    {hash} ({n} tokens, 8-bit activations, f32 cache, {kernels})")?;
    session.rewind(0);
    let text = write_on(task, &mut session, prompt, memory, out)?;
    Ok(Lent { tables, plan, text })
}

/// The prompt's text goes on. Returns the bytes that it needed.
fn write_on(
    task: &Task<'_>,
    session: &mut Session<'_>,
    prompt: &[u32],
    memory: &mut [u8],
    out: &mut dyn Write,
) -> Result<usize, Failure> {
    let options = CompletionOptions { max_tokens: task.tokens, ..CompletionOptions::default() };
    let needed = Completion::bytes_needed(session.model().tokenizer(), &options);
    let (lent, _) = lend(memory, needed)?;
    let mut completion = Completion::new(session, options, lent)?;
    write!(out, "text      ")?;
    completion.feed(prompt, |_| true)?;
    while let Some(step) = completion.step()? {
        out.write_str(step.text)?;
    }
    let stopped = completion.stopped().map_or("", StopReason::name);
    writeln!(out, "\ntokens    {} written, end: {stopped}", completion.written())?;
    Ok(needed)
}

/// `mote score --hash`: of the logits after each token of the prompt.
fn hash_logits(session: &mut Session<'_>, prompt: &[u32]) -> Result<Hash, Failure> {
    let mut hasher = blake3::Hasher::new();
    session.score(prompt, |_, logits| {
        contract_bytes(logits, |bytes| {
            hasher.update(bytes);
        });
    })?;
    Ok(Hash(hasher.finalize()))
}

/// The first 16 bytes in hexadecimal.
struct Hash(blake3::Hash);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_bytes().iter().take(16).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Cuts the first `len` bytes off.
fn lend(memory: &mut [u8], len: usize) -> Result<(&mut [u8], &mut [u8]), TooSmall> {
    let given = memory.len();
    memory.split_at_mut_checked(len).ok_or(TooSmall { needed: len, given })
}

/// Why there is no text.
pub enum Failure {
    /// The bytes are not a GGUF file.
    Parse(ParseError),
    /// The file is not a model that runs.
    Load(LoadError),
    /// The prompt has no tokens, or too many.
    Encode(EncodeError),
    /// The session does not go on.
    Session(SessionError),
    /// The board has too little memory.
    Memory(TooSmall),
    /// The output is gone.
    Output,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Parse(error) => write!(f, "{error}"),
            Failure::Load(error) => write!(f, "{error}"),
            Failure::Encode(error) => write!(f, "{error}"),
            Failure::Session(error) => write!(f, "{error}"),
            Failure::Memory(error) => write!(f, "{error}"),
            Failure::Output => write!(f, "the output failed"),
        }
    }
}

macro_rules! from {
    ($($error:ty => $variant:ident),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Failure::$variant(error)
            }
        })*
    };
}
from!(ParseError => Parse, LoadError => Load, EncodeError => Encode, SessionError => Session,
    TooSmall => Memory);

impl From<fmt::Error> for Failure {
    fn from(_: fmt::Error) -> Self {
        Failure::Output
    }
}
