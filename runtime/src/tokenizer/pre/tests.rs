//! Every rule set against its regular expressions, run by another engine.

use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use fancy_regex::Regex;

use super::*;

fn words<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
    let mut cutter = PreTokenizer::by_name(name).unwrap().cutter();
    let mut words = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = cutter.word_end(text.as_bytes(), start);
        words.push(&text[start..end]);
        start = end;
    }
    words
}

#[test]
fn gpt2_rules() {
    let text = "I'll  say 'HELLO'S' 1234\n\n x\t\n";
    let expected = ["I", "'ll", " ", " say", " '", "HELLO", "'", "S", "'", " 1234", "\n\n", " x"];
    assert_eq!(words("gpt-2", text), [&expected[..], &["\t\n"]].concat());
}

#[test]
fn digits_stand_alone() {
    assert_eq!(words("smollm", "a 12  3x\t4"), ["a", " ", "1", "2", "  ", "3", "x", "\t", "4"]);
    assert_eq!(words("smollm", "½² 1"), ["½", "²", " ", "1"]);
}

#[test]
fn llama3_rules() {
    let text = "I'LLx 12345 .\n\n\"a\t\tb  \n \n  c!";
    let expected = [
        "I", "'LL", "x", " ", "123", "45", " .\n\n", "\"a", "\t", "\tb", "  \n \n", " ", " c", "!",
    ];
    assert_eq!(words("llama-bpe", text), expected);
    assert_eq!(words("qwen2", "x12"), ["x", "1", "2"]);
    assert_eq!(words("qwen2", "a'\u{17F}b"), ["a", "'\u{17F}", "b"]);
}

#[test]
fn words_end_before_capitals() {
    let text = "camelCase HTTPServer's ÉcoleʰX x/\n/y";
    let expected = ["camel", "Case", " HTTPServer's", " Écoleʰ", "X", " x", "/\n/", "y"];
    assert_eq!(words("gpt-4o", text), expected);
}

#[test]
fn numbers_in_threes_from_the_right() {
    assert_eq!(words("tiny_aya", "1234567 12ab"), ["1", "234", "567", " ", "12", "ab"]);
    assert_eq!(words("superbpe", "x1234567"), ["x", "1", "234", "567"]);
    assert_eq!(words("minicpm5", "1234567"), ["123", "456", "7"]);
}

/// Bytes that stand for ¼ in Latin-1 are numbers after they became characters.
#[test]
fn falcon_cuts_between_bytes() {
    let mut cutter = PreTokenizer::by_name("falcon").unwrap().cutter();
    let text = "für 12345".as_bytes();
    let mut ends = vec![];
    let mut at = 0;
    while at < text.len() {
        at = cutter.word_end(text, at);
        ends.push(at);
    }
    assert_eq!(ends, [2, 3, 4, 5, 8, 10]);
}

