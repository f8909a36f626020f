//! The entries of the integer encodings.

use super::dots::Smmla;
use crate::activation::Activations;
use crate::arch::aarch64::formats::Format;
use crate::arch::aarch64::integers::panel_entries;
use crate::arch::apart::{Apart, apart};
use crate::cast::Tile;
use crate::quant::{Integer, kind, with_apart};
use crate::scalar::integer::unpack_block;
use crate::table::{Kernels, Panel};

panel_entries!(Smmla, 2, 4, "neon,dotprod,i8mm");
