//! A mapped file that fails is an error of those who use it, not the end of the process.
//!
//! Where a file was cut short by a page or more while it is mapped, or its medium cannot be read, touching what
//! is missing raises SIGBUS. After [`install`] such a fault in a [`Mapping`](crate::Mapping) puts zeros in the
//! place of the rest of the file and raises the mapping's flag
//! ([`Mapping::damage`](crate::Mapping::damage)), which [`Gguf`](crate::Gguf) hands on. Faults elsewhere go to
//! whoever handled them before. What is missing within the last page that is left reads as zeros without a
//! fault, as if the file had been overwritten: nothing here notices that.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::io;
use std::sync::OnceLock;

use libc::{c_int, siginfo_t};

/// Mappings that are guarded at a time; further ones are not.
const MAX_REGIONS: usize = 64;

/// The addresses of a mapping, and whether they still are its file's. A signal handler reads it, so there
/// are atomics and no locks.
struct Region {
    /// Somebody has it.
    taken: AtomicBool,
    /// Changes whenever the addresses do.
    turn: AtomicUsize,
    start: AtomicUsize,
    /// 0: nothing is guarded.
    end: AtomicUsize,
    damaged: AtomicBool,
}

static REGIONS: [Region; MAX_REGIONS] = [const {
    Region {
        taken: AtomicBool::new(false),
        turn: AtomicUsize::new(0),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        damaged: AtomicBool::new(false),
    }
}; MAX_REGIONS];

/// Who handled SIGBUS before, or why there is no handler (`errno`).
static BEFORE: OnceLock<Result<libc::sigaction, i32>> = OnceLock::new();

/// Bytes of a page.
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// From now on faults in mappings, also in those that exist, are handled as above. It changes what the
/// process does on SIGBUS, so that is for the program to say and not for a library. Calls after the first
/// do nothing.
pub fn install() -> io::Result<()> {
    match BEFORE.get_or_init(set_handler) {
        Ok(_) => Ok(()),
        Err(errno) => Err(io::Error::from_raw_os_error(*errno)),
    }
}

fn set_handler() -> Result<libc::sigaction, i32> {
    let failure = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
    // SAFETY: Plain calls. The handler has the signature that SA_SIGINFO demands, and only reads
    // atomics, maps memory and hands on, which a signal handler may do.
    unsafe {
        let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE));
        PAGE.store(page.unwrap_or(0), SeqCst);
        let mut action = core::mem::zeroed::<libc::sigaction>();
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_bus_error;
        action.sa_sigaction = handler as usize;
        // On the thread's own stack for signals, where it has one.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&mut action.sa_mask);
        let mut before = core::mem::zeroed::<libc::sigaction>();
        match libc::sigaction(libc::SIGBUS, &action, &mut before) {
            0 => Ok(before),
            _ => Err(failure()),
        }
    }
}

extern "C" fn on_bus_error(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the system passes a valid `info`; of a fault (not of a signal that some process sent) it
    // has the address.
    let fault = unsafe { ((*info).si_code > 0).then(|| (*info).si_addr() as usize) };
    let absorbed = fault.is_some_and(|at| REGIONS.iter().any(|region| region.absorb(at)));
    if !absorbed {
        hand_on(signal, fault.is_none(), (info, context));
    }
}

/// Does what would have been done without this handler.
fn hand_on(signal: c_int, was_sent: bool, (info, context): (*mut siginfo_t, *mut c_void)) {
    // A fault while another thread is about to set the handler comes again.
    let Some(Ok(before)) = BEFORE.get() else { return };
    // SAFETY: the system gave the address as that of a handler of this kind. Where there was none, a fault
    // comes again when this function returns, and what was sent is sent again: both have their usual
    // effect.
    unsafe {
        match before.sa_sigaction {
            libc::SIG_IGN if was_sent => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::sigaction(signal, before, core::ptr::null_mut());
                if was_sent {
                    libc::raise(signal);
                }
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
        let turn = self.turn.load(SeqCst);
        let (start, end) = (self.start.load(SeqCst), self.end.load(SeqCst));
        // Else they may be of two mappings.
        let is_one = self.turn.load(SeqCst) == turn;
        if !is_one || !(start..end).contains(&address) {
            return false;
        }
        self.damaged.store(true, SeqCst);
        let page = address & PAGE.load(SeqCst).wrapping_neg();
        // SAFETY: these pages belong to a mapping that lives, as somebody reads it. They are read as
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
        let region = REGIONS.iter().find(|region| !region.taken.swap(true, SeqCst))?;
        let start = bytes.as_ptr() as usize;
        region.damaged.store(false, SeqCst);
        region.start.store(start, SeqCst);
        region.turn.fetch_add(1, SeqCst);
        region.end.store(start + bytes.len(), SeqCst);
        Some(Guarded(region))
    }

    /// Whether the bytes are no longer the file's.
    pub(crate) fn damage(&self) -> &AtomicBool {
        &self.0.damaged
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.end.store(0, SeqCst);
        self.0.turn.fetch_add(1, SeqCst);
        self.0.taken.store(false, SeqCst);
    }
}

impl core::fmt::Debug for Region {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Region({:#x})", self.start.load(SeqCst))
    }
}
