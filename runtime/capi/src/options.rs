//! Structs that cross the border. Each begins with its size as the caller knows it, so that fields
//! can be added at the end: fields that the caller does not know have their defaults, and fields
//! that this library does not know must be zero.

use core::ffi::{c_char, c_int, c_void};
use core::mem::offset_of;
use core::ptr::null_mut;

use crate::failure::{Code, Failure, Result};

/// `log(user, message)`.
pub type Log = unsafe extern "C" fn(*mut c_void, *const c_char);
/// `progress(user, done, total)`; anything but 0 stops.
pub type Progress = unsafe extern "C" fn(*mut c_void, usize, usize) -> c_int;

/// A struct of which the caller may know another version.
///
/// # Safety
/// `repr(C)`, the first field `size: usize`, and every pattern of bits allowed in every field.
pub(crate) unsafe trait Versioned: Copy {
    /// Where each field ends: the sizes that a version can have had.
    const ENDS: &'static [usize];
    /// What fields are that the caller does not know.
    const DEFAULT: Self;
}

/// Most bytes that a newer version is believed to have.
const MOST_BYTES: usize = 4096;

/// The size that a caller's struct says it has.
///
/// # Safety
/// If the pointer is not NULL, a `usize` is there.
unsafe fn size_of_callers<T: Versioned>(pointer: *const T) -> Result<usize> {
    if pointer.is_null() {
        return Err(Code::Null.into());
    }
    if !pointer.is_aligned() {
        return Err(Failure::invalid("a struct is not aligned"));
    }
    // SAFETY: not NULL, aligned, and promised by the caller.
    let size = unsafe { pointer.cast::<usize>().read() };
    if T::ENDS.contains(&size) || (size > size_of::<T>() && size <= MOST_BYTES) {
        return Ok(size);
    }
    Err(Failure::invalid("the size of a struct is not one that it ever had"))
}

/// The caller's struct, as this version knows it.
///
/// # Safety
/// If the pointer is not NULL, as many bytes are there as the first field says.
pub(crate) unsafe fn read<T: Versioned>(pointer: *const T) -> Result<T> {
    // SAFETY: promised by the caller.
    let size = unsafe { size_of_callers(pointer)? };
    let mut value = T::DEFAULT;
    let known = size.min(size_of::<T>());
    // SAFETY: that many bytes are there on both sides, and a Versioned may have any bits.
    unsafe {
        let into = (&raw mut value).cast::<u8>();
        core::ptr::copy_nonoverlapping(pointer.cast::<u8>(), into, known);
    }
    for at in known..size {
        // SAFETY: inside the bytes that the caller promises.
        if unsafe { pointer.cast::<u8>().add(at).read() } != 0 {
            return Err(Failure::invalid("an option is newer than this library"));
        }
    }
    Ok(value)
}

/// A struct that the caller wants to have filled, as far as it knows the fields.
pub(crate) struct OutStruct<T> {
    pointer: *mut T,
    size: usize,
}

impl<T: Versioned> OutStruct<T> {
    /// # Safety
    /// If the pointer is not NULL, as many bytes are there as the first field says, until the
    /// function returns.
    pub unsafe fn new(pointer: *mut T) -> Result<Self> {
        // SAFETY: promised by the caller.
        let size = unsafe { size_of_callers(pointer.cast_const())? }.min(size_of::<T>());
        Ok(OutStruct { pointer, size })
    }

    /// Fills all fields but the size.
    pub fn set(&self, value: &T) {
        const FIRST: usize = size_of::<usize>();
        // SAFETY: `size` bytes are there on both sides; the caller's promise.
        unsafe {
            let from = core::ptr::from_ref(value).cast::<u8>().add(FIRST);
            let into = self.pointer.cast::<u8>().add(FIRST);
            core::ptr::copy_nonoverlapping(from, into, self.size - FIRST);
        }
    }
}

macro_rules! versioned {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        #[allow(missing_docs)]
        pub struct $name {
            /// Of the struct, as the caller knows it.
            pub size: usize,
            $(pub $field: $type,)*
        }

        // SAFETY: repr(C), the size first, and fields of numbers and pointers.
        unsafe impl Versioned for $name {
            const ENDS: &'static [usize] = &[
                size_of::<usize>(),
                $(offset_of!($name, $field) + size_of::<$type>(),)*
                size_of::<$name>(),
            ];
            const DEFAULT: $name = $name { size: size_of::<$name>(), $($field: $default,)* };
        }

        impl Default for $name {
            fn default() -> Self {
                <$name as Versioned>::DEFAULT
            }
        }
    };
}

