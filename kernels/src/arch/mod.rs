//! SIMD targets. **The list of targets**, best first: to add one, write its folder, then add its
//! line in `CANDIDATES`. It starts as the scalar table and overrides entries.

use crate::Kernels;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod apart;
mod fused;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod generic;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub(crate) use fused::fma;

/// A target: its name, and its table if this CPU can run it.
type Candidate = (&'static str, fn() -> Option<&'static Kernels>);

/// Every target of this architecture, best first; the scalar table is always last.
const CANDIDATES: &[Candidate] = &[
    #[cfg(target_arch = "x86_64")]
    ("avx512", x86_64::avx512::kernels),
    #[cfg(target_arch = "x86_64")]
    ("avxvnni", x86_64::avxvnni::kernels),
    #[cfg(target_arch = "x86_64")]
    ("avx2", x86_64::avx2::kernels),
    #[cfg(target_arch = "aarch64")]
    ("i8mm", aarch64::i8mm::kernels),
    #[cfg(target_arch = "aarch64")]
    ("dotprod", aarch64::dotprod::kernels),
    #[cfg(target_arch = "aarch64")]
    ("neon", aarch64::neon::kernels),
    ("scalar", scalar),
];

/// The names of all targets of this architecture, whether this CPU can run them or not.
pub fn names() -> impl Iterator<Item = &'static str> {
    CANDIDATES.iter().map(|&(name, _)| name)
}

/// Every table this CPU can run, best first.
pub fn available() -> impl Iterator<Item = &'static Kernels> {
    CANDIDATES.iter().filter_map(|(_, kernels)| kernels())
}

/// The table to use.
pub fn best() -> &'static Kernels {
    available().next().unwrap_or(&SCALAR)
}

/// The table of that name, if this CPU can run it.
pub fn by_name(name: &str) -> Option<&'static Kernels> {
    available().find(|kernels| kernels.name() == name)
}

static SCALAR: Kernels = Kernels::SCALAR;

fn scalar() -> Option<&'static Kernels> {
    Some(&SCALAR)
}
