//! Leaves out of the binary what only unwinding reads, where nothing unwinds.

use std::env;
use std::path::Path;

/// The profiles with `panic = "abort"`, of which cargo does not tell.
const ABORTING: [&str; 2] = ["dist", "small"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=no-unwinding.ld");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    // target/[TRIPLE/]PROFILE/build/PACKAGE/out
    let out = variable("OUT_DIR");
    let profile = Path::new(&out).ancestors().nth(3).and_then(Path::file_name);
    let aborts = ABORTING.iter().any(|&name| profile == Some(name.as_ref()));
    // The script is of GNU's linkers and of LLVM's for them.
    let linked_so =
        variable("CARGO_CFG_TARGET_OS") == "linux" && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    // 8 % of the binary. A panic still says where it was.
    if aborts && linked_so {
        let script = Path::new(&variable("CARGO_MANIFEST_DIR")).join("no-unwinding.ld");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}
