//! How much memory the program uses, by the symbols of the linker's script.
#![allow(unsafe_code)]

use core::ptr::addr_of;

use cortex_m_rt::STACK_PAINT_VALUE;

/// What memory holds before it is used.
pub const PAINT: u8 = STACK_PAINT_VALUE as u8;

unsafe extern "C" {
    static __vector_table: u8;
    static __sidata: u8;
    static __sdata: u8;
    static __edata: u8;
    static __sbss: u8;
    static __ebss: u8;
    static mut _stack_start: u32;
    static mut _stack_end: u32;
}

/// Bytes in flash: code, constants, and the first values of variables.
pub fn flash_bytes() -> usize {
    let end =
        addr_of!(__sidata) as usize + (addr_of!(__edata) as usize - addr_of!(__sdata) as usize);
    end - addr_of!(__vector_table) as usize
}

/// Bytes of variables that live as long as the program.
pub fn data_bytes() -> usize {
    let data = addr_of!(__edata) as usize - addr_of!(__sdata) as usize;
    data + (addr_of!(__ebss) as usize - addr_of!(__sbss) as usize)
}

/// The most that the stack has been: below that, the paint of before the start is still there.
pub fn stack_bytes() -> usize {
    let (mut word, top) = (&raw const _stack_end, &raw const _stack_start);
    // SAFETY: between the two symbols lies RAM that only the stack uses; words are read as they are.
    while word < top && unsafe { word.read_volatile() } == STACK_PAINT_VALUE {
        word = word.wrapping_add(1);
    }
    top as usize - word as usize
}
