//! From a file's name to a session: opening, memory, threads, kernels.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use memmap2::MmapMut;
use mote_formats::gguf::Gguf;
use mote_kernels::{Kernels, arch};
use mote_runtime::executor::Executor;
use mote_runtime::threads::ThreadPool;
use mote_runtime::tokenizer::pre_tokenizers;
use mote_runtime::{
    AnyModel, AnySession, LanguageModel, Model, Options, Plan, Session, SessionError,
};

use crate::failure::{Code, Failure, Result};
use crate::options::SessionOptions;
use crate::source;
use crate::streams::Streams;

/// Zeroed memory that the system hands out as it is touched. Too little of it is an error, not an
/// abort.
#[derive(Debug)]
pub struct Memory(MmapMut);

impl Memory {
    /// `bytes` of it.
    pub fn new(bytes: usize) -> Result<Memory> {
        let memory = MmapMut::map_anon(bytes.max(1)).map_err(|error| {
            Failure::new(Code::Memory, format_args!("cannot get {bytes} bytes of memory: {error}"))
        })?;
        // Large pages cost fewer look-ups. A wish.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        Ok(Memory(memory))
    }
}

impl Deref for Memory {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// The index of a GGUF file. Failures of opening and parsing name the file.
pub fn with_gguf<R>(path: &Path, work: impl FnOnce(&Gguf<'_>) -> Result<R>) -> Result<R> {
    let file = source::open(path)?;
    let gguf = file.gguf(path)?;
    let done = work(&gguf)?;
    source::check_mapped()?;
    Ok(done)
}

/// A model that runs; `pre`: its texts are cut into words by those rules.
pub fn with_model<R>(
    path: &Path,
    pre: Option<&str>,
    work: impl FnOnce(&Model<'_>) -> Result<R>,
) -> Result<R> {
    with_gguf(path, |gguf| {
        let refused = |error| Failure::load(error, gguf).in_file(path);
        let mut tables = Memory::new(Model::bytes_needed(gguf).map_err(refused)?)?;
        let mut model = Model::new(gguf, &mut tables).map_err(refused)?;
        if let Some(name) = pre
            && !model.set_pre_tokenizer(name)
        {
            return Err(unknown_rules(name));
        }
        work(&model)
    })
}

/// The same of a model that writes text.
pub fn with_decoder<R>(
    path: &Path,
    pre: Option<&str>,
    work: impl FnOnce(&Model<'_>) -> Result<R>,
) -> Result<R> {
    with_model(path, pre, |model| match model.config().causal {
        true => work(model),
        false => Err(Failure::from(SessionError::Encoder).in_file(path)),
    })
}

/// A model of either kind.
pub fn with_any_model<R>(path: &Path, work: impl FnOnce(&AnyModel<'_>) -> Result<R>) -> Result<R> {
    with_any_model_by(path, None, work)
}

/// The same, with the rules of `--pre` for words.
pub fn with_any_model_by<R>(
    path: &Path,
    pre: Option<&str>,
    work: impl FnOnce(&AnyModel<'_>) -> Result<R>,
) -> Result<R> {
    try_any_model(path, pre, |model| work(model?))
}

/// Why there are no rules of a name for words.
pub fn unknown_rules(name: &str) -> Failure {
    if pre_tokenizers().flatten().any(|known| *known == name) {
        let name = name.escape_debug();
        let sentence = "the file's vocabulary has no rules for words";
        return Failure::new(Code::Usage, format_args!("--pre {name}: {sentence}"));
    }
    let known: Vec<&str> = pre_tokenizers().flatten().copied().collect();
    let (name, known) = (name.escape_debug(), known.join(", "));
    Failure::new(Code::Usage, format_args!("--pre: no rules are called '{name}' (known: {known})"))
}

/// A model of either kind, or why there is none. With `pre`, texts are cut into words by those rules.
pub fn try_any_model<R>(
    path: &Path,
    pre: Option<&str>,
    work: impl FnOnce(Result<&AnyModel<'_>>) -> Result<R>,
) -> Result<R> {
    let file = match source::open(path) {
        Ok(file) => file,
        Err(failure) => return work(Err(failure)),
    };
    let gguf = match file.gguf(path) {
        Ok(gguf) => gguf,
        Err(failure) => return work(Err(failure)),
    };
    let refused = |error| Failure::load(error, &gguf).in_file(path);
    let tables = AnyModel::bytes_needed(&gguf).map_err(refused).and_then(Memory::new);
    let mut tables = match tables {
        Ok(tables) => tables,
        Err(failure) => return work(Err(failure)),
    };
    let mut model = match AnyModel::new(&gguf, &mut tables).map_err(refused) {
        Ok(model) => model,
        Err(failure) => return work(Err(failure)),
    };
    if let AnyModel::Transformer(model) = &model
        && !model.config().causal
    {
        return work(Err(Failure::from(SessionError::Encoder).in_file(path)));
    }
    if let Some(name) = pre
        && !model.set_pre_tokenizer(name)
    {
        return Err(unknown_rules(name));
    }
    work(Ok(&model))
}

/// Who computes: a kernel table and threads.
#[derive(Debug)]
pub struct Engine {
    /// The table of this CPU.
    pub kernels: &'static Kernels,
    /// The threads, the calling one included.
    pub pool: ThreadPool,
}

impl Engine {
    /// As the options ask. More threads than CPUs would only wait for each other, so they are
    /// reduced, with a note.
    pub fn new(options: &SessionOptions, streams: &mut Streams<'_>) -> Result<Engine> {
        let kernels = kernels(options.compute.target.as_deref())?;
        let threads = options.threads.map(|threads| threads.get());
        let pool = match threads {
            None => ThreadPool::adaptive(ThreadPool::available()),
            asked => ThreadPool::new(available_threads(asked, streams)),
        };
        Ok(Engine { kernels, pool })
    }

    /// Threads that the system granted.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }
}

/// The kernel table of that name, or the best.
pub fn kernels(target: Option<&str>) -> Result<&'static Kernels> {
    let Some(name) = target else { return Ok(arch::best()) };
    arch::by_name(name).ok_or_else(|| {
        let what = if arch::names().any(|known| known == name) {
            "this CPU does not have the target"
        } else {
            "there is no target"
        };
        let name = name.escape_debug();
        let names: Vec<&str> = arch::available().map(|kernels| kernels.name()).collect();
        let names = names.join(", ");
        Failure::new(Code::Usage, format_args!("--target: {what} '{name}' (it has: {names})"))
    })
}

/// As many threads as asked for, at most as many as there are CPUs; all of those by default.
pub fn available_threads(asked: Option<usize>, streams: &mut Streams<'_>) -> usize {
    let available = ThreadPool::available();
    match asked {
        Some(asked) if asked > available => {
            streams.note(format_args!("{available} threads instead of {asked}: one for each CPU"));
            available
        }
        Some(asked) => asked,
        None => available,
    }
}

/// A session in memory of its own.
pub fn with_session<R>(
    model: &Model<'_>,
    options: &Options,
    engine: &Engine,
    work: impl FnOnce(&mut Session<'_>, &Plan) -> Result<R>,
) -> Result<R> {
    let plan = Session::plan(model, options)?;
    let mut memory = Memory::new(plan.total_bytes)?;
    let mut session = Session::new(model, options, engine.kernels, &engine.pool, &mut memory)?;
    work(&mut session, &plan)
}

/// The same for a model of either kind.
pub fn with_any_session<R>(
    model: &AnyModel<'_>,
    options: &Options,
    engine: &Engine,
    work: impl FnOnce(&mut dyn LanguageModel<'_>, &Plan) -> Result<R>,
) -> Result<R> {
    let plan = AnySession::plan(model, options)?;
    let mut memory = Memory::new(plan.total_bytes)?;
    let mut session = AnySession::new(model, options, engine.kernels, &engine.pool, &mut memory)?;
    work(session.as_model_mut(), &plan)
}
