//! What mote guarantees.
mod kernels_match_scalar;
mod tidy;
