//! Another program, run to its end or to a deadline. Whatever it does, it becomes a value.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use mote_formats::gguf::Text;

/// As much of an output is kept, from its start.
const OUTPUT_BYTES: usize = 1 << 20;

/// As much of the errors is kept, from their end.
const ERROR_BYTES: usize = 2 << 10;

/// Lines of the errors that a reason shows.
const ERROR_LINES: usize = 3;

/// What a program printed before it ended well; else a sentence about how it ended, and the last
/// that it said.
pub fn run(command: &mut Command, timeout: Duration) -> Result<String, String> {
    let deadline = Instant::now() + timeout;
    let mut child = start(command)?;
    let output = collect(child.0.stdout.take(), Keep::Start(OUTPUT_BYTES));
    let errors = collect(child.0.stderr.take(), Keep::End(ERROR_BYTES));
    // Blocked until both are closed: nothing wakes up beside what is being measured.
    let printed = wait(&output, deadline);
    let said = printed.as_ref().and_then(|_| wait(&errors, deadline));
    let status = said.as_ref().and_then(|_| child.end(deadline));
    let Some(status) = status else {
        drop(child);
        // Closed by now, unless a process of its own still holds it.
        let said = said.or_else(|| wait(&errors, Instant::now() + Duration::from_secs(1)));
        let seconds = timeout.as_secs();
        return Err(with_tail(
            format!("stopped after {seconds} seconds"),
            &said.unwrap_or_default(),
        ));
    };
    let (printed, said) = (printed.unwrap_or_default(), said.unwrap_or_default());
    if !status.success() {
        // With --json, mote says on its output why.
        let said = if said.is_empty() { &printed } else { &said };
        return Err(with_tail(status.to_string(), said));
    }
    Ok(String::from_utf8_lossy(&printed).into_owned())
}

fn start(command: &mut Command) -> Result<Running, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map(Running).map_err(|error| format!("cannot be started: {error}"))
}

/// Whether the program can be started at all; its output, if it then did well, else nothing.
pub fn help(command: &mut Command, timeout: Duration) -> Result<String, String> {
    drop(start(command.arg("--help"))?);
    Ok(run(command, timeout).unwrap_or_default())
}

/// A process that does not outlive this value.
struct Running(Child);

impl Running {
    /// How it ended, if it does so in time. Its outputs are closed, so that this is soon.
    fn end(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
                _ => return None,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Which part of a stream is of interest.
#[derive(Clone, Copy)]
enum Keep {
    Start(usize),
    End(usize),
}

/// Reads to the end in a thread, so that the program never waits for us; the part to keep comes
/// through the channel. The thread is left alone if the stream never ends.
fn collect(stream: Option<impl Read + Send + 'static>, keep: Keep) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let kept = stream.map_or_else(Vec::new, |stream| read(stream, keep));
        let _ = sender.send(kept);
    });
    receiver
}

fn read(mut stream: impl Read, keep: Keep) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let bytes = match stream.read(&mut buffer) {
            Ok(0) => return kept,
            Ok(n) => buffer.get(..n).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return kept,
        };
        match keep {
            Keep::Start(most) => {
                let room = most.saturating_sub(kept.len()).min(bytes.len());
                kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
            }
            Keep::End(most) => {
                kept.extend_from_slice(bytes);
                kept.drain(..kept.len().saturating_sub(most));
            }
        }
    }
}

fn wait(stream: &Receiver<Vec<u8>>, deadline: Instant) -> Option<Vec<u8>> {
    stream.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

/// The sentence and the last lines of the errors, in one line that a terminal can take.
fn with_tail(sentence: String, errors: &[u8]) -> String {
    let lines: Vec<String> = errors
        .split(|&byte| byte == b'\n')
        .map(|line| Text::from(line.trim_ascii()).to_string())
        .filter(|line| !line.is_empty())
        .collect();
    let from = lines.len().saturating_sub(ERROR_LINES);
    match lines.get(from..) {
        Some(last) if !last.is_empty() => format!("{sentence}: {}", last.join(" | ")),
        _ => sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_kept_in_part() {
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        assert_eq!(read(bytes.as_slice(), Keep::Start(5000)), bytes[..5000]);
        assert_eq!(read(bytes.as_slice(), Keep::End(5000)), bytes[5000..]);
        assert_eq!(read(bytes.as_slice(), Keep::End(20_000)), bytes);
    }

    #[test]
    fn a_tail_is_short_and_harmless() {
        let tail = with_tail("exit status: 1".into(), b"one\ntwo\n\nthree\nf\x1bour\n");
        assert_eq!(tail, "exit status: 1: two | three | f\\u{1b}our");
        assert_eq!(with_tail("exit status: 1".into(), b"\n"), "exit status: 1");
    }
}
