//! A Transformer on a Cortex-M7: its file lies in flash, everything else in a lent array. See
//! ../README.md.
#![no_std]
#![no_main]

mod memory;
mod two_cores;
mod uart;

#[path = "../../common/completion.rs"]
mod completion;

use core::fmt::Write;
use core::panic::PanicInfo;

use cortex_m::peripheral::SCB;
use cortex_m_rt::{ExceptionFrame, entry, exception};
use cortex_m_semihosting::{debug, hio};

use completion::{Failure, Task};
use two_cores::TwoCores;

const PROMPT: &str = "In the flash of a microcontroller";
const TOKENS: usize = 24;

/// What the session may use. A board lends what it has.
const ARENA_BYTES: usize = 512 << 10;

/// Tensors of floats are read where they lie: the file begins at a multiple of 4.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static MODEL: &Aligned<[u8]> =
    &Aligned(*include_bytes!("../../../../tests/fixtures/models/llama-q4_0.gguf"));

static CORES: TwoCores = TwoCores::new(wake_second_core);

/// This machine has one core. PendSV, an exception that interrupts it, stands for the second one. A
/// chip with two would ring here (`cortex_m::asm::sev`, or its mailbox).
fn wake_second_core() {
    SCB::set_pendsv();
    cortex_m::asm::dsb();
    cortex_m::asm::isb();
}

/// The second core at work. On a chip with two it would run, from its start,
/// `loop { cortex_m::asm::wfe(); CORES.help(); }`.
#[exception]
fn PendSV() {
    CORES.help_with_half();
}

#[entry]
fn main() -> ! {
    uart::init();
    let Ok(mut out) = hio::hstdout() else { stop(debug::EXIT_FAILURE) };
    let arena = cortex_m::singleton!(ARENA: [u8; ARENA_BYTES] = [0; ARENA_BYTES]);
    let Some(arena) = arena else { stop(debug::EXIT_FAILURE) };
    match run(arena, &mut out) {
        Ok(()) => stop(debug::EXIT_SUCCESS),
        Err(failure) => {
            let _ = writeln!(out, "failed: {failure}");
            stop(debug::EXIT_FAILURE)
        }
    }
}

fn run(arena: &mut [u8], out: &mut dyn Write) -> Result<(), Failure> {
    arena.fill(memory::PAINT);
    let file = &MODEL.0;
    let task = Task { file, prompt: PROMPT, tokens: TOKENS, batch: 16, executor: &CORES };
    let lent = completion::run(&task, arena, out)?;

    let (image, data) = (memory::flash_bytes(), memory::data_bytes());
    writeln!(out, "flash     {image} bytes: {} code, {} model", image - file.len(), file.len())?;
    let total = lent.total();
    let (tables, session, text) = (lent.tables, lent.plan.total_bytes, lent.text);
    writeln!(out, "lent      {total} bytes: {tables} tables, {session} session, {text} text")?;
    let plan = lent.plan;
    writeln!(
        out,
        "session   {session} bytes planned: {} cache, {} activations, {} logits, {} scratch",
        plan.cache_bytes, plan.activation_bytes, plan.logit_bytes, plan.scratch_bytes
    )?;
    let (_, behind) = arena.split_at(total);
    let touched = behind.iter().filter(|&&byte| byte != memory::PAINT).count();
    writeln!(out, "not lent  {touched} bytes touched of {}", behind.len())?;
    writeln!(out, "static    {} bytes beside the lent memory", data - ARENA_BYTES)?;
    writeln!(out, "stack     {} bytes at most", memory::stack_bytes())?;
    let (first, second) = CORES.items();
    writeln!(out, "cores     {first} items on the first, {second} on the second")?;
    Ok(())
}

/// Ends the emulation; a board without a debugger waits here.
fn stop(status: debug::ExitStatus) -> ! {
    debug::exit(status);
    loop {
        cortex_m::asm::wfi();
    }
}

/// The message is not shown, so that no message is linked: all of them are of paths that cannot
/// happen.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    complain("failed: panic\n")
}

#[exception]
unsafe fn HardFault(_: &ExceptionFrame) -> ! {
    complain("failed: hard fault\n")
}

fn complain(sentence: &str) -> ! {
    if let Ok(mut out) = hio::hstdout() {
        let _ = out.write_str(sentence);
    }
    stop(debug::EXIT_FAILURE)
}
