//! What libmote.so does on a panic. The linker puts these functions in the place of the standard
//! library's (install.sh), which would print to standard error, and read the program's debug
//! information for it.

use core::arch::global_asm;

/// A panic: on to the function of the library that was called, where it becomes a status.
fn begin_unwind() -> ! {
    std::panic::resume_unwind(Box::new(()))
}

/// A thread's own structures found no memory. What the standard library does, without a word.
fn alloc_error() -> ! {
    std::process::abort()
}

macro_rules! jump {
    ($instruction:literal) => {
        // Symbols that are not exported, so not made by Rust. The arguments are left unused.
        global_asm!(
            ".pushsection .text.mote_quiet,\"ax\"",
            ".globl mote_quiet_rust_begin_unwind",
            ".hidden mote_quiet_rust_begin_unwind",
            "mote_quiet_rust_begin_unwind:",
            concat!($instruction, " {begin_unwind}"),
            ".globl mote_quiet___rust_alloc_error_handler",
            ".hidden mote_quiet___rust_alloc_error_handler",
            "mote_quiet___rust_alloc_error_handler:",
            concat!($instruction, " {alloc_error}"),
            ".popsection",
            begin_unwind = sym begin_unwind,
            alloc_error = sym alloc_error,
        );
    };
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
jump!("jmp");
#[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
jump!("b");
