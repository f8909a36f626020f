//! One file over HTTP: a few redirects, a range if part of it is there.

use std::io::Read;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode, Uri};
use ureq::{Agent, Body, ResponseExt as _};

use super::part::Digest;
use crate::environment;
use crate::failure::{Code, Failure, Result};

/// Hops from the address to the file, at most.
const REDIRECTS: usize = 8;

/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// A part that is there: its size, and what the server called this version of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    pub bytes: u64,
    pub version: String,
}

/// Why a part cannot become whole.
const UNMEASURED: &str =
    "does not say how long the file is; remove the .part file, or name a --sha256";

/// What a server answers with.
pub struct Answer {
    /// The body begins at this byte of the file.
    pub start: u64,
    /// Bytes of the whole file, where the server says so.
    pub total: Option<u64>,
    /// A name of this version of the file, by which a later request can go on.
    pub version: Option<String>,
    /// The file's digest, where the hub says so.
    pub sha256: Option<Digest>,
    /// The bytes from `start` on.
    pub body: Box<dyn Read>,
}

/// Asks for a file. `checked`: its digest is known, so that nobody on the way can change it unnoticed.
pub fn get(url: &str, resume: Option<Resume>, checked: bool) -> Result<Answer> {
    let agent: Agent = Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("mote/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .build()
        .into();
    let (hub, token) = (environment::hub(), environment::hub_token());
    let (mut url, mut sha256) = (url.to_owned(), None);
    for _ in 0..=REDIRECTS {
        check_transport(&url, checked)?;
        let token = token.as_deref().filter(|_| belongs_to(&url, hub.as_deref()));
        let response = ask(&agent, &url, resume.as_ref(), token)?;
        // The hub names the digest where it sends on to its store.
        sha256 = sha256.or_else(|| digest_of_hub(response.headers()));
        if !response.status().is_redirection() {
            return answer(response, resume, sha256, checked);
        }
        let place = header(response.headers(), "location")
            .ok_or_else(|| failed(&url, "sends on, but not where to"))?;
        let next = joined(response.get_uri(), &place);
        if url.starts_with("https:") && !next.starts_with("https:") {
            return Err(failed(&url, "sends on to an address without encryption"));
        }
        url = next;
    }
    Err(failed(&url, "sends on again and again"))
}

fn ask(
    agent: &Agent,
    url: &str,
    resume: Option<&Resume>,
    token: Option<&str>,
) -> Result<Response<Body>> {
    // The bytes as they are: a packed transfer has other lengths.
    let mut request = agent.get(url).header("accept-encoding", "identity");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if let Some(Resume { bytes, version }) = resume {
        request = request.header("range", format!("bytes={bytes}-"));
        request = request.header("if-range", version);
    }
    request.call().map_err(|error| failed(url, error))
}

fn answer(
    response: Response<Body>,
    resume: Option<Resume>,
    sha256: Option<Digest>,
    checked: bool,
) -> Result<Answer> {
    let headers = response.headers();
    let version = version(headers);
    let length = header(headers, "content-length").and_then(|length| length.parse().ok());
    let (start, total) = match (response.status(), resume) {
        (StatusCode::OK, _) => (0, length),
        (StatusCode::PARTIAL_CONTENT, Some(resume)) => {
            let range = header(headers, "content-range").and_then(|range| parse_range(&range));
            match range {
                Some((start, total)) if start == resume.bytes => (start, total),
                _ => {
                    return Err(failed(
                        response.get_uri(),
                        "sends another part than was asked for",
                    ));
                }
            }
        }
        // All of it is there, or more than all: what there is decides.
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(resume)) => {
            let range = header(headers, "content-range").unwrap_or_default();
            let total = range.strip_prefix("bytes */").and_then(|total| total.parse().ok());
            if total.is_none() && sha256.is_none() && !checked {
                return Err(failed(response.get_uri(), UNMEASURED));
            }
            let body = Box::new(std::io::empty());
            return Ok(Answer { start: resume.bytes, total, version, sha256, body });
        }
        (status, _) => {
            let why = status.canonical_reason().unwrap_or("no success");
            let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            let hint =
                if refused { "; HF_TOKEN is shown to the hub that HF_ENDPOINT names" } else { "" };
            let sentence = format_args!("answers {}: {why}{hint}", status.as_str());
            return Err(failed(response.get_uri(), sentence));
        }
    };
    // Whether what came later makes the part whole, something must tell.
    if start > 0 && total.is_none() && sha256.is_none() && !checked {
        return Err(failed(response.get_uri(), UNMEASURED));
    }
    let body = Box::new(response.into_body().into_with_config().limit(u64::MAX).reader());
    Ok(Answer { start, total, version, sha256, body })
}

