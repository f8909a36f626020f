//! A grammar's text as rules.

use std::collections::HashMap;

use super::{Error, Node, Result, Rule};

/// Groups in groups.
const MAX_DEPTH: usize = 64;
/// Repetitions that a grammar may ask for.
const MAX_REPEAT: u32 = 100_000;

/// On its way through a text.
pub(super) struct Parser<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    rules: Vec<Rule>,
    names: HashMap<&'t str, usize>,
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

impl<'t> Parser<'t> {
    /// Before the first rule.
    pub fn new(text: &'t str) -> Self {
        Parser { text, at: 0, line: 1, rules: Vec::new(), names: HashMap::new() }
    }

    /// All rules, `root` first; every name has one.
    pub fn grammar(mut self) -> Result<Vec<Rule>> {
        self.blanks(true);
        while self.peek().is_some() {
            let id = self.name()?;
            self.blanks(false);
            if !self.take("::=") {
                return self.wrong("'::=' is missing after the rule's name");
            }
            self.blanks(true);
            let body = self.choice(0)?;
            if self.rules[id].body.replace(body).is_some() {
                let name = &self.rules[id].name;
                return self.wrong(format!("there are two rules '{name}'"));
            }
            if !matches!(self.peek(), None | Some('\n' | '\r')) {
                return self.wrong("a rule ends with its line");
            }
            self.blanks(true);
        }
        for rule in &self.rules {
            if rule.body.is_none() {
                let what = format!("there is no rule '{}'", rule.name);
                return Err(Error { line: rule.line, what });
            }
        }
        match self.names.get("root") {
            Some(&root) => {
                self.rules.swap(0, root);
                let swapped = |id: usize| match id {
                    0 => root,
                    id if id == root => 0,
                    id => id,
                };
                for rule in &mut self.rules {
                    rule.body.iter_mut().for_each(|body| renumber(body, &swapped));
                }
                Ok(self.rules)
            }
            None => Err(Error { line: 1, what: "there is no rule 'root'".to_string() }),
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn take(&mut self, what: &str) -> bool {
        let is_there = self.text[self.at..].starts_with(what);
        if is_there {
            self.at += what.len();
        }
        is_there
    }

    /// Passes blanks and comments, and line ends where they mean nothing.
    fn blanks(&mut self, newlines: bool) {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' => {}
                '\n' | '\r' if newlines => {}
                '#' => {
                    while !matches!(self.peek(), None | Some('\n' | '\r')) {
                        self.next();
                    }
                    continue;
                }
                _ => return,
            }
            self.next();
        }
    }

