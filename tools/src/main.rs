//! The binary `mote`.
fn main() {}
