//! GBNF, the grammars of llama.cpp, in llguidance's form of Lark.
//!
//! What GBNF is was read from its description (llama.cpp, grammars/README.md); nothing is copied.
//!
//! ```text
//! root  ::= "yes" | "no" [!.]? | list     # a comment
//! list  ::= "(" root ("," root)* ")"
//! ```
//!
//! llguidance first cuts a text into lexemes, each of them a regular expression, and then parses these.
//! Rules that do not refer to themselves are regular, so each becomes a terminal; what is left are rules
//! over terminals. In a rule, regular neighbours become one terminal. A terminal takes as much of a text as
//! it can, so a grammar that needs it to take less allows less text than in llama.cpp, never more.

mod read;
mod regular;
mod write;

use std::fmt;

use read::Parser;
use write::Writer;

/// What is wrong with a grammar, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    line: usize,
    what: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

type Result<T> = std::result::Result<T, Error>;

/// A part of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// These characters, one after the other.
    Literal(String),
    /// One character of these ranges, or of all others.
    Class { ranges: Vec<(char, char)>, negated: bool },
    /// Any character.
    Any,
    /// What this rule says.
    Rule(usize),
    /// One after the other.
    Sequence(Vec<Node>),
    /// One of them.
    Choice(Vec<Node>),
    /// So many times.
    Repeat(Box<Node>, u32, Option<u32>),
}

/// A grammar as Lark.
pub fn to_lark(text: &str) -> Result<String> {
    let rules = Parser::new(text).grammar()?;
    let regular = regular::rules(&rules)?;
    Ok(Writer::new(&rules, regular).write())
}

/// A rule: its name, where it was first named, and what it says once that is known.
#[derive(Debug)]
struct Rule {
    name: String,
    line: usize,
    body: Option<Node>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        to_lark(text).unwrap_err().to_string()
    }

    #[test]
    fn regular_rules_are_terminals() {
        assert_eq!(to_lark("root ::= \"a\" [b-d]").unwrap(), "R0: /a/ /[b-d]/\nstart: R0\n");
        let list =
            to_lark("item ::= [0-9]+\nroot ::= item | \"(\" item \" \" root \")\" # a list\n");
        let lines = ["T2: /\\x{28}/ R1 /\\x{20}/", "t1: T2 r0 /\\x{29}/", "r0: t1 | R1"];
        let expected = format!("{}\nR1: /[0-9]/+\nstart: r0\n", lines.join("\n"));
        assert_eq!(sorted(&list.unwrap()), sorted(&expected));
    }

    fn sorted(text: &str) -> Vec<&str> {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn line_ends_end_rules_but_not_groups() {
        let one = to_lark("root ::= (\n\"a\" |\n\"b\"\n) c |\n \"d\"\nc ::=\n  \"c\"").unwrap();
        let other = to_lark("root ::= (\"a\" | \"b\") c | \"d\"\nc ::= \"c\"").unwrap();
        assert_eq!(one, other);
        assert_eq!(to_lark("root ::= | \"a\"").unwrap(), "T1: \"\"\nR0: T1 | /a/\nstart: R0\n");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(error("root ::= a\n\nb ::= \"b\""), "line 1: there is no rule 'a'");
        assert_eq!(error("a ::= \"b\""), "line 1: there is no rule 'root'");
        assert_eq!(error("root ::= \"a"), "line 1: '\"' is missing");
        assert_eq!(error("root ::= [a"), "line 1: ']' is missing");
        assert_eq!(error("root ::= \"a\"\nroot ::= \"b\""), "line 2: there are two rules 'root'");
        assert_eq!(error("root ::= (\"a\""), "line 1: ')' is missing");
        assert_eq!(error("root ::= \"\\q\""), "line 1: an unknown escape");
        assert!(error("root ::= \"\\ud800\"").contains("hexadecimal"));
        assert!(error("root ::= \"a\"{1000000000}").contains("repetitions up to"));
        assert!(error("root ::= \"a\"{3,2}").contains("before its beginning"));
        assert!(error("").contains("no rule 'root'"));
        assert!(error("root = \"a\"").contains("'::='"));
        assert!(error("root ::= \"a\" )").contains("ends with its line"));
    }

    #[test]
    fn case_405_depth_is_limited() {
        let deep = format!("root ::= {}\"a\"{}", "(".repeat(60_000), ")".repeat(60_000));
        assert!(error(&deep).contains("groups"));
        assert!(error(&format!("root ::= \"a\"{}", "*".repeat(60_000))).contains("repetitions"));
        let mut chain = String::from("root ::= r0\n");
        for i in 0..5000 {
            chain += &format!("r{i} ::= r{} | \"a\"\n", i + 1);
        }
        assert!(error(&(chain.clone() + "r5000 ::= \"b\"")).contains("chain"));
        assert!(error(&(chain + "r5000 ::= root")).contains("chain"));
    }
}
