//! Choosing among logits.

/// Whether every value is finite. Sampling from others is refused.
pub fn is_finite(x: &[f32]) -> bool {
    // An OR over all values vectorises; a search that stops at the first does not.
    const EXPONENT: u32 = 0x7f80_0000;
    !x.iter().fold(false, |bad, v| bad | (v.to_bits() & EXPONENT == EXPONENT))
}

/// Index of the first value that is larger than `limit`; `x.len()` if there is none.
pub(crate) fn first_above(x: &[f32], limit: f32) -> usize {
    x.iter().position(|&v| v > limit).unwrap_or(x.len())
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

impl Candidate {
    /// The larger one stands above, of equals (-0 and +0, too) the lower id.
    fn is_above(self, other: Candidate) -> bool {
        self.value > other.value || self.value == other.value && self.id < other.id
    }
}

/// See [`crate::Kernels::argmax`].
pub fn argmax(x: &[f32]) -> Option<usize> {
    argmax_by(first_above, x)
}

/// See [`crate::Kernels::top_k`].
pub fn top_k(x: &[f32], top: &mut [Candidate]) -> usize {
    top_k_by(first_above, x, top)
}

/// [`argmax`] with a target's own search. What is passed over is never looked at twice, and a new
/// best is rare: the search is all the work.
pub(crate) fn argmax_by(first_above: impl Fn(&[f32], f32) -> usize, x: &[f32]) -> Option<usize> {
    let mut best = first_above(x, f32::NEG_INFINITY);
    if best == x.len() {
        let lowest = x.iter().position(|&v| v == f32::NEG_INFINITY);
        return lowest.or(if x.is_empty() { None } else { Some(0) });
    }
    loop {
        let next = best + 1 + first_above(&x[best + 1..], x[best]);
        if next == x.len() {
            return Some(best);
        }
        best = next;
    }
}

/// [`top_k`] with a target's own search.
pub(crate) fn top_k_by(
    first_above: impl Fn(&[f32], f32) -> usize,
    x: &[f32],
    top: &mut [Candidate],
) -> usize {
    let k = top.len().min(x.len());
    if k == 0 {
        return 0;
    }
    let heap = &mut top[..k];
    for (i, slot) in heap.iter_mut().enumerate() {
        *slot = Candidate { value: x[i], id: i as u32 };
    }
    for at in (0..k / 2).rev() {
        sift(heap, at);
    }
    let mut at = k;
    loop {
        // Strictly above the worst, because an equal value has a higher index here.
        at += first_above(&x[at..], heap[0].value);
        let Some(&value) = x.get(at) else { break };
        heap[0] = Candidate { value, id: at as u32 };
        sift(heap, 0);
        at += 1;
    }
    // Heap sort: the worst moves to the end.
    for end in (1..k).rev() {
        heap.swap(0, end);
        sift(&mut heap[..end], 0);
    }
    k
}

/// Moves the candidate at `at` down to its place in a heap with the worst at the root.
fn sift(heap: &mut [Candidate], mut at: usize) {
    loop {
        let mut worst = at;
        for child in [2 * at + 1, 2 * at + 2] {
            if child < heap.len() && heap[worst].is_above(heap[child]) {
                worst = child;
            }
        }
        if worst == at {
            return;
        }
        heap.swap(at, worst);
        at = worst;
    }
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
    fn zeros_of_both_signs_are_equal() {
        for x in [[-0.0, 1.0, 0.0, -0.0], [-0.0, 0.0, 1.0, 0.0], [0.0, -0.0, 0.0, 1.0]] {
            let mut top = [Candidate::default(); 2];
            top_k(&x, &mut top);
            assert_eq!((top[0].value, top[1].id), (1.0, 0));
        }
    }

    #[test]
    fn argmax_skips_what_is_no_number() {
        let (nan, low) = (f32::NAN, f32::NEG_INFINITY);
        assert_eq!(argmax(&[]), None);
        assert_eq!(argmax(&[nan, nan]), Some(0));
        assert_eq!(argmax(&[nan, low, low]), Some(1));
        assert_eq!(argmax(&[nan, -1.0, nan, 2.0, 2.0]), Some(3));
        assert_eq!(argmax(&[-0.0, 0.0]), Some(0));
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
