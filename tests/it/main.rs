//! What mote guarantees.
mod tidy;
