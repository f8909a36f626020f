//! The float operations of `arch::generic` in two ymm registers.

use super::lanes::Ymm2;
use crate::arch::generic;
use crate::scalar::attend::Attend;
use crate::scalar::exp::Gate;
use crate::scalar::rope::RopeLayout;
use crate::table::Panel;
use crate::{Rows, Tile};

generic::float_entries!(Ymm2, "avx2,fma,f16c");
