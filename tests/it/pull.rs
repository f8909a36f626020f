//! `mote pull` against a small server in this process: a file comes whole and right, or not at all,
//! and goes on from where it ended.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use mote_tools::interrupt;
use serde_json::Value;

use crate::cli::{Outcome, keys, mote};

/// Bytes of the file that the server has.
const BYTES: usize = 100_000;
/// The SHA-256 of [`content`], by another program.
const SHA256: &str = "cbc78aeb1f9acd312a840bcf5d37758a47a79749a8aa169fb41333e3fcd30840";

fn content() -> Vec<u8> {
    (0..BYTES as u64).map(|i| (i * i / 7 % 251) as u8).collect()
}

type Answer = Box<dyn Fn(&str) -> Vec<u8> + Send>;

/// Answers as many requests as there are answers, each on a connection of its own.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answers: Vec<Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/some/model.gguf?signature=1", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let request = head(&mut stream);
                heard.lock().unwrap().push(request.clone());
                // A client that has heard enough goes away.
                let _ = stream.write_all(&answer(&request));
            }
        });
        Server { url, requests }
    }

    fn request(&self, number: usize) -> String {
        self.requests.lock().unwrap()[number].clone()
    }
}

fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// The whole file, or its beginning on a connection that then ends.
fn whole(sent: usize, tag: &'static str) -> Answer {
    Box::new(move |_| {
        let headers = format!("Content-Length: {BYTES}\r\nETag: {tag}\r\n");
        response("200 OK", &headers, &content()[..sent])
    })
}

fn rest(from: usize) -> Answer {
    Box::new(move |_| {
        let headers = format!(
            "Content-Length: {}\r\nContent-Range: bytes {from}-{}/{BYTES}\r\nETag: \"1\"\r\n",
            BYTES - from,
            BYTES - 1
        );
        response("206 Partial Content", &headers, &content()[from..])
    })
}

fn always(status: &'static str, headers: &'static str) -> Answer {
    Box::new(move |_| response(status, &format!("Content-Length: 0\r\n{headers}"), b""))
}

/// An empty folder of the test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pull-{name}"));
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn pull(server: &Server, folder: &Path, more: &[&str]) -> Outcome {
    mote(&[&["pull", &server.url, "--to", folder.to_str().unwrap(), "--json"], more].concat())
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| name(entry).unwrap()).collect();
    names.sort();
    names
}

fn is_whole(outcome: &Outcome, folder: &Path, resumed_at: usize) {
    let report = outcome.json();
    assert_eq!(keys(&report), ["bytes", "path", "resumed_at", "sha256"]);
    assert_eq!(report["sha256"], SHA256);
    assert_eq!(report["bytes"], BYTES);
    assert_eq!(report["resumed_at"], resumed_at);
    assert_eq!(names(folder), ["model.gguf"]);
    assert_eq!(fs::read(folder.join("model.gguf")).unwrap(), content());
}

/// The failure's word and sentence.
fn failure(outcome: &Outcome, code: u8) -> (String, String) {
    assert_eq!(outcome.code(), code, "{}", outcome.errors());
    let error: Value = serde_json::from_str(outcome.out()).unwrap();
    let word = |key: &str| error["error"][key].as_str().unwrap().to_owned();
    (word("code"), word("message"))
}

#[test]
fn a_file_comes_whole_and_is_not_got_twice() {
    let folder = folder("whole");
    let server = Server::new(vec![whole(BYTES, "\"1\""), whole(BYTES, "\"1\"")]);
    is_whole(&pull(&server, &folder, &[]), &folder, 0);
    let request = server.request(0);
    assert!(request.starts_with("get /some/model.gguf?signature=1 http/1.1"), "{request}");
    assert!(request.contains("accept-encoding: identity"), "{request}");
    assert!(!request.contains("range:"), "{request}");

    let again = pull(&server, &folder, &["--sha256", SHA256]);
    is_whole(&again, &folder, 0);
    assert!(again.errors().contains("there already"), "{}", again.errors());
    let other = pull(&server, &folder, &["--sha256", &"0".repeat(64)]);
    assert!(failure(&other, 1).1.contains("--force"));
    is_whole(&pull(&server, &folder, &["--force"]), &folder, 0);
    assert_eq!(server.requests.lock().unwrap().len(), 2);
}

#[test]
fn a_connection_that_ended_is_gone_on_from() {
    let folder = folder("resumed");
    let server = Server::new(vec![whole(30_000, "\"1\""), rest(30_000)]);
    let (code, message) = failure(&pull(&server, &folder, &[]), 1);
    assert_eq!(code, "io");
    assert!(message.contains("30000 bytes are there"), "{message}");
    assert_eq!(names(&folder), ["model.gguf.part", "model.gguf.part.version"]);

    is_whole(&pull(&server, &folder, &["--sha256", SHA256]), &folder, 30_000);
    let request = server.request(1);
    assert!(request.contains("range: bytes=30000-\r\n"), "{request}");
    assert!(request.contains("if-range: \"1\"\r\n"), "{request}");
}

/// The server has another file by now, and says so by sending all of it.
#[test]
fn another_version_begins_anew() {
    let folder = folder("version");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("model.gguf.part"), b"of an older file").unwrap();
    fs::write(folder.join("model.gguf.part.version"), b"\"0\"").unwrap();
    let server = Server::new(vec![whole(BYTES, "\"1\"")]);
    is_whole(&pull(&server, &folder, &[]), &folder, 0);
    assert!(server.request(0).contains("if-range: \"0\"\r\n"));
}

