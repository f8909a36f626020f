//! Two sequences side by side.

/// Places in the sequences that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A place of each.
    Both(usize, usize),
    /// A place of the first, opposite to nothing.
    First(usize),
    /// A place of the second, opposite to nothing.
    Second(usize),
}

/// Cells of the table that is computed at most: 64 MiB.
const MOST_CELLS: usize = 1 << 24;

/// The alignment with the fewest differences (Wagner and Fischer 1974): different items face each
/// other rather than nothing. Equal ends are set aside first, so that time grows with the product of
/// what is between them; where that is too much, what is between them is faced as it comes.
pub fn align<T: PartialEq>(first: &[T], second: &[T]) -> Vec<Step> {
    let head = first.iter().zip(second).take_while(|(a, b)| a == b).count();
    let rest = [first.len() - head, second.len() - head];
    let tail = first.iter().rev().zip(second.iter().rev()).take_while(|(a, b)| a == b).count();
    let tail = tail.min(rest[0]).min(rest[1]);
    let [n, m] = rest.map(|rest| rest - tail);
    let mut steps: Vec<Step> = (0..head).map(|place| Step::Both(place, place)).collect();
    if n.saturating_mul(m) > MOST_CELLS {
        let both = n.min(m);
        steps.extend((head..head + both).map(|place| Step::Both(place, place)));
        steps.extend((head + both..head + n).map(Step::First));
        steps.extend((head + both..head + m).map(Step::Second));
    } else {
        let (a, b) = (&first[head..head + n], &second[head..head + m]);
        align_all(a, b, head, &mut steps);
    }
    steps.extend((0..tail).map(|place| Step::Both(head + n + place, head + m + place)));
    steps
}

/// The same without looking for equal ends; places begin at `head`.
fn align_all<T: PartialEq>(a: &[T], b: &[T], head: usize, steps: &mut Vec<Step>) {
    let (n, m) = (a.len(), b.len());
    // costs[i][j]: differences between what follows a[i..] and b[j..].
    let mut costs = vec![vec![0u32; m + 1]; n + 1];
    for i in (0..=n).rev() {
        for j in (0..=m).rev() {
            costs[i][j] = match (i < n, j < m) {
                (true, true) => {
                    let both = costs[i + 1][j + 1] + u32::from(a[i] != b[j]);
                    both.min(costs[i + 1][j] + 1).min(costs[i][j + 1] + 1)
                }
                _ => ((n - i) + (m - j)) as u32,
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < n || j < m {
        let both = i < n && j < m;
        if both && costs[i][j] == costs[i + 1][j + 1] + u32::from(a[i] != b[j]) {
            steps.push(Step::Both(head + i, head + j));
            (i, j) = (i + 1, j + 1);
        } else if i < n && costs[i][j] == costs[i + 1][j] + 1 {
            steps.push(Step::First(head + i));
            i += 1;
        } else {
            steps.push(Step::Second(head + j));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters side by side, `-` for nothing.
    fn rows(first: &str, second: &str) -> [String; 2] {
        let (a, b): (Vec<char>, Vec<char>) = (first.chars().collect(), second.chars().collect());
        let mut rows = [String::new(), String::new()];
        for step in align(&a, &b) {
            let (left, right) = match step {
                Step::Both(i, j) => (a[i], b[j]),
                Step::First(i) => (a[i], '-'),
                Step::Second(j) => ('-', b[j]),
            };
            rows[0].push(left);
            rows[1].push(right);
        }
        rows
    }

    #[test]
    fn what_is_equal_faces_itself() {
        for (first, second, left, right) in [
            ("", "", "", ""),
            ("abc", "abc", "abc", "abc"),
            ("abc", "axc", "abc", "axc"),
            ("abc", "ac", "abc", "a-c"),
            ("ac", "abc", "a-c", "abc"),
            ("", "ab", "--", "ab"),
            ("ab", "", "ab", "--"),
            ("aaa", "aa", "aaa", "aa-"),
            ("xabcy", "xbcdy", "xabc-y", "x-bcdy"),
            ("kitten", "sitting", "kitten-", "sitting"),
        ] {
            assert_eq!(rows(first, second), [left, right], "{first} {second}");
        }
    }

    /// Nobody looks at a million tokens side by side, but they must not take a terabyte.
    #[test]
    fn long_sequences_are_faced_as_they_come() {
        let (first, second) = (vec![1u8; 1_000_000], vec![2u8; 900_000]);
        let steps = align(&first, &second);
        assert_eq!(steps.len(), 1_000_000);
        assert_eq!((steps[7], steps[999_999]), (Step::Both(7, 7), Step::First(999_999)));
    }
}
