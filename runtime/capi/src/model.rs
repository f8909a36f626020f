//! Models: immutable, shared between threads, counted.

use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicUsize, Ordering};

use mote_formats::Gguf;
use mote_runtime::AnyModel;

use crate::argument::{Out, slice};
use crate::call::status;
use crate::failure::{Code, Failure, Result, Sentence};
use crate::host::Mapping;
use crate::memory::Block;
use crate::options::{self, Info, Log, ModelOptions, OutStruct};

/// "moteMODL", as far as a word goes, in the first bytes of a model's handle as long as it lives.
const TAG: usize = u64::from_be_bytes(*b"moteMODL") as usize;
/// Where a handle was.
const DEAD: usize = u64::from_be_bytes(*b"moteDEAD") as usize;

/// Longest path in bytes.
#[cfg(feature = "std")]
const MAX_PATH_BYTES: usize = 4096;

/// In [`ModelHandle::owners`]: one handle of the caller's, in the high half; a session is 1.
const HANDLE: usize = 1 << (usize::BITS / 2);

/// `mote_model`. The tag is in the first bytes.
#[repr(C)]
#[derive(Debug)]
pub struct ModelHandle {
    tag: AtomicUsize,
    /// Handles that the caller has, and sessions: the model lives as long as any of them.
    owners: AtomicUsize,
    pub(crate) model: AnyModel<'static>,
    table_bytes: usize,
    log: Option<Log>,
    log_user: *mut c_void,
    /// The file, if it was opened here.
    _mapping: Option<Mapping>,
    /// Where the handle itself and the tables lie.
    block: ManuallyDrop<Block>,
}

impl ModelHandle {
    /// Tells the log, if there is one.
    pub(crate) fn log(&self, message: impl core::fmt::Display) {
        if let Some(log) = self.log {
            let message = Sentence::new(message);
            // SAFETY: the caller promised in the options that the function may be called with this.
            unsafe { log(self.log_user, message.as_ptr()) };
        }
    }
}

/// A model that is kept alive.
#[derive(Debug)]
pub(crate) struct Shared(*const ModelHandle);

impl Shared {
    /// Counts a session in.
    pub fn new(handle: &ModelHandle) -> Shared {
        handle.owners.fetch_add(1, Ordering::Relaxed);
        Shared(handle)
    }

    pub fn handle(&self) -> &'static ModelHandle {
        // SAFETY: alive as long as it is counted. The sessions that use it are dropped before that
        // ends (see `session.rs`).
        unsafe { &*self.0 }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: counted by `new`.
        unsafe { release(self.0.cast_mut(), 1) };
    }
}

/// A handle that is alive.
///
/// # Safety
/// If the pointer is not NULL, memory is there.
pub(crate) unsafe fn alive<'a>(model: *const ModelHandle) -> Result<&'a ModelHandle> {
    if model.is_null() {
        return Err(Code::Null.into());
    }
    if !model.is_aligned() {
        return Err(Code::BadHandle.into());
    }
    // SAFETY: there is memory, aligned for the tag.
    let tag = unsafe { &*model.cast::<AtomicUsize>() };
    if tag.load(Ordering::Acquire) != TAG {
        return Err(Code::BadHandle.into());
    }
    // SAFETY: the tag says that a model is there.
    let model = unsafe { &*model };
    // The caller has given all of its handles back, and only sessions keep it.
    if model.owners.load(Ordering::Acquire) < HANDLE {
        return Err(Code::BadHandle.into());
    }
    Ok(model)
}

/// Takes `owners` away; the last one takes the model with it.
///
/// # Safety
/// They are counted, and their holder does not use the model any more.
unsafe fn release(handle: *mut ModelHandle, owners: usize) {
    // SAFETY: alive, because counted.
    let left = unsafe { (*handle).owners.fetch_sub(owners, Ordering::AcqRel) } - owners;
    if left == 0 {
        // SAFETY: nobody else has it.
        unsafe {
            (*handle).tag.store(DEAD, Ordering::Release);
            let block = ManuallyDrop::take(&mut (*handle).block);
            core::ptr::drop_in_place(handle);
            block.give_back();
        }
    }
}

/// A model over a file whose bytes stay where they are.
fn load(
    gguf: Gguf<'static>,
    mapping: Option<Mapping>,
    options: &ModelOptions,
) -> Result<*mut ModelHandle> {
    let table_bytes = AnyModel::bytes_needed(&gguf)?;
    let block = Block::new(options.memory, options.memory_size, bytes_needed(table_bytes))?;
    // SAFETY: once, and used as long as the handle lives.
    let (handle, tables) = unsafe { block.split::<ModelHandle>() };
    let model = match AnyModel::new(&gguf, tables) {
        Ok(model) => model,
        Err(error) => {
            // SAFETY: the tables are not used any more.
            unsafe { block.give_back() };
            return Err(error.into());
        }
    };
    let value = ModelHandle {
        tag: AtomicUsize::new(TAG),
        owners: AtomicUsize::new(HANDLE),
        model,
        table_bytes,
        log: options.log,
        log_user: options.log_user,
        _mapping: mapping,
        block: ManuallyDrop::new(block),
    };
    // SAFETY: the place was made for it.
    let model = unsafe {
        handle.write(value);
        &*handle
    };
    if !model.model.tokenizer().is_pre_tokenizer_known() {
        model.log(
            "the rules by which this vocabulary cuts texts are unknown: those of GPT-2 are used",
        );
    }
    Ok(handle)
}

