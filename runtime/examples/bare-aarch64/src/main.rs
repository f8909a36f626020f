//! A language model on a 64-bit ARM board without operating system: the loader has put the file into
//! RAM, and this continues a text. See ../README.md.
#![no_std]
#![no_main]

mod board;

#[path = "../../common/completion.rs"]
mod completion;

use core::fmt::Write;
use core::panic::PanicInfo;

use mote_runtime::executor::Serial;

use board::{Fault, Status, Uart};
use completion::Task;

const PROMPT: &str = "The capital of France is";
const TOKENS: usize = 8;

/// What board.rs starts when there is a stack and a map of memory.
fn main(file: &[u8], memory: &mut [u8]) -> Status {
    let mut out = Uart;
    let task = Task { file, prompt: PROMPT, tokens: TOKENS, batch: 16, executor: &Serial };
    let report = completion::run(&task, memory, &mut out).and_then(|lent| {
        let (tables, plan) = (lent.tables, lent.plan.total_bytes);
        let (total, text) = (lent.total(), lent.text);
        writeln!(out, "lent      {total} bytes: {tables} tables, {plan} session, {text} text")?;
        Ok(())
    });
    match report {
        Ok(()) => Status::Success,
        Err(failure) => {
            let _ = writeln!(out, "failed: {failure}");
            Status::Failure
        }
    }
}

/// What board.rs calls where the CPU stops at an instruction.
fn fault(fault: &Fault) -> Status {
    let Fault { syndrome, instruction, address } = fault;
    let _ =
        writeln!(Uart, "failed: exception {syndrome:#x} at {instruction:#x}, address {address:#x}");
    Status::Failure
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Uart, "failed: {info}");
    board::stop(Status::Failure)
}
