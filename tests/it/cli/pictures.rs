//! Pictures of a scored text. What they look like is tested where they are drawn.

use std::fs;

use super::*;

fn place(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path.into_os_string().into_string().unwrap()
}

#[test]
fn a_page_and_a_drawing_are_written_and_kept() {
    let (model, known) = baseline();
    let ids = joined(&known["prompt_ids"]);
    let (html, svg) = (place("picture.html"), place("picture.svg"));
    let plain = mote(&["score", "-m", &model, "--ids", &ids, "--json"]).json();
    let args = ["score", "-m", &model, "--ids", &ids, "--html", &html, "--svg", &svg, "--json"];
    assert_eq!(mote(&args).json(), plain, "a picture changes nothing");
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    let scored = plain["logprobs"].as_array().unwrap().len();
    assert!(page.matches("data-d=").count() >= scored, "every scored token tells its own");
    let drawing = fs::read_to_string(&svg).unwrap();
    assert!(drawing.starts_with("<svg ") && drawing.ends_with("</svg>\n"));

    fs::write(&html, "mine").unwrap();
    let refused = mote(&args);
    assert_eq!(refused.code, 1);
    assert!(refused.out.contains("--force"), "{}", refused.out);
    assert_eq!(fs::read_to_string(&html).unwrap(), "mine");
    assert_eq!(mote(&[&args[..], &["--force"]].concat()).code, 0);
    assert_eq!(fs::read_to_string(&html).unwrap(), page);
    let sums = mote(&["score", "-m", &model, "--ids", &ids, "--html", &html, "--force"]);
    assert_eq!(sums.text().lines().count(), 4, "{}", sums.out);
}

#[test]
fn heat_has_marks_where_there_are_no_colours() {
    let (model, known) = baseline();
    let ids = joined(&known["prompt_ids"]);
    let heat = mote(&["score", "-m", &model, "--ids", &ids, "--heat"]);
    assert!(heat.text().contains("surprisal in bits") && !heat.out.contains('\x1b'));
    assert!(heat.out.contains(['¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹']), "{}", heat.out);
    assert_eq!(mote(&["score", "-m", &model, "--ids", &ids, "--heat", "--json"]).code, 2);
}
