//! Signals that come to this thread as if the system had sent them.
#![allow(unsafe_code)]

use std::io;

/// A `siginfo_t` of a fault: the same fields at the same places, and as many bytes.
#[repr(C)]
struct Fault {
    signal: i32,
    errno: i32,
    code: i32,
    address: usize,
    _rest: [u8; 128 - 2 * size_of::<usize>() - 8],
}

const _: () = assert!(size_of::<Fault>() >= size_of::<libc::siginfo_t>());

/// Raises SIGBUS in this thread as a failure of the medium or the memory behind `address` would: a process may
/// send itself a signal with every code.
pub fn bus_error(code: i32, address: usize) -> io::Result<()> {
    let rest = [0; 128 - 2 * size_of::<usize>() - 8];
    let fault = Fault { signal: libc::SIGBUS, errno: 0, code, address, _rest: rest };
    // SAFETY: plain calls; the last argument is read as a siginfo_t, of which it has all bytes.
    let status = unsafe {
        let (process, thread) = (libc::getpid(), libc::syscall(libc::SYS_gettid));
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, libc::SIGBUS, &fault)
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
