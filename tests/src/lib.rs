//! Helpers shared by the tests.

pub mod equal;
#[path = "../support/guard.rs"]
pub mod guard;
pub mod random;
pub mod shared;
pub mod speak;
