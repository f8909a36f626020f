use super::colours::{STEPS, level, range};
use super::text::{Token, lines, visible};
use super::*;

fn token(text: &str, bits: Option<f64>) -> Token {
    let thought = bits.map(|bits| Thought {
        ln_p: -bits * core::f64::consts::LN_2,
        rank: 2,
        top: vec![(1, -0.5), (7, -1.0)],
    });
    let alternatives = vec!["<a>".to_string(), "\"&'".to_string()];
    Token { id: 7, text: text.into(), bytes: text.len(), thought, alternatives }
}

fn picture() -> Picture {
    let tokens = vec![
        token("One", None),
        token(" <b>\u{1b}[2J", Some(3.0)),
        token("\n\n  x", Some(0.1)),
        token("\u{202e}&amp;\t\u{4e16}", Some(20.0)),
    ];
    let lines = lines(&tokens);
    let figures = Figures { nll: 16.0, tokens: 3, bytes: 20 };
    let title = "a <model> & \"more\"".to_string();
    Picture { title, subtitle: "sub".into(), figures, tokens, lines }
}

/// Every tag is closed by its own, attributes are quoted, no character is raw that must not be.
fn assert_well_formed(text: &str) {
    let text = text.strip_prefix("<!DOCTYPE html>").unwrap_or(text);
    let mut open = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        assert!(!before.contains('&') || before.split('&').skip(1).all(is_entity), "{before}");
        let (tag, after) = after.split_once('>').expect("a tag ends");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "in {tag}");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.split([' ', '/', '\n']).next().unwrap();
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(text.chars().all(|c| !c.is_control() || c == '\n'));
}

fn is_entity(text: &str) -> bool {
    ["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|entity| text.starts_with(entity))
}

#[test]
fn levels_have_names() {
    assert_eq!([level(0.0), level(0.5), level(15.9), level(1e9)], [0, 1, 8, 9]);
    assert_eq!([range(0), range(2), range(9)], ["< 0.5", "1–2", "≥ 16"]);
    assert!(STEPS.is_sorted());
    assert_eq!(level(f64::INFINITY), 9);
}

#[test]
fn a_token_over_a_line_end_is_in_both_lines() {
    let picture = picture();
    let texts: Vec<Vec<&str>> = picture
        .lines
        .iter()
        .map(|line| line.pieces.iter().map(|piece| piece.text.as_str()).collect())
        .collect();
    let expected: [&[&str]; 2] =
        [&["One", " <b>\\u{1b}[2J", "↵↵"], &["  x", "\\u{202e}&amp;⇥   \u{4e16}"]];
    assert_eq!(texts, expected);
    // The token's bits count where it begins.
    let bytes = " <b>\x1b[2J".len() + "\n\n  x".len();
    assert!((picture.lines[0].bits_per_byte().unwrap() - 3.1 / bytes as f64).abs() < 1e-12);
}

#[test]
fn files_are_well_formed_and_texts_stay_texts() {
    let picture = picture();
    let page = html::page(&picture);
    let (head, rest) = page.split_once("<style>").unwrap();
    let (_, rest) = rest.split_once("</style>").unwrap();
    let (body, script) = rest.split_once("<script>").unwrap();
    let (script, tail) = script.split_once("</script>").unwrap();
    assert_well_formed(&format!("{head}{body}{tail}"));
    assert!(!script.contains(['<', '&']), "the page is XML, too");
    let expected = "<span class=\"s4\" data-d=\"[7,&quot;␣&lt;b&gt;\\\\u{1b}[2J&quot;,0.125,3.0,2,\
                    [[&quot;&lt;a&gt;&quot;,0.6065],[&quot;\\&quot;&amp;&#39;&quot;,0.3679]]]\">\
                    \u{20}&lt;b&gt;\\u{1b}[2J</span>";
    assert!(page.contains(expected), "{page}");
    assert!(page.contains("<h1>a &lt;model&gt; &amp; &quot;more&quot;</h1>"));
    for outside in ["http:", "https:", "url(", "src=", "@import"] {
        let n = page.matches(outside).count();
        assert_eq!(n, usize::from(outside == "http:"), "{outside}: the name space alone");
    }
    let drawing = drawing::drawing(&picture);
    let (head, rest) = drawing.split_once("<style>").unwrap();
    let (_, rest) = rest.split_once("</style>").unwrap();
    assert_well_formed(&format!("{head}{rest}"));
    assert!(drawing.contains(">&lt;b&gt;\\u{1b}[2J</text>"), "{drawing}");
}

#[test]
fn colours_or_marks() {
    let shown = |paint| {
        let mut out = Vec::new();
        heat::print(&picture(), paint, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let plain = shown(crate::streams::Paint::None);
    assert!(plain.starts_with("  0.24 │ One <b>\\u{1b}[2J⁴↵↵\n"), "{plain}");
    assert!(!plain.contains('\x1b'));
    assert!(shown(crate::streams::Paint::Palette).contains("\x1b[38;5;16;48;5;221m <b>"));
    assert!(
        shown(crate::streams::Paint::True).contains("\x1b[38;2;31;35;40;48;2;255;203;110m <b>")
    );
}

#[test]
fn a_thought_by_hand() {
    let kernels = mote_kernels::arch::best();
    let p: [f32; 4] = [0.1, 0.4, 0.3, 0.2];
    let thought = Thought::new(kernels, &mut p.map(f32::ln), 3).unwrap();
    assert_eq!((thought.rank, thought.top.len()), (3, 4));
    assert!((thought.ln_p - 0.2_f64.ln()).abs() < 1e-6, "{thought:?}");
    assert_eq!(thought.top.iter().map(|top| top.0).collect::<Vec<_>>(), [1, 2, 3, 0]);
    assert!((thought.top[0].1 - 0.4_f64.ln()).abs() < 1e-6);
    assert_eq!(Thought::new(kernels, &mut [0.0; 4], 4), None);
    assert_eq!(visible(b"a b\n\t\xff"), "a␣b↵⇥\\xff");
}
