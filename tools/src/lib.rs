//! The binary `mote` as a library.
