//! The entries of the integer encodings.

use super::dots::Sdot;
use crate::activation::{Activations, Rows};
use crate::arch::aarch64::formats::Format;
use crate::arch::aarch64::integers::{gemv_entries, panel_entries};
use crate::arch::apart::{Apart, apart};
use crate::cast::Tile;
use crate::quant::{Integer, kind, with_apart};
use crate::scalar::integer::unpack_block;
use crate::table::{Kernels, Panel};

gemv_entries!(Sdot, "neon,dotprod");
panel_entries!(Sdot, 2, 4, "neon,dotprod");
