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

/// The alignment with the fewest differences (Wagner and Fischer 1974): different items face each
/// other rather than nothing. Equal ends are set aside first, so that time grows with the product of
/// what is between them.
pub fn align<T: PartialEq>(first: &[T], second: &[T]) -> Vec<Step> {
    let head = first.iter().zip(second).take_while(|(a, b)| a == b).count();
    let rest = [first.len() - head, second.len() - head];
    let tail = first.iter().rev().zip(second.iter().rev()).take_while(|(a, b)| a == b).count();
    let tail = tail.min(rest[0]).min(rest[1]);
    let [n, m] = rest.map(|rest| rest - tail);
    let (a, b) = (&first[head..head + n], &second[head..head + m]);
    // costs[i][j]: differences between what follows a[i..] and b[j..].
    let mut costs = vec![vec![0usize; m + 1]; n + 1];
    for i in (0..=n).rev() {
        for j in (0..=m).rev() {
            costs[i][j] = match (i < n, j < m) {
                (true, true) => {
                    let both = costs[i + 1][j + 1] + usize::from(a[i] != b[j]);
                    both.min(costs[i + 1][j] + 1).min(costs[i][j + 1] + 1)
                }
                _ => (n - i) + (m - j),
            };
        }
    }
    let mut steps: Vec<Step> = (0..head).map(|place| Step::Both(place, place)).collect();
    let (mut i, mut j) = (0, 0);
    while i < n || j < m {
        let faces =
            i < n && j < m && { costs[i][j] == costs[i + 1][j + 1] + usize::from(a[i] != b[j]) };
        if faces {
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
    steps.extend((0..tail).map(|place| Step::Both(head + n + place, head + m + place)));
    steps
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
}
