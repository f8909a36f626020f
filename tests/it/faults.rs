//! Faults of what is around mote: files, memory, threads, clocks, the system.
#![cfg(unix)]

mod allocations;
mod mapped;
mod poisoned;
// What only a process of its own shows. (A name that ci.sh leaves out where CPUs are emulated.)
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod processes;