/// Without a strong name of the version nothing says that the rest belongs to the beginning.
#[test]
fn a_part_without_a_version_is_not_gone_on_from() {
    let folder = folder("weak");
    let server = Server::new(vec![whole(500, "W/\"1\""), whole(BYTES, "W/\"1\"")]);
    failure(&pull(&server, &folder, &[]), 1);
    is_whole(&pull(&server, &folder, &[]), &folder, 0);
    assert!(!server.request(1).contains("range:"));
}

/// The process ended after the last byte and before the renaming.
#[test]
fn a_part_that_is_whole_needs_no_byte() {
    let folder = folder("complete");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("model.gguf.part"), content()).unwrap();
    fs::write(folder.join("model.gguf.part.version"), b"\"1\"").unwrap();
    let past = always("416 Range Not Satisfiable", "Content-Range: bytes */100000\r\n");
    is_whole(&pull(&Server::new(vec![past]), &folder, &[]), &folder, BYTES);
}

#[test]
fn a_wrong_digest_leaves_nothing() {
    let folder = folder("digest");
    let server = Server::new(vec![whole(BYTES, "\"1\"")]);
    let (code, message) = failure(&pull(&server, &folder, &["--sha256", &"0".repeat(64)]), 1);
    assert_eq!(code, "io");
    assert!(message.contains(SHA256), "{message}");
    assert!(names(&folder).is_empty());
}

#[test]
fn failures_of_the_server_leave_nothing() {
    let folder = folder("status");
    for (answer, word) in [
        (always("404 Not Found", ""), "404"),
        (always("500 Internal Server Error", ""), "500"),
        (always("302 Found", ""), "sends on"),
        (always("302 Found", "Location: http://example.invalid/f\r\n"), "without encryption"),
        (always("302 Found", "Location: file:///etc/hostname\r\n"), "not https"),
    ] {
        let outcome = pull(&Server::new(vec![answer]), &folder, &[]);
        let code = if word == "without encryption" { 2 } else { 1 };
        let (_, message) = failure(&outcome, code);
        assert!(message.contains(word), "{message}");
        assert!(!message.contains("signature"), "{message}");
        assert!(names(&folder).is_empty());
    }
    let gone = Server::new(vec![]);
    failure(&pull(&gone, &folder, &[]), 1);
    assert!(names(&folder).is_empty());
}

#[test]
fn redirects_are_followed_and_the_hubs_digest_is_believed() {
    let right: Answer = Box::new(|_| {
        let linked = format!("Location: /store/1\r\nX-Linked-Etag: \"{SHA256}\"\r\n");
        response("302 Found", &format!("Content-Length: 0\r\n{linked}"), b"")
    });
    let folder = folder("redirect");
    let server = Server::new(vec![right, whole(BYTES, "\"1\"")]);
    is_whole(&pull(&server, &folder, &[]), &folder, 0);
    assert!(server.request(1).starts_with("get /store/1 "));

    let wrong: Answer = Box::new(|_| {
        let linked = format!("Location: ../2\r\nX-Linked-Etag: \"{}\"\r\n", "1".repeat(64));
        response("307 Temporary Redirect", &format!("Content-Length: 0\r\n{linked}"), b"")
    });
    let server = Server::new(vec![wrong, whole(BYTES, "\"1\"")]);
    let (_, message) = failure(&pull(&server, &folder, &["--force"]), 1);
    assert!(message.contains("SHA-256"), "{message}");
    // What was there stays.
    assert_eq!(names(&folder), ["model.gguf"]);

    let round = (0..20).map(|_| always("302 Found", "Location: /again\r\n")).collect();
    let server = Server::new(round);
    let (_, message) = failure(&pull(&server, &folder, &["--force"]), 1);
    assert!(message.contains("again and again"), "{message}");
    assert_eq!(server.requests.lock().unwrap().len(), 9);
}

#[test]
fn ctrl_c_keeps_what_has_come() {
    let folder = folder("interrupted");
    let server = Server::new(vec![whole(BYTES, "\"1\""), rest(65_536)]);
    interrupt::after(Some(2));
    let outcome = pull(&server, &folder, &[]);
    interrupt::after(None);
    assert_eq!(failure(&outcome, 130).0, "interrupted");
    assert_eq!(names(&folder), ["model.gguf.part", "model.gguf.part.version"]);
    let bytes = fs::metadata(folder.join("model.gguf.part")).unwrap().len() as usize;
    assert!(0 < bytes && bytes < BYTES, "{bytes}");
    let server = Server::new(vec![rest(bytes)]);
    is_whole(&pull(&server, &folder, &[]), &folder, bytes);
}

#[test]
fn what_cannot_be_got_is_wrong_usage() {
    let folder = folder("usage");
    let to = folder.to_str().unwrap();
    for what in
        ["nobody", "../model.gguf", "http://example.invalid/model.gguf", "https://example.invalid/"]
    {
        let outcome = mote(&["pull", what, "--to", to, "--json"]);
        assert_eq!(failure(&outcome, 2).0, "usage", "{what}");
    }
    assert_eq!(mote(&["pull", "nobody", "--sha256", "12", "--to", to]).code(), 2);
    assert_eq!(mote(&["pull"]).code(), 2);
}

#[test]
fn the_list_has_the_known_names() {
    let list = mote(&["pull", "--list", "--json"]).json();
    let names: Vec<&str> =
        list.as_array().unwrap().iter().map(|known| known["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["smollm2-135m", "gemma-3-270m"]);
    assert_eq!(keys(&list[0]), ["bytes", "name", "path", "title"]);
    assert!(mote(&["pull", "--list"]).text().starts_with("smollm2-135m     99 MB  SmolLM2"));
}
