//! Equality of results (NUMERICS.md, "Equality").

/// The bits by which floats are compared: -0 is +0, and all NaN are one.
pub fn canonical(x: f32) -> u32 {
    if x.is_nan() { 0x7fc0_0000 } else { (x + 0.0).to_bits() }
}

/// Panics at the first difference; `what` says where we are.
#[track_caller]
pub fn assert_same_bits(got: &[f32], want: &[f32], what: impl Fn() -> String) {
    assert_eq!(got.len(), want.len(), "{}", what());
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!(
            canonical(g) == canonical(w),
            "{}: value {i} is {g:e} ({:#010x}), not {w:e} ({:#010x})",
            what(),
            g.to_bits(),
            w.to_bits()
        );
    }
}
