//! Choosing among logits.

/// Whether every value is finite. Sampling from others is refused.
pub fn is_finite(x: &[f32]) -> bool {
    // An OR over all values vectorises; a search that stops at the first does not.
    const EXPONENT: u32 = 0x7f80_0000;
    !x.iter().fold(false, |bad, v| bad | (v.to_bits() & EXPONENT == EXPONENT))
}

/// A token and its logit (or, later, its probability).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Candidate {
    /// The logit, or what the sampler made of it.
    pub value: f32,
    /// The token's id: the index among the logits.
    pub id: u32,
}

/// Index of the largest value, the lowest index of equals; `None` for an empty slice. NaN is
/// skipped.
pub fn argmax(x: &[f32]) -> Option<usize> {
    let m = super::norm::maximum(x);
    x.iter().position(|&v| v == m).or(if x.is_empty() { None } else { Some(0) })
}

/// The `top.len()` largest values with their indices, largest first, the lower index first among
/// equals. Returns how many there are (fewer than `top.len()` only if `x` is shorter).
pub fn top_k(x: &[f32], top: &mut [Candidate]) -> usize {
    let k = top.len().min(x.len());
    if k == 0 {
        return 0;
    }
    let above = |a: Candidate, b: Candidate| {
        a.value.total_cmp(&b.value).then(b.id.cmp(&a.id)) == core::cmp::Ordering::Greater
    };
    // A heap of the k best so far, the worst of them at the root.
    let sift = |heap: &mut [Candidate], mut at: usize| {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let mut worst = at;
            for child in [left, right] {
                if child < heap.len() && above(heap[worst], heap[child]) {
                    worst = child;
                }
            }
            if worst == at {
                return;
            }
            heap.swap(at, worst);
            at = worst;
        }
    };
    let heap = &mut top[..k];
    for (i, slot) in heap.iter_mut().enumerate() {
        *slot = Candidate { value: x[i], id: i as u32 };
    }
    for at in (0..k / 2).rev() {
        sift(heap, at);
    }
    for (i, &v) in x.iter().enumerate().skip(k) {
        // Strictly greater, because an equal value has a higher index here.
        if v > heap[0].value {
            heap[0] = Candidate { value: v, id: i as u32 };
            sift(heap, 0);
        }
    }
    // Heap sort: the worst moves to the end.
    for end in (1..k).rev() {
        heap.swap(0, end);
        sift(&mut heap[..end], 0);
    }
    k
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_k_is_a_stable_sort() {
        let x: [f32; 97] = core::array::from_fn(|i| ((i * 37) % 11) as f32);
        let mut all = [Candidate::default(); 97];
        assert_eq!(top_k(&x, &mut all), 97);
        for pair in all.windows(2) {
            assert!(pair[0].value > pair[1].value || pair[0].id < pair[1].id);
        }
        for k in 0..97 {
            let mut some = [Candidate::default(); 97];
            assert_eq!(top_k(&x, &mut some[..k]), k);
            assert_eq!(some[..k], all[..k]);
        }
        assert_eq!(argmax(&x), Some(all[0].id as usize));
    }

    #[test]
    fn finiteness_sees_every_place() {
        let mut x = [1.0f32; 33];
        assert!(is_finite(&x));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for i in 0..33 {
                x[i] = bad;
                assert!(!is_finite(&x));
                x[i] = 0.0;
            }
        }
    }
}
