//! The checkpoint in which targets put a file of theirs.

use std::fs;
use std::path::PathBuf;

use mote_tools::streams::{Streams, Terminal};

use crate::checkpoint::fixture;

/// The fixture's checkpoint in a folder of this process, which is kept from one run to the next.
pub(super) struct ScratchCheckpoint(PathBuf);

pub(super) fn scratch_checkpoint() -> ScratchCheckpoint {
    let name = format!("mote-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
    let folder = std::env::temp_dir().join(name);
    let checkpoint = ScratchCheckpoint(folder);
    if !checkpoint.0.exists() {
        fs::create_dir(&checkpoint.0).expect("a folder");
        for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
        {
            checkpoint.restore(file);
        }
    }
    checkpoint
}

impl ScratchCheckpoint {
    /// Another file in the place of one.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).expect("a file");
    }

    /// The fixture's file again.
    pub fn restore(&self, name: &str) {
        fs::copy(fixture().join(name), self.0.join(name)).expect("a copy");
    }

    /// What `mote convert` makes of it; `None` where it refuses it, which takes no file along.
    pub fn converted(&self) -> Option<Vec<u8>> {
        let output = self.0.join("out.gguf");
        let _ = fs::remove_file(&output);
        let arguments = ["mote".into(), "convert".into(), self.0.clone().into(), "--quiet".into()];
        let arguments = arguments.into_iter().chain(["-o".into(), output.clone().into()]);
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        let mut streams = Streams {
            input: &mut &b""[..],
            output: &mut results,
            errors: &mut errors,
            terminal: Terminal::default(),
        };
        let code = mote_tools::run(arguments, &mut streams);
        let errors = String::from_utf8(errors).expect("sentences");
        if code != 0 {
            assert!(!output.exists(), "{errors}");
            assert!((1..=5).contains(&code) && code != 2 && !errors.is_empty(), "{code}: {errors}");
            return None;
        }
        Some(fs::read(&output).expect("the file that was announced"))
    }
}
