//! From what the command line says to a URL and the name of a file.

use std::env;
use std::path::Path;

use crate::failure::{Code, Failure, Result};
use crate::source::KNOWN;

/// Where a file is, and what it will be called here.
#[derive(Debug, PartialEq, Eq)]
pub struct Address {
    pub url: String,
    pub file: String,
}

impl Address {
    /// A URL, or a file of the hub.
    pub fn parse(what: &str) -> Result<Address> {
        if what.starts_with("https://") || what.starts_with("http://") {
            return Address::new(what.to_owned());
        }
        let is_marked = what.starts_with("hf:");
        let place = what.strip_prefix("hf:").unwrap_or(what);
        let parts: Vec<&str> = place.split('/').collect();
        let is_file = Path::new(what).exists();
        let [owner, repository, file @ ..] = &parts[..] else { return Err(unknown(what)) };
        if !is_marked && (is_file || what.contains("://")) || file.is_empty() {
            return Err(unknown(what));
        }
        let plain = |part: &&str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@+".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
        };
        if !parts.iter().all(plain) {
            return Err(unknown(what));
        }
        let endpoint = env::var("HF_ENDPOINT").unwrap_or_default();
        Address::of_hub(&endpoint, owner, repository, &file.join("/"))
    }

    fn of_hub(endpoint: &str, owner: &str, repository: &str, file: &str) -> Result<Address> {
        if endpoint.is_empty() {
            let sentence = "which hub? The variable HF_ENDPOINT names its address (https://...); or \
                            give the file's whole URL";
            return Err(Failure::new(Code::Usage, sentence));
        }
        let (repository, revision) = repository.split_once('@').unwrap_or((repository, "main"));
        let endpoint = endpoint.trim_end_matches('/');
        Address::new(format!("{endpoint}/{owner}/{repository}/resolve/{revision}/{file}"))
    }

    /// The file's name is the last part of the path.
    fn new(url: String) -> Result<Address> {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let (_, path) = path.split_once("://").unwrap_or_default();
        let file = match path.rsplit_once('/') {
            Some((_, file)) => file.to_owned(),
            None => String::new(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+@".contains(c);
        if file.is_empty() || file.starts_with('.') || !file.chars().all(plain) {
            let sentence =
                format_args!("'{}' does not end with a plain file's name", url.escape_debug());
            return Err(Failure::new(Code::Usage, sentence));
        }
        Ok(Address { url, file })
    }
}

fn unknown(what: &str) -> Failure {
    let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
    let sentence = format_args!(
        "'{}' is not a known name ({}), nor hf:OWNER/REPO/FILE, nor a URL",
        what.escape_debug(),
        names.join(", ")
    );
    Failure::new(Code::Usage, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_is_the_end_of_its_address() {
        let address = Address::parse("https://example.org/a/m-1.gguf?download=true").unwrap();
        assert_eq!(address.file, "m-1.gguf");
        assert_eq!(address.url, "https://example.org/a/m-1.gguf?download=true");
        for url in [
            "https://example.org",
            "https://example.org/",
            "https://example.org/..",
            "https://example.org/.hidden",
            "https://example.org/a%2fb",
            "https://example.org/a\\b",
        ] {
            assert_eq!(Address::parse(url).unwrap_err().code, Code::Usage, "{url}");
        }
    }

    #[test]
    fn a_file_of_the_hub_has_a_revision() {
        let of = |repository| Address::of_hub("https://hub.example/", "o", repository, "d/f.gguf");
        let url = "https://hub.example/o/r/resolve/main/d/f.gguf";
        assert_eq!(of("r").unwrap(), Address { url: url.into(), file: "f.gguf".into() });
        let url = "https://hub.example/o/r/resolve/v2/d/f.gguf";
        assert_eq!(of("r@v2").unwrap().url, url);
        assert_eq!(Address::of_hub("", "o", "r", "f").unwrap_err().code, Code::Usage);
    }

    #[test]
    fn what_is_neither_is_refused() {
        for what in ["nobody", "a/b", "a/../b", "hf:a//b", "ftp://example.org/f", "hf:a/b/c d"] {
            let failure = Address::parse(what).unwrap_err();
            assert_eq!(failure.code, Code::Usage, "{what}");
        }
    }
}
