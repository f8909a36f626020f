//! Blocks of memory: lent by the caller, or allocated here, where running out is a failure and not an
//! abort.

use core::ffi::c_void;

use mote_runtime::memory::ALIGN;

use crate::failure::{Code, Failure, Result};
use crate::host::{self, Layout};

/// What lent memory must be aligned to.
const LENT_ALIGN: usize = 8;
/// What every allocator gives without rounding up, so that large blocks come as untouched pages.
const OWN_ALIGN: usize = 16;

/// Some bytes, from a multiple of 64 on.
#[derive(Debug)]
pub(crate) struct Block {
    start: *mut u8,
    bytes: usize,
    is_own: bool,
}

impl Block {
    /// Bytes to ask for, so that `bytes` of them begin at a multiple of 64.
    pub fn bytes_with_room(bytes: usize) -> usize {
        bytes.saturating_add(ALIGN)
    }

    /// `bytes` of them: of the lent memory, unless that is NULL.
    pub fn new(lent: *mut c_void, lent_bytes: usize, bytes: usize) -> Result<Block> {
        if bytes > isize::MAX as usize {
            return Err(Code::NoMemory.into());
        }
        if lent.is_null() {
            if lent_bytes != 0 {
                return Err(Failure::invalid("memory_size is not 0, but memory is NULL"));
            }
            return Block::allocate(bytes);
        }
        if !lent.addr().is_multiple_of(LENT_ALIGN) {
            return Err(Failure::invalid("the lent memory is not aligned to 8 bytes"));
        }
        if lent_bytes < bytes {
            return Err(Failure::new(
                Code::TooSmall,
                format_args!("{bytes} bytes of memory are needed, {lent_bytes} were lent"),
            ));
        }
        Ok(Block { start: lent.cast(), bytes, is_own: false })
    }

    fn allocate(bytes: usize) -> Result<Block> {
        let layout = layout(bytes)?;
        // SAFETY: the size is not 0.
        let start = unsafe { host::allocate(layout) };
        if start.is_null() {
            return Err(Failure::new(
                Code::NoMemory,
                format_args!("the system has no {bytes} bytes of memory left"),
            ));
        }
        Ok(Block { start, bytes, is_own: true })
    }

    /// A place for a `T` at the first multiple of 64, and the bytes behind it.
    ///
    /// # Safety
    /// Called once, and what it returns is not used after the block was given back.
    pub unsafe fn split<T>(&self) -> (*mut T, &'static mut [u8]) {
        const { assert!(align_of::<T>() <= ALIGN) };
        let skip = self.start.align_offset(ALIGN);
        let from = skip + size_of::<T>();
        assert!(from <= self.bytes);
        // SAFETY: inside the block. Memory that the caller lent may never have been written, which
        // does not matter to bytes that come from another language.
        unsafe {
            let rest = core::slice::from_raw_parts_mut(self.start.add(from), self.bytes - from);
            (self.start.add(skip).cast(), rest)
        }
    }

    /// Gives allocated memory back.
    ///
    /// # Safety
    /// Nothing of it is used any more.
    pub unsafe fn give_back(self) {
        if self.is_own
            && let Ok(layout) = layout(self.bytes)
        {
            // SAFETY: allocated with the same layout.
            unsafe { host::give_back(self.start, layout) };
        }
    }
}

fn layout(bytes: usize) -> Result<Layout> {
    Layout::from_size_align(bytes.max(1), OWN_ALIGN).map_err(|_| Code::NoMemory.into())
}

/// Zeros for a while, given back when they are dropped.
pub(crate) struct Scratch<T> {
    block: Option<Block>,
    len: usize,
    kind: core::marker::PhantomData<T>,
}

impl<T: Copy + Default> Scratch<T> {
    pub fn new(len: usize) -> Result<Scratch<T>> {
        const { assert!(align_of::<T>() <= OWN_ALIGN) };
        let bytes = len.checked_mul(size_of::<T>()).ok_or(Code::NoMemory)?;
        let block = Some(Block::allocate(bytes)?);
        Ok(Scratch { block, len, kind: core::marker::PhantomData })
    }

    pub fn as_mut(&mut self) -> &mut [T] {
        match &self.block {
            // SAFETY: `len` values of zero bytes, which numbers may be, borrowed with `self`.
            Some(block) => unsafe { core::slice::from_raw_parts_mut(block.start.cast(), self.len) },
            None => &mut [],
        }
    }
}

impl<T> Drop for Scratch<T> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            // SAFETY: the borrows of `as_mut` are over.
            unsafe { block.give_back() };
        }
    }
}
