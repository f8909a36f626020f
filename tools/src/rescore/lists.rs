//! n-best lists and references, as they are read.

use std::collections::HashMap;

use crate::failure::{Code, Failure, Result};

/// What a recogniser, translator or corrector offers for one signal.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// Its name.
    pub id: String,
    /// In the order of the file; at least one.
    pub hypotheses: Vec<Hypothesis>,
}

/// One text that the signal may stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// The text.
    pub text: String,
    /// log p(signal | text), as the channel has it.
    pub channel: f64,
}

/// Lines of `id TAB text TAB channel log-score`. Lines with one id are a list, wherever they stand;
/// empty lines are skipped.
pub fn parse_lists(text: &[u8]) -> Result<Vec<List>> {
    let mut lists: Vec<List> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (number, line) in lines(text) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, text, channel] = fields[..] else {
            let sentence = format_args!("line {number} is not: id TAB text TAB channel log-score");
            return Err(Failure::new(Code::Text, sentence));
        };
        let channel = channel.trim().parse().ok().filter(|score: &f64| score.is_finite());
        let channel = channel.ok_or_else(|| {
            let sentence = format_args!("line {number}: the channel's log-score is not a number");
            Failure::new(Code::Text, sentence)
        })?;
        let place = *places.entry(id.to_string()).or_insert(lists.len());
        if place == lists.len() {
            lists.push(List { id: id.to_string(), hypotheses: Vec::new() });
        }
        lists[place].hypotheses.push(Hypothesis { text: text.to_string(), channel });
    }
    match lists.is_empty() {
        true => Err(Failure::new(Code::Text, "there is no list to rescore")),
        false => Ok(lists),
    }
}

/// Lines of `id TAB text`: the right text of each list. Of several lines with one id the last counts.
pub fn parse_references(text: &[u8]) -> Result<HashMap<String, String>> {
    let pairs = lines(text).map(|(number, line)| {
        let pair = line.split_once('\t').filter(|(_, text)| !text.contains('\t'));
        let (id, text) = pair.ok_or_else(|| {
            let sentence = format_args!("references, line {number} is not: id TAB text");
            Failure::new(Code::Text, sentence)
        })?;
        Ok((id.to_string(), text.to_string()))
    });
    pairs.collect()
}

/// Lines that are not empty, with their numbers. What is not UTF-8 becomes U+FFFD.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, String)> + '_ {
    (1..).zip(text.split(|&byte| byte == b'\n')).filter_map(|(number, line)| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!line.is_empty()).then(|| (number, String::from_utf8_lossy(line).into_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_one_id_are_a_list() {
        let text = b"b\tone\t-1\n\na\tx y\t-2.5e0\r\nb\ttwo\t 3 \nb\t\t0";
        let lists = parse_lists(text).unwrap();
        let names: Vec<(&str, usize)> =
            lists.iter().map(|list| (list.id.as_str(), list.hypotheses.len())).collect();
        assert_eq!(names, [("b", 3), ("a", 1)]);
        assert_eq!(lists[1].hypotheses[0], Hypothesis { text: "x y".into(), channel: -2.5 });
        assert_eq!(lists[0].hypotheses[1].channel, 3.0);
        assert_eq!(lists[0].hypotheses[2].text, "");
    }

    #[test]
    fn lines_of_another_form_are_named() {
        for (text, place) in [
            ("a\tb", "line 1 "),
            ("a\tb\t1\na\tb\t1\t2", "line 2 "),
            ("a\tb\tx", "line 1:"),
            ("a\tb\tinf", "line 1:"),
            ("a\tb\tnan", "line 1:"),
            ("\n\n", "no list"),
        ] {
            let failure = parse_lists(text.as_bytes()).unwrap_err();
            assert_eq!(failure.code, Code::Text);
            assert!(failure.message.contains(place), "{failure:?}");
        }
        assert!(parse_references(b"a\tb\tc").is_err() && parse_references(b"a").is_err());
        let found = parse_references(b"a\tthe cat\nb\t\na\tthe dog\n").unwrap();
        assert_eq!((found["a"].as_str(), found["b"].as_str()), ("the dog", ""));
    }
}
