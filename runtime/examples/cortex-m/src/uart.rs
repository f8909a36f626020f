//! defmt's way out: frames over the board's first serial port. The text itself goes by semihosting.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;

use critical_section::RestoreState;
use defmt::{Encoder, Logger};

/// Registers of the CMSDK UART: data, state, control, interrupt, divider.
const UART0: *mut u32 = 0x4000_4000 as *mut u32;
const STATE: usize = 1;
const CONTROL: usize = 2;
const DIVIDER: usize = 4;
const TRANSMITTER_FULL: u32 = 1;
const TRANSMITTER_ON: u32 = 1;

/// Switches the transmitter on.
pub fn init() {
    // SAFETY: the registers of this board's first serial port, which nothing else uses.
    unsafe {
        UART0.add(DIVIDER).write_volatile(16);
        UART0.add(CONTROL).write_volatile(TRANSMITTER_ON);
    }
}

fn send(bytes: &[u8]) {
    for &byte in bytes {
        // SAFETY: as above.
        unsafe {
            while UART0.add(STATE).read_volatile() & TRANSMITTER_FULL != 0 {}
            UART0.write_volatile(byte.into());
        }
    }
}

#[defmt::global_logger]
struct Uart;

struct State {
    encoder: UnsafeCell<Encoder>,
    restore: UnsafeCell<RestoreState>,
}

// SAFETY: used between `acquire` and `release` only, where interrupts are off.
unsafe impl Sync for State {}

static STATE_OF_FRAME: State = State {
    encoder: UnsafeCell::new(Encoder::new()),
    restore: UnsafeCell::new(RestoreState::invalid()),
};

// SAFETY: a critical section begins with each frame and ends with it. No frame begins inside another
// one: notes are written by the code that sends frames, and by no exception's.
unsafe impl Logger for Uart {
    fn acquire() {
        // SAFETY: `release` restores what this returns.
        let restore = unsafe { critical_section::acquire() };
        // SAFETY: the critical section has begun.
        unsafe {
            *STATE_OF_FRAME.restore.get() = restore;
            (*STATE_OF_FRAME.encoder.get()).start_frame(send);
        }
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: in the critical section that `acquire` began, which ends here.
        unsafe {
            (*STATE_OF_FRAME.encoder.get()).end_frame(send);
            critical_section::release(*STATE_OF_FRAME.restore.get());
        }
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: in the critical section that `acquire` began.
        unsafe { (*STATE_OF_FRAME.encoder.get()).write(bytes, send) }
    }
}
