//! The binary `mote`, for tests that need it in a process of its own: cargo tells a package's tests
//! about its own binaries only.

fn main() -> std::process::ExitCode {
    mote_tools::main()
}