versioned! {
    /// `mote_model_options`.
    ModelOptions {
        memory: *mut c_void = null_mut(),
        memory_size: usize = 0,
        error: *mut c_char = null_mut(),
        error_size: usize = 0,
        log: Option<Log> = None,
        log_user: *mut c_void = null_mut(),
        copy: u32 = 0,
        reserved: u32 = 0,
    }
}

versioned! {
    /// `mote_model_info`.
    Info {
        file_bytes: u64 = 0,
        table_bytes: u64 = 0,
        n_parameters: u64 = 0,
        n_vocab: u32 = 0,
        n_ctx_train: u32 = 0,
        n_layers: u32 = 0,
        n_embd: u32 = 0,
        bos: u32 = 0,
        eos: u32 = 0,
        eot: u32 = 0,
        adds_bos: u32 = 0,
        order: u32 = 0,
        reserved: u32 = 0,
    }
}

versioned! {
    /// `mote_session_options`.
    SessionOptions {
        n_ctx: u32 = 0,
        n_ctx_least: u32 = 0,
        batch: u32 = 0,
        threads: u32 = 0,
        cache: u32 = 0,
        activations: u32 = 0,
        max_top_k: u32 = 0,
        max_biases: u32 = 0,
        max_stop_bytes: u32 = 0,
        drafts: u32 = 0,
        memory_budget: u64 = 0,
        memory: *mut c_void = null_mut(),
        memory_size: usize = 0,
        progress: Option<Progress> = None,
        progress_user: *mut c_void = null_mut(),
        error: *mut c_char = null_mut(),
        error_size: usize = 0,
        degraded: u32 = 0,
        reserved_2: u32 = 0,
    }
}

versioned! {
    /// `mote_session_plan_info`.
    PlanInfo {
        total_bytes: u64 = 0,
        cache_bytes: u64 = 0,
        activation_bytes: u64 = 0,
        logit_bytes: u64 = 0,
        scratch_bytes: u64 = 0,
        writing_bytes: u64 = 0,
        n_ctx: u32 = 0,
        batch: u32 = 0,
        threads: u32 = 0,
        cache: u32 = 0,
    }
}

versioned! {
    /// `mote_writing_options`.
    WritingOptions {
        seed: u64 = 0,
        temperature: f32 = 0.8,
        top_p: f32 = 0.95,
        min_p: f32 = 0.05,
        repetition_penalty: f32 = 1.0,
        frequency_penalty: f32 = 0.0,
        presence_penalty: f32 = 0.0,
        top_k: u32 = 40,
        penalty_window: u32 = 64,
        max_tokens: u32 = 0,
        ignore_eos: u32 = 0,
        show_special: u32 = 0,
        reserved: u32 = 0,
        stops: *const *const c_char = core::ptr::null(),
        n_stops: usize = 0,
        biases: *const LogitBias = core::ptr::null(),
        n_biases: usize = 0,
    }
}

versioned! {
    /// `mote_piece`.
    Piece {
        text: *const c_char = core::ptr::null(),
        text_size: usize = 0,
        id: u32 = 0,
        stop: u32 = 0,
        degraded: u32 = 0,
        reserved: u32 = 0,
    }
}

/// `mote_logit_bias`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogitBias {
    /// The token.
    pub id: u32,
    /// Added to its logit.
    pub value: f32,
}

/// An option that is 0 or 1.
pub(crate) fn flag(value: u32, name: &'static str) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Failure::new(Code::Invalid, format_args!("{name} is neither 0 nor 1"))),
    }
}

/// A field that has no meaning yet.
pub(crate) fn reserved(value: u32) -> Result<()> {
    match value {
        0 => Ok(()),
        _ => Err(Failure::invalid("a reserved field is not 0")),
    }
}

/// Writes a failure's sentence where the caller asked for it.
///
/// # Safety
/// If the pointer is not NULL, there is room for `size` bytes.
pub(crate) unsafe fn tell(failure: &Failure, error: *mut c_char, size: usize) {
    if error.is_null() || size == 0 {
        return;
    }
    let sentence = failure.sentence.with_nul();
    let len = sentence.len().min(size) - 1;
    // SAFETY: at most `size` bytes, which the caller promises.
    unsafe {
        core::ptr::copy_nonoverlapping(sentence.as_ptr(), error.cast::<u8>(), len);
        error.add(len).write(0);
    }
}
