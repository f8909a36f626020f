//! A mapped file that fails is an error of those who use it, not the end of the process.
//!
//! Where a file was cut short while it is mapped, or its medium cannot be read, touching what is missing
//! raises SIGBUS. After [`install`] such a fault in a [`Mapping`](crate::Mapping) puts zeros in the place of
//! the rest of the file and raises the mapping's flag ([`Mapping::damage`](crate::Mapping::damage)), which
//! [`Gguf`](crate::Gguf) hands on. Faults elsewhere go to whoever handled them before.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::io;
use std::sync::OnceLock;

use libc::{c_int, siginfo_t};

/// Mappings that are guarded at a time; further ones are not.
const MAX_REGIONS: usize = 64;

/// The addresses of a mapping, and whether they still are its file's. A signal handler reads it, so there
/// are atomics and no locks.
struct Region {
    /// 0: the region is free.
    start: AtomicUsize,
    /// 0: nothing is guarded.
    end: AtomicUsize,
    damaged: AtomicBool,
}

static REGIONS: [Region; MAX_REGIONS] = [const {
    Region { start: AtomicUsize::new(0), end: AtomicUsize::new(0), damaged: AtomicBool::new(false) }
}; MAX_REGIONS];

/// Who handled SIGBUS before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Bytes of a page.
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// From now on faults in mappings, also in those that exist, are handled as above. It changes what the
/// process does on SIGBUS, so that is for the program to say and not for a library. Calls after the first
/// do nothing.
pub fn install() -> io::Result<()> {
    // SAFETY: Plain calls. The handler has the signature that SA_SIGINFO demands, and only reads
    // atomics, maps memory and hands on, which a signal handler may do.
    unsafe {
        let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE));
        PAGE.store(page.unwrap_or(0), Ordering::Relaxed);
        let mut before = core::mem::zeroed::<libc::sigaction>();
        if libc::sigaction(libc::SIGBUS, core::ptr::null(), &mut before) != 0 {
            return Err(io::Error::last_os_error());
        }
        if BEFORE.set(before).is_err() {
            return Ok(());
        }
        let mut action = core::mem::zeroed::<libc::sigaction>();
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_bus_error;
        action.sa_sigaction = handler as usize;
        // On the thread's own stack for signals, where it has one.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&mut action.sa_mask);
        if libc::sigaction(libc::SIGBUS, &action, core::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn on_bus_error(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the system passes a valid `info`; of a fault (not of a signal that some process sent) it
    // has the address.
    let fault = unsafe { ((*info).si_code > 0).then(|| (*info).si_addr() as usize) };
    let absorbed = fault.is_some_and(|at| REGIONS.iter().any(|region| region.absorb(at)));
    if !absorbed {
        hand_on(signal, info, context);
    }
}

/// Does what would have been done without this handler.
fn hand_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(before) = BEFORE.get() else { return };
    // SAFETY: the system gave the address as that of a handler of this kind; where there was none, the
    // signal comes again when this function returns, and has its usual effect.
    unsafe {
        match before.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::sigaction(signal, before, core::ptr::null_mut());
            }
            handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                let handler = core::mem::transmute::<
                    usize,
                    extern "C" fn(c_int, *mut siginfo_t, *mut c_void),
                >(handler);
                handler(signal, info, context);
            }
            handler => {
                core::mem::transmute::<usize, extern "C" fn(c_int)>(handler)(signal);
            }
        }
    }
}

impl Region {
    /// If the address is inside: zeros from its page to the end, and the flag. Whether that was done.
    fn absorb(&self, address: usize) -> bool {
        let end = self.end.load(Ordering::Acquire);
        let page = address & PAGE.load(Ordering::Relaxed).wrapping_neg();
        if !(self.start.load(Ordering::Relaxed)..end).contains(&address) {
            return false;
        }
        self.damaged.store(true, Ordering::Release);
        // SAFETY: these pages belong to a mapping that lives, as it is registered. They are read as
        // bytes of a file that other programs may change, so other contents break no promise.
        let zeros = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            libc::mmap(page as *mut c_void, end - page, libc::PROT_READ, flags, -1, 0)
        };
        zeros != libc::MAP_FAILED
    }
}

/// A mapping's place among those that are guarded.
#[derive(Debug)]
pub(crate) struct Guarded(&'static Region);

impl Guarded {
    /// Registers mapped bytes; `None` if there is no place. They must be unmapped later than this is
    /// dropped.
    pub(crate) fn new(bytes: &[u8]) -> Option<Guarded> {
        let start = bytes.as_ptr() as usize;
        // 1 is no address of anything, and without an end nothing is guarded.
        let claim = |region: &&Region| {
            region.start.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let region = REGIONS.iter().find(claim)?;
        region.damaged.store(false, Ordering::Relaxed);
        region.start.store(start, Ordering::Relaxed);
        region.end.store(start + bytes.len(), Ordering::Release);
        Some(Guarded(region))
    }

    /// Whether the bytes are no longer the file's.
    pub(crate) fn damage(&self) -> &AtomicBool {
        &self.0.damaged
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.end.store(0, Ordering::Release);
        self.0.start.store(0, Ordering::Release);
    }
}

impl core::fmt::Debug for Region {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Region({:#x})", self.start.load(Ordering::Relaxed))
    }
}
