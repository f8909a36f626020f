//! The name that programs linked with libmote.so ask the system for: the major version belongs to
//! it, so that an incompatible libmote.so is never taken for this one.

fn main() {
    let of = |name| std::env::var(name).unwrap_or_default();
    let (system, major) = (of("CARGO_CFG_TARGET_OS"), of("CARGO_PKG_VERSION_MAJOR"));
    if matches!(system.as_str(), "linux" | "android" | "freebsd" | "netbsd" | "openbsd") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libmote.so.{major}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
