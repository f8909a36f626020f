//! The binary `mote`.
fn main() -> std::process::ExitCode {
    mote_tools::main()
}