fn bytes_needed(table_bytes: usize) -> usize {
    Block::bytes_with_room(size_of::<ModelHandle>().saturating_add(table_bytes))
}

/// Makes a model with the options that the pointer leads to, and tells why not.
unsafe fn make(
    options: *const ModelOptions,
    model: *mut *mut ModelHandle,
    work: impl FnOnce(&ModelOptions) -> Result<*mut ModelHandle>,
) -> Result<()> {
    // SAFETY: the caller of the exported function promises what stands in mote.h.
    let (model, options) = unsafe {
        let model = Out::new(model)?;
        model.set(core::ptr::null_mut());
        (model, options::read(options)?)
    };
    let made = options::reserved(options.reserved).and_then(|()| work(&options));
    match made {
        Ok(handle) => {
            model.set(handle);
            Ok(())
        }
        Err(failure) => {
            // SAFETY: as above.
            unsafe { options::tell(&failure, options.error, options.error_size) };
            Err(failure)
        }
    }
}

/// See mote.h.
#[cfg(feature = "std")]
#[unsafe(no_mangle)]
pub extern "C" fn mote_guard_files() -> i32 {
    status(|| crate::host::guard_files().map_err(|error| Failure::new(Code::Io, error)))
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[cfg(feature = "std")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_model_open(
    path: *const core::ffi::c_char,
    options: *const ModelOptions,
    model: *mut *mut ModelHandle,
) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        make(options, model, |options| {
            let path = path_of(crate::argument::string(path, MAX_PATH_BYTES)?)?;
            if !options.memory.is_null() {
                return Err(Failure::invalid("memory is lent to mote_model_from_memory only"));
            }
            let mapping = match options::flag(options.copy, "copy")? {
                true => Mapping::read(path)?,
                false => Mapping::open(path)?,
            };
            // The bytes and the flag stay where they are when the mapping moves into the handle, and no
            // longer than that does the model live.
            let gguf = Gguf::parse(&mapping)?.with_damage(mapping.damage());
            let gguf = core::mem::transmute::<Gguf<'_>, Gguf<'static>>(gguf);
            load(gguf, Some(mapping), options)
        })
    })
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_model_from_memory(
    bytes: *const c_void,
    size: usize,
    options: *const ModelOptions,
    model: *mut *mut ModelHandle,
) -> i32 {
    // SAFETY: as mote.h demands: the bytes stay as long as the model.
    status(|| unsafe {
        make(options, model, |options| {
            if options::flag(options.copy, "copy")? {
                return Err(Failure::invalid("bytes in memory are never copied"));
            }
            load(Gguf::parse(slice(bytes.cast::<u8>(), size)?)?, None, options)
        })
    })
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_model_memory(
    bytes: *const c_void,
    size: usize,
    needed: *mut usize,
) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        let needed = Out::new(needed)?;
        let gguf = Gguf::parse(slice(bytes.cast::<u8>(), size)?)?;
        needed.set(bytes_needed(AnyModel::bytes_needed(&gguf)?));
        Ok(())
    })
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_model_retain(model: *mut ModelHandle) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        let model = alive(model)?;
        let more = |owners: usize| owners.checked_add(HANDLE);
        match model.owners.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::invalid("too many handles of one model")),
        }
    })
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_model_free(model: *mut ModelHandle) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        if !model.is_null() {
            alive(model)?;
            release(model, HANDLE);
        }
        Ok(())
    })
}

/// See mote.h.
///
/// # Safety
/// As mote.h demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mote_model_get_info(model: *const ModelHandle, info: *mut Info) -> i32 {
    // SAFETY: as mote.h demands.
    status(|| unsafe {
        let (handle, out) = (alive(model)?, OutStruct::new(info)?);
        let (gguf, tokenizer) = (handle.model.gguf(), handle.model.tokenizer());
        let (n_layers, n_embd, order) = match &handle.model {
            AnyModel::Transformer(model) => (model.config().n_layers, model.config().n_embd, 0),
            AnyModel::Ngram(model) => (0, 0, model.trie().order()),
        };
        let n_parameters = match &handle.model {
            AnyModel::Transformer(_) => gguf.tensors().map(|tensor| tensor.n_elements()).sum(),
            AnyModel::Ngram(model) => model.n_grams(),
        };
        let id = |id: Option<u32>| id.unwrap_or(u32::MAX);
        out.set(&Info {
            file_bytes: gguf.bytes().len() as u64,
            table_bytes: handle.table_bytes as u64,
            n_parameters,
            n_vocab: tokenizer.len() as u32,
            n_ctx_train: u32::try_from(handle.model.n_ctx_train()).unwrap_or(u32::MAX),
            n_layers: n_layers as u32,
            n_embd: n_embd as u32,
            bos: id(tokenizer.bos()),
            eos: id(tokenizer.eos()),
            eot: id(tokenizer.eot()),
            adds_bos: u32::from(tokenizer.adds_bos()),
            order: order as u32,
            ..Info::default()
        });
        Ok(())
    })
}

#[cfg(all(feature = "std", unix))]
fn path_of(bytes: &[u8]) -> Result<&std::path::Path> {
    use std::os::unix::ffi::OsStrExt as _;
    Ok(std::path::Path::new(std::ffi::OsStr::from_bytes(bytes)))
}

#[cfg(all(feature = "std", not(unix)))]
fn path_of(bytes: &[u8]) -> Result<&std::path::Path> {
    let path = core::str::from_utf8(bytes).map_err(|_| Failure::invalid("the path is not UTF-8"));
    path.map(std::path::Path::new)
}
