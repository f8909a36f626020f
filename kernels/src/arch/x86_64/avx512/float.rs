//! The float operations of `arch::generic` in zmm registers.

use super::lanes::Zmm;
use crate::arch::generic;
use crate::scalar::attend::Attend;
use crate::scalar::exp::Gate;
use crate::scalar::rope::RopeLayout;
use crate::table::Panel;
use crate::{Rows, Tile};

generic::float_entries!(Zmm, "avx512f,avx512bw,avx512dq,avx512vl");
