//! The float operations of `arch::generic` in four registers.

use super::lanes::Quads;
use crate::arch::generic;
use crate::scalar::attend::Attend;
use crate::scalar::exp::Gate;
use crate::scalar::rope::RopeLayout;
use crate::table::Panel;
use crate::{Rows, Tile};

generic::float_entries!(Quads, "neon");
