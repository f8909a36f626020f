//! Dot products of float weights with f32 activations: sixteen chains for each output, in a register
//! tile of rows × tokens.

use super::{Element, F32, Lanes};
use crate::activation::Rows;
use crate::cast::Tile;
use crate::table::{FLOAT_PANEL_ROWS, Panel};

/// How far ahead of the weights in use the next ones are asked for, into the second and the first
/// level of cache: together worth a factor of two when the weights come from memory.
const FAR_BYTES: usize = 36 * 1024;
const NEAR_BYTES: usize = 8 * 1024;

/// Where a product reads and how its rows lie.
struct Product<E: Element> {
    weights: *const E::Stored, // (rows, k)
    x: *const f32,             // (tokens, k)
    k: usize,
}

/// See [`crate::table::Gemv`].
///
/// # Safety
/// The CPU has the features of `V`; the promises of [`crate::table::Gemv`].
#[inline(always)]
pub(crate) unsafe fn gemv<V: Lanes, E: Element>(w: &[u8], x: &Rows<'_>, out: &mut Tile<'_>) {
    let Some(float) = x.float else { return };
    let product = Product::<E> { weights: w.as_ptr().cast(), x: float.as_ptr(), k: x.k };
    // SAFETY: the caller's promises: `out.rows()` rows of weights, `out.tokens()` rows of `x`.
    unsafe { all_tokens::<V, E, true>(&product, out) }
}

/// See [`crate::table::Unpack`].
///
/// # Safety
/// The CPU has the features of `V`; `w` is at most 8 rows of `panel.k` values.
#[inline(always)]
pub(crate) unsafe fn unpack<V: Lanes, E: Element>(w: &[u8], panel: &mut Panel<'_>) {
    let n = (w.len() / size_of::<E::Stored>()).min(FLOAT_PANEL_ROWS * panel.k);
    let (from, to) = (w.as_ptr().cast::<E::Stored>(), panel.floats[..n].as_mut_ptr());
    let whole = n - n % 16;
    // SAFETY: both hold `n` values.
    unsafe {
        for i in (0..whole).step_by(16) {
            E::load::<V>(from.add(i)).store(to.add(i));
        }
        E::load_first::<V>(from.add(whole), n % 16).store_first(to.add(whole), n % 16);
    }
}

/// The panel's rows times every token of `x` (tokens × k).
///
/// # Safety
/// The CPU has the features of `V`; `x` holds `out.tokens()` rows, the panel `out.rows()`.
#[inline(always)]
pub(crate) unsafe fn gemm<V: Lanes>(panel: &Panel<'_>, x: &[f32], out: &mut Tile<'_>) {
    let product = Product::<F32> { weights: panel.floats.as_ptr(), x: x.as_ptr(), k: panel.k };
    // SAFETY: the caller's promises.
    unsafe { all_tokens::<V, F32, false>(&product, out) }
}

/// Four tokens at a time (three where registers are few), then the rest.
#[inline(always)]
unsafe fn all_tokens<V: Lanes, E: Element, const AHEAD: bool>(
    product: &Product<E>,
    out: &mut Tile<'_>,
) {
    let (tokens, mut t) = (out.tokens(), 0);
    // SAFETY: the caller's promises; t counts the tokens done.
    unsafe {
        while t < tokens {
            match (tokens - t, V::WIDE) {
                (4.., true) => all_rows::<V, E, 4, 4, AHEAD>(product, &mut t, out),
                (2.., true) => all_rows::<V, E, 4, 2, AHEAD>(product, &mut t, out),
                (_, true) => all_rows::<V, E, 8, 1, AHEAD>(product, &mut t, out),
                (3.., false) => all_rows::<V, E, 2, 3, AHEAD>(product, &mut t, out),
                (2, false) => all_rows::<V, E, 2, 2, AHEAD>(product, &mut t, out),
                (_, false) => all_rows::<V, E, 4, 1, AHEAD>(product, &mut t, out),
            }
        }
    }
}

/// `T` tokens and every row, `R` at a time.
#[inline(always)]
unsafe fn all_rows<V: Lanes, E: Element, const R: usize, const T: usize, const AHEAD: bool>(
    product: &Product<E>,
    t: &mut usize,
    out: &mut Tile<'_>,
) {
    let (rows, k) = (out.rows(), product.k);
    let mut row = 0;
    // SAFETY: row and token counts stay inside what the caller promises.
    unsafe {
        let x = product.x.add(*t * k);
        while row + R <= rows {
            let sums = tile::<V, E, R, T, AHEAD>(product.weights.add(row * k), x, k);
            store(&sums, out, *t, row);
            row += R;
        }
        while row < rows {
            let sums = tile::<V, E, 1, T, false>(product.weights.add(row * k), x, k);
            store(&sums, out, *t, row);
            row += 1;
        }
    }
    *t += T;
}

/// One rectangle of results.
#[inline(always)]
unsafe fn store<V: Lanes, const R: usize, const T: usize>(
    sums: &[[V; T]; R],
    out: &mut Tile<'_>,
    t: usize,
    row: usize,
) {
    for i in 0..T {
        let out = &mut out.token(t + i)[row..row + R];
        for (out, sums) in out.iter_mut().zip(sums) {
            // SAFETY: the caller's promise.
            *out = unsafe { sums[i].tree() };
        }
    }
}

/// `R` rows × `T` tokens: groups of 16 ascending, the last one padded with zeros.
#[inline(always)]
unsafe fn tile<V: Lanes, E: Element, const R: usize, const T: usize, const AHEAD: bool>(
    weights: *const E::Stored,
    x: *const f32,
    k: usize,
) -> [[V; T]; R] {
    let whole = k - k % 16;
    let per_line = 64 / size_of::<E::Stored>();
    // SAFETY: the caller promises R rows of weights and T rows of x, each of k values.
    unsafe {
        let mut sums = [[V::splat(0.0); T]; R];
        let mut i = 0;
        while i < whole {
            if AHEAD && (per_line == 16 || i.is_multiple_of(per_line)) {
                for r in 0..R {
                    let here = weights.add(r * k + i).cast::<u8>();
                    V::prefetch(here.wrapping_add(FAR_BYTES), false);
                    V::prefetch(here.wrapping_add(NEAR_BYTES), true);
                }
            }
            let mut a = [V::splat(0.0); T];
            for t in 0..T {
                a[t] = V::load(x.add(t * k + i));
            }
            for r in 0..R {
                let w: V = E::load(weights.add(r * k + i));
                for t in 0..T {
                    sums[r][t] = w.fma(a[t], sums[r][t]);
                }
            }
            i += 16;
        }
        if whole < k {
            for r in 0..R {
                let w: V = E::load_first(weights.add(r * k + whole), k - whole);
                for t in 0..T {
                    let a = V::load_first(x.add(t * k + whole), k - whole);
                    sums[r][t] = w.fma(a, sums[r][t]);
                }
            }
        }
        sums
    }
}
