//! Pointers of the caller, made into references. Whether one points to what it should cannot be
//! checked; NULL, a wrong alignment and an impossible length can.

use core::ffi::{CStr, c_char};

use crate::failure::{Code, Failure, Result};

fn check<T>(pointer: *const T, len: usize) -> Result<()> {
    if pointer.is_null() {
        return Err(Code::Null.into());
    }
    if !pointer.is_aligned() {
        return Err(Failure::invalid("a pointer is not aligned"));
    }
    match len.checked_mul(size_of::<T>()) {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(()),
        _ => Err(Failure::invalid("a length is larger than any memory")),
    }
}

/// `len` values to be read.
///
/// # Safety
/// If the pointer is not NULL, that many values are there for `'a`, and nobody writes them.
pub(crate) unsafe fn slice<'a, T>(pointer: *const T, len: usize) -> Result<&'a [T]> {
    check(pointer, len)?;
    // SAFETY: checked, and promised by the caller.
    Ok(unsafe { core::slice::from_raw_parts(pointer, len) })
}

/// Room for `len` values, all of whose bit patterns are allowed (numbers).
///
/// # Safety
/// If the pointer is not NULL, that much room is there for `'a`, and nobody else uses it.
pub(crate) unsafe fn room<'a, T>(pointer: *mut T, len: usize) -> Result<&'a mut [T]> {
    check(pointer, len)?;
    // SAFETY: checked, and promised by the caller.
    Ok(unsafe { core::slice::from_raw_parts_mut(pointer, len) })
}

/// A place for one result.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// If the pointer is not NULL, there is room for a value until the function returns.
    pub unsafe fn new(pointer: *mut T) -> Result<Out<T>> {
        check(pointer, 1)?;
        Ok(Out(pointer))
    }

    pub fn set(&self, value: T) {
        // SAFETY: checked, and promised when this was made. What was there before may never have
        // been written, so it is not dropped.
        unsafe { self.0.write(value) };
    }
}

/// Writes `values` as far as there is room, their number to `count`; not enough room is a failure.
#[cfg(feature = "std")]
pub(crate) fn give<T: Copy>(values: &[T], room: &mut [T], count: &Out<usize>) -> Result<()> {
    count.set(values.len());
    let (needed, given) = (values.len(), room.len());
    let room = room.get_mut(..needed).ok_or_else(|| too_small(needed, given))?;
    room.copy_from_slice(values);
    Ok(())
}

/// Room for fewer values than there are.
pub(crate) fn too_small(needed: usize, given: usize) -> Failure {
    let detail = format_args!("room for {needed} values is needed, {given} were lent");
    Failure::new(Code::TooSmall, detail)
}

/// A string, without its NUL, of at most `most` bytes.
///
/// # Safety
/// If the pointer is not NULL, a NUL-terminated string is there for `'a`.
pub(crate) unsafe fn string<'a>(pointer: *const c_char, most: usize) -> Result<&'a [u8]> {
    check(pointer, 1)?;
    // SAFETY: promised by the caller.
    let bytes = unsafe { CStr::from_ptr(pointer) }.to_bytes();
    if bytes.len() > most {
        return Err(Failure::new(
            Code::Invalid,
            format_args!("a string of {} bytes is longer than {most}", bytes.len()),
        ));
    }
    Ok(bytes)
}
