//! qemu's virt board: from reset to [`crate::main`], the serial port, and the end.
//!
//! The CPU starts at exception level 1 with the memory management unit off. All memory is then device
//! memory, where a load must be aligned and atomic operations are undefined; but blocks of weights
//! have odd sizes. So the first thing is a map: RAM is normal memory, the lowest gigabyte devices.
#![allow(unsafe_code)]

use core::arch::{asm, global_asm};
use core::fmt;
use core::ptr::addr_of;
use core::slice;

global_asm!(
    r#"
    .section .text.start, "ax"
    .global _start
_start:
    mov     x0, #(3 << 20)              // CPACR_EL1.FPEN: floating point and vectors
    msr     cpacr_el1, x0
    msr     fpcr, xzr                   // round to nearest, no flushing of subnormals
    adrp    x0, vectors
    add     x0, x0, :lo12:vectors
    msr     vbar_el1, x0
    isb

    adrp    x0, __stack_top
    add     x0, x0, :lo12:__stack_top
    mov     sp, x0
    adrp    x0, __bss_start
    add     x0, x0, :lo12:__bss_start
    adrp    x1, __bss_end
    add     x1, x1, :lo12:__bss_end
0:  cmp     x0, x1
    b.hs    1f
    stp     xzr, xzr, [x0], #16
    b       0b

1:  mov     x0, #0xff00                 // attributes: 0 device, 1 normal with write-back caches
    msr     mair_el1, x0
    ldr     x0, =0x803519               // TCR: 39 bits, granules of 4 KiB, cached walks, no TTBR1
    msr     tcr_el1, x0
    adrp    x0, map
    add     x0, x0, :lo12:map
    msr     ttbr0_el1, x0
    tlbi    vmalle1
    dsb     nsh
    isb
    mrs     x0, sctlr_el1
    mov     x1, #0x1005                 // map, data cache, instruction cache
    orr     x0, x0, x1
    msr     sctlr_el1, x0
    isb
    b       {start}

    .balign 2048
vectors:
    .rept   16
    .balign 128
    b       2f
    .endr
2:  mrs     x0, esr_el1
    mrs     x1, elr_el1
    mrs     x2, far_el1
    adrp    x3, __stack_top             // the old stack may be what is broken
    add     x3, x3, :lo12:__stack_top
    mov     sp, x3
    b       {fault}

    .section .data.map, "aw"
    .balign 4096
map:                                    // blocks of 1 GiB
    .quad   0x00000000 | 0x60000000000401           // devices, not to be executed
    .quad   0x40000000 | 0x705                      // RAM, shared between cores
    .fill   510, 8, 0
"#,
    start = sym start,
    fault = sym fault,
);

unsafe extern "C" {
    static __lent_start: u8;
    static __lent_end: u8;
    static __model_start: u8;
    static __model_end: u8;
}

extern "C" fn start() -> ! {
    let bytes = |start: *const u8, end: *const u8| end as usize - start as usize;
    let (model, lent) = (addr_of!(__model_start), addr_of!(__lent_start).cast_mut());
    // SAFETY: the linker's script reserves this memory for what the loader placed there; nothing
    // writes to it.
    let file = unsafe { slice::from_raw_parts(model, bytes(model, addr_of!(__model_end))) };
    // SAFETY: memory behind the stack and before the model that nothing else uses. This runs once.
    let memory = unsafe { slice::from_raw_parts_mut(lent, bytes(lent, addr_of!(__lent_end))) };
    stop(crate::main(file, memory))
}

/// Why the CPU stopped: the registers ESR, ELR and FAR.
pub struct Fault {
    /// What happened.
    pub syndrome: u64,
    /// At which instruction.
    pub instruction: u64,
    /// With which address.
    pub address: u64,
}

extern "C" fn fault(syndrome: u64, instruction: u64, address: u64) -> ! {
    stop(crate::fault(&Fault { syndrome, instruction, address }))
}

/// The PL011, as the machine leaves it: on.
pub struct Uart;

const DATA: *mut u32 = 0x0900_0000 as *mut u32;
/// Data, six words further on: flags.
const FLAGS: *const u32 = 0x0900_0018 as *const u32;
const TRANSMITTER_FULL: u32 = 1 << 5;

impl fmt::Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the registers of this board's serial port.
            unsafe {
                while FLAGS.read_volatile() & TRANSMITTER_FULL != 0 {}
                DATA.write_volatile(byte.into());
            }
        }
        Ok(())
    }
}

/// How the program ends.
#[derive(Clone, Copy)]
pub enum Status {
    /// Exit code 0.
    Success = 0,
    /// Exit code 1.
    Failure = 1,
}

/// Ends the emulation (semihosting's SYS_EXIT); a board without a debugger waits here.
pub fn stop(status: Status) -> ! {
    /// ADP_Stopped_ApplicationExit.
    const REASON: u64 = 0x20026;
    let block = [REASON, status as u64];
    // SAFETY: semihosting's calling convention; the block outlives the call.
    unsafe { asm!("hlt #0xf000", inout("x0") 0x18_u64 => _, in("x1") &block) };
    loop {
        // SAFETY: waits.
        unsafe { asm!("wfi") };
    }
}
