//! Any bytes as a GGUF file.

use mote_formats::Gguf;
use mote_formats::gguf::{Builder, Reason};

use super::play::play;

/// Of a file whose index asks for more data than there is, as much is given to it: so the fuzzer need not
/// carry weights along, of which nothing depends on the values.
const MOST_BYTES: u64 = 1 << 16;

/// A file that is accepted is accepted twice alike, can be written again, and runs if it is a model.
pub fn run(bytes: &[u8]) {
    let Some(file) = whole(bytes) else { return };
    let gguf = Gguf::parse(&file).expect("it was parsed before");
    check_written_again(&gguf);
    play(&gguf, bytes.len() as u8);
}

/// The file with all the data that its index announces, if it is one.
pub(super) fn whole(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut file = bytes.to_vec();
    for _ in 0..2 {
        match (Gguf::parse(&file), Gguf::parse(&file)) {
            (Ok(_), Ok(_)) => return Some(file),
            (Err(first), Err(second)) => {
                assert_eq!(first, second);
                assert!(!first.to_string().is_empty());
                let Reason::DataPastEnd { end, .. } = first.reason() else { return None };
                // The tensors behind it may ask for more.
                if end > MOST_BYTES {
                    return None;
                }
                file.resize(MOST_BYTES as usize, 0x3c);
            }
            (first, second) => panic!("{first:?}, then {second:?}"),
        }
    }
    None
}

/// What is written again has the same keys, values and tensors, and what is written of that is the same bytes.
fn check_written_again(gguf: &Gguf<'_>) {
    let again = rewritten(gguf);
    let parsed = Gguf::parse(&again).expect("what was written is a file");
    assert_eq!(parsed.alignment(), gguf.alignment());
    let keys = |gguf: &Gguf<'_>| gguf.metadata().map(|it| format!("{it:?}")).collect::<Vec<_>>();
    // Their text: a NaN is not equal to itself.
    let without_places = |keys: Vec<String>| -> Vec<String> {
        keys.into_iter().map(|key| strip_places(&key)).collect()
    };
    assert_eq!(without_places(keys(&parsed)), without_places(keys(gguf)));
    assert_eq!(parsed.n_tensors(), gguf.n_tensors());
    for (new, old) in parsed.tensors().zip(gguf.tensors()) {
        assert_eq!((new.name(), new.dims()), (old.name(), old.dims()));
        assert_eq!(new.tensor_type(), old.tensor_type());
        assert!(new.data() == old.data(), "{}", new.name());
        assert!(gguf.tensor(old.name()).is_some_and(|it| it.data().len() == old.data().len()));
    }
    assert!(rewritten(&parsed) == again, "a copy of the copy differs");
}

/// Arrays know where they stand in the file, which is another place in another file.
fn strip_places(text: &str) -> String {
    match text.split_once("offset: ") {
        Some((before, after)) => {
            let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}{after}")
        }
        None => text.to_string(),
    }
}

fn rewritten(gguf: &Gguf<'_>) -> Vec<u8> {
    let builder = Builder::copy_of(gguf).expect("an index that was accepted");
    let mut writer = builder.write_index(Vec::new()).expect("an index that was accepted");
    gguf.tensors().for_each(|tensor| writer.write(tensor.data()).expect("all of its bytes"));
    writer.finish().expect("all tensors")
}
