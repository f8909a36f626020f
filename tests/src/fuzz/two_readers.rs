//! Any bytes as a GGUF file, by two readers that were written apart from each other.

use mote_formats::Gguf;
use mote_formats::gguf::Reason;

use crate::second_reader::assert_same_verdict;

/// Data that is missing is given to a file up to here, so that the fuzzer need not carry it.
const MOST_BYTES: u64 = 1 << 16;

/// They accept the same files, and find the same in them.
pub fn run(bytes: &[u8]) {
    if assert_same_verdict(bytes) {
        return;
    }
    let Err(error) = Gguf::parse(bytes) else { return };
    if let Reason::DataPastEnd { end, .. } = error.reason()
        && end <= MOST_BYTES
    {
        let mut file = bytes.to_vec();
        // One byte more or less decides.
        for len in [end - 1, end, end + 1, MOST_BYTES] {
            file.resize(len as usize, 0);
            assert_same_verdict(&file);
        }
    }
}
