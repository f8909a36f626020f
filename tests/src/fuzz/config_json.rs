//! Any bytes as the configuration of a checkpoint.

use mote_formats::Gguf;
use mote_formats::hf::Config;

use super::play::play;
use super::scratch::scratch_checkpoint;

/// What is accepted is accepted twice alike, and what is converted by it runs.
pub fn run(bytes: &[u8]) {
    let config = Config::parse(bytes);
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::parse(bytes)));
    let Ok(config) = config else { return };
    if config.class().is_none() && config.get("model_type").is_none() {
        return;
    }
    let checkpoint = scratch_checkpoint();
    checkpoint.write("config.json", bytes);
    if let Some(converted) = checkpoint.converted() {
        assert!(
            checkpoint.converted().as_ref() == Some(&converted),
            "another file, converted again"
        );
        play(&Gguf::parse(&converted).expect("what was converted is a file"), 0);
    }
    checkpoint.restore("config.json");
}