    fn wrong<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(Error { line: self.line, what: what.into() })
    }

    /// A rule's name; the rule may come later.
    fn name(&mut self) -> Result<usize> {
        let rest = &self.text[self.at..];
        let len = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        if len == 0 {
            let found = self.peek().map_or("the end".to_string(), |c| format!("{c:?}"));
            return self.wrong(format!("a rule's name was expected, not {found}"));
        }
        let name = &rest[..len];
        self.at += len;
        if let Some(&id) = self.names.get(name) {
            return Ok(id);
        }
        self.rules.push(Rule { name: name.to_string(), line: self.line, body: None });
        self.names.insert(name, self.rules.len() - 1);
        Ok(self.rules.len() - 1)
    }

    fn choice(&mut self, depth: usize) -> Result<Node> {
        let mut choices = vec![self.sequence(depth)?];
        while self.take("|") {
            self.blanks(true);
            choices.push(self.sequence(depth)?);
        }
        Ok(if choices.len() == 1 { choices.remove(0) } else { Node::Choice(choices) })
    }

    fn sequence(&mut self, depth: usize) -> Result<Node> {
        let mut items = Vec::new();
        while let Some(c) = self.peek() {
            let item = match c {
                '"' => self.literal()?,
                '[' => self.class()?,
                '.' => {
                    self.next();
                    Node::Any
                }
                '(' => {
                    if depth == MAX_DEPTH {
                        return self.wrong(format!("more than {MAX_DEPTH} groups in each other"));
                    }
                    self.next();
                    self.blanks(true);
                    let inner = self.choice(depth + 1)?;
                    if !self.take(")") {
                        return self.wrong("')' is missing");
                    }
                    inner
                }
                '<' | '!' => return self.wrong("tokens by name or number are not supported"),
                c if is_name(c) => Node::Rule(self.name()?),
                _ => break,
            };
            self.blanks(depth > 0);
            items.push(self.repeat(item, depth)?);
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Node::Sequence(items) })
    }

    /// The item as many times as is written behind it.
    fn repeat(&mut self, mut item: Node, depth: usize) -> Result<Node> {
        loop {
            let (least, most) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    self.next();
                    self.bounds()?
                }
                _ => return Ok(item),
            };
            self.next();
            self.blanks(depth > 0);
            if matches!(item, Node::Repeat(..)) && nesting(&item) > MAX_DEPTH {
                return self.wrong(format!("more than {MAX_DEPTH} repetitions of each other"));
            }
            item = Node::Repeat(Box::new(item), least, most);
        }
    }

    /// `3}`, `3,}` or `3,5}`, up to the brace.
    fn bounds(&mut self) -> Result<(u32, Option<u32>)> {
        self.blanks(false);
        let least = self.number()?;
        self.blanks(false);
        let most = if self.take(",") {
            self.blanks(false);
            if self.peek() == Some('}') { None } else { Some(self.number()?) }
        } else {
            Some(least)
        };
        self.blanks(false);
        if self.peek() != Some('}') {
            return self.wrong("'}' is missing");
        }
        if most.is_some_and(|most| most < least) {
            return self.wrong("a repetition's end is before its beginning");
        }
        Ok((least, most))
    }

    fn number(&mut self) -> Result<u32> {
        let rest = &self.text[self.at..];
        let len = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..len].parse().ok().filter(|&number| number <= MAX_REPEAT);
        self.at += len;
        match number {
            Some(number) => Ok(number),
            None => self.wrong(format!("a number of repetitions up to {MAX_REPEAT} was expected")),
        }
    }

    fn literal(&mut self) -> Result<Node> {
        self.next();
        let mut text = String::new();
        loop {
            match self.peek() {
                None | Some('\n') => return self.wrong("'\"' is missing"),
                Some('"') => break,
                _ => text.push(self.character()?),
            }
        }
        self.next();
        Ok(Node::Literal(text))
    }

    fn class(&mut self) -> Result<Node> {
        self.next();
        let negated = self.take("^");
        let mut ranges = Vec::new();
        loop {
            match self.peek() {
                None | Some('\n') => return self.wrong("']' is missing"),
                Some(']') => break,
                _ => {}
            }
            let first = self.character()?;
            let is_range =
                self.text[self.at..].starts_with('-') && !self.text[self.at + 1..].starts_with(']');
            let last = if is_range {
                self.next();
                self.character()?
            } else {
                first
            };
            if last < first {
                return self.wrong("a range's end is before its beginning");
            }
            ranges.push((first, last));
        }
        self.next();
        if ranges.is_empty() && !negated {
            return self.wrong("a class without characters");
        }
        Ok(if ranges.is_empty() { Node::Any } else { Node::Class { ranges, negated } })
    }

    /// A character, or what an escape stands for.
    fn character(&mut self) -> Result<char> {
        match self.next() {
            Some('\\') => {}
            Some(c) => return Ok(c),
            None => return self.wrong("the grammar ends here"),
        }
        let digits = match self.next() {
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some(c @ ('\\' | '"' | '[' | ']' | '-' | '^' | '\'' | '/' | '.')) => return Ok(c),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => return self.wrong("an unknown escape"),
        };
        let code = self.text.get(self.at..self.at + digits);
        let code = code.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = code.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        match code.and_then(char::from_u32) {
            Some(c) => {
                self.at += digits;
                Ok(c)
            }
            None => self.wrong(format!("{digits} hexadecimal digits of a character were expected")),
        }
    }
}

/// Repetitions of repetitions.
fn nesting(mut node: &Node) -> usize {
    let mut n = 0;
    while let Node::Repeat(inner, ..) = node {
        (node, n) = (inner, n + 1);
    }
    n
}

fn renumber(node: &mut Node, number: &impl Fn(usize) -> usize) {
    match node {
        Node::Rule(id) => *id = number(*id),
        Node::Sequence(nodes) | Node::Choice(nodes) => {
            nodes.iter_mut().for_each(|node| renumber(node, number));
        }
        Node::Repeat(inner, ..) => renumber(inner, number),
        Node::Literal(_) | Node::Class { .. } | Node::Any => {}
    }
}
