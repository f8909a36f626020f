//! The entries of the integer encodings.

use super::dots::Sdot;
use super::peak::peak_integer;
use crate::activation::{Activations, Rows};
use crate::arch::aarch64::formats::Format;
use crate::arch::aarch64::integers::integer_entries;
use crate::cast::Tile;
use crate::table::{Kernels, Panel};

integer_entries!(Sdot, 2, "neon,dotprod");
