//! The entries of the integer encodings.

use super::dots::Pairs;
use crate::activation::{Activations, Rows};
use crate::arch::aarch64::formats::Format;
use crate::arch::aarch64::integers::{gemv_entries, panel_entries};
use crate::arch::apart::{Apart, apart};
use crate::cast::Tile;
use crate::quant::{Integer, kind, with_apart};
use crate::scalar::integer::unpack_block;
use crate::table::{Kernels, Panel};

gemv_entries!(Pairs, "neon");
panel_entries!(Pairs, 2, 2, "neon");
