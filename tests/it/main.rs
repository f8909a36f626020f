//! What mote guarantees.
mod encodings;
mod kernels_match_scalar;
mod tidy;
