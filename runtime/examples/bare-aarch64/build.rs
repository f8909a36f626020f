//! Tells the linker where memory is.

fn main() {
    println!("cargo::rustc-link-arg-bins=-T{}/memory.ld", env!("CARGO_MANIFEST_DIR"));
    println!("cargo::rustc-link-arg-bins=--nmagic");
    println!("cargo::rerun-if-changed=memory.ld");
}
