//! Files with every byte changed in the ways that break readers, and every beginning of them.

/// What a byte becomes: its eight flips, what ends texts and numbers, and its neighbours. Fourteen ways, of
/// which some may be the same.
fn others(old: u8) -> impl Iterator<Item = u8> {
    let flips = (0..8).map(move |bit| old ^ (1 << bit));
    flips.chain([0, 0x7F, 0x80, 0xFF, old.wrapping_add(1), old.wrapping_sub(1)])
}

/// Says which file it was, when a test fails over it.
struct Told {
    at: usize,
    new: Option<u8>,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Told { at, new } = self;
            eprintln!("the file that did it: byte {at} = {new:02x?} (None: cut before it)");
        }
    }
}

/// Shows every file in which one byte of `places` is another, `more` values among them. Returns how many
/// there were.
pub fn changed(
    whole: &[u8],
    places: impl IntoIterator<Item = usize>,
    more: &[u8],
    mut survive: impl FnMut(usize, &[u8]),
) -> usize {
    let mut file = whole.to_vec();
    let mut files = 0;
    for at in places {
        let old = whole[at];
        for new in others(old).chain(more.iter().copied()).filter(|new| *new != old) {
            file[at] = new;
            let told = Told { at, new: Some(new) };
            survive(at, &file);
            drop(told);
            files += 1;
        }
        file[at] = old;
    }
    files
}

/// Shows every beginning of the file, but for all of it.
pub fn cut(whole: &[u8], mut survive: impl FnMut(&[u8])) {
    for len in 0..whole.len() {
        let told = Told { at: len, new: None };
        survive(&whole[..len]);
        drop(told);
    }
}