#[test]
fn names_are_known_once() {
    let names: Vec<&str> = LIST.iter().flat_map(|pre| pre.names).copied().collect();
    for (at, name) in names.iter().enumerate() {
        assert!(!names[..at].contains(name), "{name}");
        assert!(LIST.iter().all(|pre| pre.steps.len() <= MAX_STEPS && !pre.steps.is_empty()));
    }
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const START: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+";
const REST: &str = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const PUNCTUATED: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"##;
const BLOOM: &str = " ?[^(\\s|.,!?…。，、।۔،)]+";
const EAST_ASIAN: &str = "[一-龥ぁ-ゟ゠-ヿ\u{3040}]+";

/// GPT-4o's expression, with what is intersected with its letters.
fn cased(and: &str, contraction: &str, numbers: &str, tail: &str) -> String {
    let upper = format!(r"[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}{and}]");
    let lower = format!(r"[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}{and}]");
    let prefix = r"[^\r\n\p{L}\p{N}]?";
    format!(
        r"{prefix}{upper}*{lower}+{contraction}|{prefix}{upper}+{lower}*{contraction}|{numbers}| ?[^\s\p{{L}}\p{{N}}]+{tail}|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

/// The expressions of a rule set, in the order in which they cut.
fn expressions(name: &str) -> Vec<String> {
    let llama3 = format!(r"{START}|\p{{N}}{{1,3}}{REST}");
    let qwen2 = format!(r"{START}|\p{{N}}{REST}");
    let ends = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
    let punctuated = format!(r"{PUNCTUATED}[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+");
    let all = |list: &[&str]| list.iter().map(|text| String::from(*text)).collect::<Vec<_>>();
    match name {
        "gpt-2" | "olmo" => all(&[GPT2]),
        "smollm" | "command-r" => all(&[r"\p{N}", GPT2]),
        "llama-bpe" | "dbrx" | "glm4" => vec![llama3],
        "qwen2" | "stablelm2" => vec![qwen2],
        "bailingmoe" => all(&[r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"]),
        "qwen35" => all(&[r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]),
        "seed-coder" => vec![format!(r"{START}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+")],
        "ufakzeka" => vec![format!(r"[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{REST}")],
        "exaone-moe" => all(&[r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"]),
        "laguna" => vec![r"[^\n]+|[\n]+".into(), qwen2],
        "minicpm5" => vec![r"\p{N}{1,3}".into(), format!(r"{START}|\p{{N}}+{REST}")],
        "jais-2" => vec![format!(r"{START}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s{{512}}(?!\S)|\s{{256}}(?!\S)|\s{{128}}(?!\S)|\s{{64}}(?!\S)|\s{{32}}(?!\S)|\s{{16}}(?!\S)|\s{{8}}(?!\S)|\s{{4}}(?!\S)|\s{{1,2}}(?!\S)|\s{{1}}")],
        "gpt-4o" | "granite-embed-multi-97m" => vec![cased("", ends, r"\p{N}{1,3}", r"[\r\n/]*")],
        "tekken" => vec![cased("", "", r"\p{N}", r"[\r\n/]*")],
        "kimi-k2" => vec![format!(r"[\p{{Han}}]+|{}", cased(r"&&[^\p{Han}]", ends, r"\p{N}{1,3}", r"[\r\n]*"))],
        "tiny_aya" => vec![
            r"\d{1,3}(?=(?:\d{3})*\b)".into(),
            cased("", ends, r"\p{N}{1,3}", r"[\r\n/]*"),
        ],
        "youtu" => vec![
            format!("[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|{EAST_ASIAN}"),
            cased("", ends, r"\p{N}", r"[\r\n/]*"),
        ],
        "deepseek-v3" => vec![r"\p{N}{1,3}".into(), EAST_ASIAN.into(), punctuated],
        "spark2_5" => vec![
            r"\p{N}{1,3}".into(),
            EAST_ASIAN.into(),
            format!(r"{PUNCTUATED}|[\r\n]|\s+(?!\S)|\s+"),
            r"\p{N}".into(),
        ],
        "afmoe" => vec![
            r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))".into(),
            "[一-鿿㐀-䶿豈-\u{FAFF}\u{3040}-ゟ゠-ヿ･-ﾟ⼀-\u{2FDF}เ-\u{E7F}\u{E80}-\u{EFF}ក-\u{17FF}က-႟ꩠ-ꩿꧠ-\u{A9FF}가-\u{D7AF}ᄀ-ᇿ]+".into(),
            punctuated,
        ],
        "deepseek-llm" => vec![
            r"[\r\n]".into(),
            format!(r"\s?[{DEEPSEEK_LETTERS}]+"),
            r"\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+".into(),
            r"\s+$".into(),
            "[一-龥\u{800}-一가-\u{D7FF}]+".into(),
            r"\p{N}".into(),
        ],
        "deepseek-coder" => all(&[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥\u{800}-一가-\u{D7FF}]+", r"\p{N}"]),
        "default" => all(&[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]),
        "bloom" => all(&[BLOOM]),
        "viking" => all(&[BLOOM, r"\p{N}"]),
        "superbpe" => all(&[r"\p{N}+", r"(?=(\d{3})+(?!\d))"]),
        "chameleon" => all(&[
            "<sentinel:[0-9]+>",
            "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
            "([\\t\\n]|    |  )",
            r"\p{N}",
            r"[\p{P}!-/:-@\[-`{-~]",
            GPT2,
        ]),
        _ => Vec::new(),
    }
}

const DEEPSEEK_LETTERS: &str = concat!(
    r"A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}",
    r"\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}",
    r"\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}",
    r"\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}",
    r"\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}",
    r"\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}",
    r"\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}",
    r"\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}",
    r"\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}",
    r"\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}",
    r"\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}",
    r"\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}",
    r"\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}",
    r"\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}",
    r"\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}",
    r"\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}",
    r"\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}",
    r"\x{1E900}-\x{1E943}",
);

/// Cuts a text by expressions one after another: what is found stands alone, and what is between.
fn split<'t>(regexes: &[Regex], text: &'t str) -> Vec<&'t str> {
    let mut parts = vec![text];
    for regex in regexes {
        let mut cut = Vec::new();
        for part in parts {
            let mut done = 0;
            for found in regex.find_iter(part) {
                let found = found.unwrap();
                cut.extend([&part[done..found.start()], &part[found.start()..found.end()]]);
                done = found.end();
            }
            cut.push(&part[done..]);
        }
        cut.retain(|part| !part.is_empty());
        parts = cut;
    }
    parts
}

/// Random characters and strings that rules speak of.
fn random_text(random: &mut impl FnMut(usize) -> usize) -> String {
    const STRINGS: [&str; 48] = [
        " ", " ", " ", "  ", "\n", "\r", "\t", "\u{A0}", "\u{3000}", "'s", "'LL", "'re", "'", "a",
        "b", "A", "Bc", "é", "É", "ǅ", "ʰ", "中", "文", "ひ", "カ", "한", "ㄅ", "\u{301}",
        "\u{94D}", "1", "23", "456", "½", "٣", "Ⅷ", "/", ".", ",", "!", "(", "|", "…", "。", "$",
        "_", "\u{200D}", "\u{1}", "😀",
    ];
    const LONG: [&str; 4] = ["<sentinel:12>", "IMGIMGABCZ", "        ", "1234567"];
    let mut text = String::new();
    for _ in 0..random(24) {
        match random(24) {
            0 => text.extend(char::from_u32(random(0x3000) as u32)),
            1 => text.extend(char::from_u32(random(0x110000) as u32)),
            2 => text.push_str(LONG[random(LONG.len())]),
            _ => text.push_str(STRINGS[random(STRINGS.len())]),
        }
    }
    text
}

#[test]
fn every_rule_set_cuts_as_its_expressions_do() {
    let mut state = 5u64;
    let mut random = |limit: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % limit
    };
    for pre in LIST {
        let name = pre.name();
        let expressions = expressions(name);
        // Falcon's last steps are about bytes.
        if name == "falcon" {
            continue;
        }
        assert!(!expressions.is_empty(), "{name}");
        let regexes: Vec<Regex> =
            expressions.iter().map(|text| Regex::new(text).unwrap()).collect();
        for _ in 0..1500 {
            let text = random_text(&mut random);
            assert_eq!(words(name, &text), split(&regexes, &text), "{name}: {text:?}");
        }
    }
}

/// Runs of everything that rules look ahead over, of half a megabyte.
#[test]
fn time_is_linear() {
    let units = [
        " ", "\n", "a", "A", "ʰA", "1", "!", "'", "\u{1}", "\u{301}", "中", "½1", "a ", " \n",
        "1a", "123a",
    ];
    for pre in LIST {
        for unit in units {
            let text = unit.repeat((1 << 16) / unit.len());
            let start = std::time::Instant::now();
            let mut cutter = pre.cutter();
            let mut at = 0;
            while at < text.len() {
                at = cutter.word_end(text.as_bytes(), at);
            }
            assert!(start.elapsed().as_secs() < 5, "{}: {unit:?}", pre.name());
        }
    }
}