/// Whether an address is one of the hub's, so that the hub's token may go there: encrypted, or to
/// this machine.
fn belongs_to(url: &str, hub: Option<&str>) -> bool {
    let rest = hub.and_then(|hub| url.strip_prefix(hub.trim_end_matches('/')));
    rest.is_some_and(|rest| rest.starts_with('/')) && check_transport(url, false).is_ok()
}

/// Without encryption only from this machine, or where the digest is known.
fn check_transport(url: &str, checked: bool) -> Result<()> {
    let Some(rest) = url.strip_prefix("http://") else {
        return if url.starts_with("https://") { Ok(()) } else { Err(failed(url, "is not https")) };
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let name = match host.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    if checked || matches!(name, "localhost" | "127.0.0.1" | "::1") {
        return Ok(());
    }
    let sentence = format_args!(
        "'{}' is without encryption: use https, or say the file's digest by --sha256",
        url.escape_debug()
    );
    Err(Failure::new(Code::Usage, sentence))
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// A strong validator: an entity tag that promises the same bytes, or else the date.
fn version(headers: &HeaderMap) -> Option<String> {
    match header(headers, "etag") {
        Some(tag) if !tag.starts_with("W/") => Some(tag),
        Some(_) => None,
        None => header(headers, "last-modified"),
    }
}

/// The hub's header for files of its large store: their SHA-256 in quotes.
fn digest_of_hub(headers: &HeaderMap) -> Option<Digest> {
    Digest::parse(header(headers, "x-linked-etag")?.trim_matches('"')).ok()
}

/// `bytes 5-9/10`: the first one, and how many there are (`*` where that is not known).
fn parse_range(range: &str) -> Option<(u64, Option<u64>)> {
    let (part, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    Some((part.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// Where a redirect leads: a whole address, or a path of the same server.
fn joined(base: &Uri, place: &str) -> String {
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let has_scheme = place.split_once("://").is_some_and(|(scheme, _)| {
        let of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        !scheme.is_empty() && scheme.bytes().all(of_scheme)
    });
    if has_scheme {
        place.to_owned()
    } else if place.starts_with("//") {
        format!("{scheme}:{place}")
    } else if place.starts_with('/') {
        format!("{scheme}://{authority}{place}")
    } else if place.starts_with('?') {
        format!("{scheme}://{authority}{}{place}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{place}")
    }
}

fn failed(url: impl std::fmt::Display, why: impl std::fmt::Display) -> Failure {
    let url = url.to_string();
    // A signature behind the question mark is nobody's business.
    let url = url.split('?').next().unwrap_or_default();
    Failure::new(Code::Io, format_args!("{}: {why}", url.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_browsers_go() {
        let base: Uri = "https://a.example/x/y?z".parse().unwrap();
        for (place, expected) in [
            ("https://b.example/q", "https://b.example/q"),
            ("//b.example/q", "https://b.example/q"),
            ("/q?s", "https://a.example/q?s"),
            ("q", "https://a.example/x/q"),
            ("/q?from=https://b.example/r", "https://a.example/q?from=https://b.example/r"),
            ("?s", "https://a.example/x/y?s"),
        ] {
            assert_eq!(joined(&base, place), expected);
        }
    }

    #[test]
    fn open_transport_is_for_this_machine_or_a_known_digest() {
        for url in [
            "https://a.example/f",
            "http://127.0.0.1:80/f",
            "http://[::1]:80/f",
            "http://localhost/f",
        ] {
            assert!(check_transport(url, false).is_ok(), "{url}");
        }
        for url in
            ["http://a.example/f", "http://127.0.0.1.example/f", "http://localhost@a.example/f"]
        {
            assert!(check_transport(url, false).is_err(), "{url}");
            assert!(check_transport(url, true).is_ok(), "{url}");
        }
        assert!(check_transport("file:///f", true).is_err());
    }

    #[test]
    fn the_token_is_for_the_hub_alone() {
        let hub = Some("https://hub.example");
        assert!(belongs_to("https://hub.example/o/r/resolve/main/f", hub));
        assert!(belongs_to("https://hub.example/f", Some("https://hub.example/")));
        assert!(belongs_to("http://localhost:80/f", Some("http://localhost:80")));
        for url in ["https://store.example/f", "https://hub.example.org/f", "https://hub.example"] {
            assert!(!belongs_to(url, hub), "{url}");
        }
        assert!(
            !belongs_to("http://hub.example/f", Some("http://hub.example")),
            "anybody reads it"
        );
        assert!(!belongs_to("https://hub.example/f", None));
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(parse_range("5-9/10"), None);
    }
}
