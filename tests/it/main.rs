//! What mote guarantees.
