//! Rules as Lark.

use std::fmt::Write as _;

use super::{Node, Rule};

/// On its way through the rules.
pub(super) struct Writer<'r> {
    rules: &'r [Rule],
    regular: Vec<bool>,
    definitions: String,
    n: usize,
}

impl<'r> Writer<'r> {
    /// `regular`: which rules are.
    pub fn new(rules: &'r [Rule], regular: Vec<bool>) -> Self {
        Writer { rules, regular, definitions: String::new(), n: 0 }
    }

    /// All rules, and the start.
    pub fn write(mut self) -> String {
        for (id, rule) in self.rules.iter().enumerate() {
            let Some(body) = &rule.body else { continue };
            let name = self.rule_name(id);
            self.define(&name, body);
        }
        let root = self.rule_name(0);
        let _ = writeln!(self.definitions, "start: {root}");
        self.definitions
    }

    fn rule_name(&self, id: usize) -> String {
        if self.regular[id] { format!("R{id}") } else { format!("r{id}") }
    }

    fn is_regular(&self, node: &Node) -> bool {
        match node {
            Node::Rule(id) => self.regular[*id],
            Node::Sequence(nodes) | Node::Choice(nodes) => {
                nodes.iter().all(|node| self.is_regular(node))
            }
            Node::Repeat(inner, ..) => self.is_regular(inner),
            Node::Literal(_) | Node::Class { .. } | Node::Any => true,
        }
    }

    /// Writes a definition, after those that it needs.
    fn define(&mut self, name: &str, node: &Node) {
        let body = match node {
            Node::Choice(choices) => {
                let choices = self.joined(choices, Node::Choice, true);
                choices.iter().map(|choice| self.atom(choice)).collect::<Vec<_>>().join(" | ")
            }
            Node::Sequence(items) if items.is_empty() => "\"\"".to_string(),
            Node::Sequence(items) => {
                let items = self.joined(items, Node::Sequence, false);
                items.iter().map(|item| self.atom(item)).collect::<Vec<_>>().join(" ")
            }
            Node::Repeat(inner, least, most) => {
                let atom = self.atom(inner);
                match (least, most) {
                    (0, None) => format!("{atom}*"),
                    (1, None) => format!("{atom}+"),
                    (0, Some(1)) => format!("{atom}?"),
                    (_, Some(0)) => "\"\"".to_string(),
                    (least, None) => format!("{atom}{{{least},}}"),
                    (least, Some(most)) => format!("{atom}{{{least},{most}}}"),
                }
            }
            leaf => self.atom(leaf),
        };
        let _ = writeln!(self.definitions, "{name}: {body}");
    }

    /// The nodes, with regular neighbours (or all regular ones, where the order does not matter) as one.
    fn joined(
        &self,
        nodes: &[Node],
        join: impl Fn(Vec<Node>) -> Node,
        any_order: bool,
    ) -> Vec<Node> {
        if nodes.iter().all(|node| self.is_regular(node)) {
            return nodes.to_vec();
        }
        let mut all: Vec<Node> = Vec::new();
        let mut run: Vec<Node> = Vec::new();
        let flush = |run: &mut Vec<Node>, all: &mut Vec<Node>| match run.len() {
            0 => {}
            1 => all.append(run),
            _ => all.push(join(std::mem::take(run))),
        };
        for node in nodes {
            if self.is_regular(node) {
                run.push(node.clone());
                continue;
            }
            if !any_order {
                flush(&mut run, &mut all);
            }
            all.push(node.clone());
        }
        flush(&mut run, &mut all);
        all
    }

    /// What stands for a node in a definition: a name, or an expression of one character or several.
    fn atom(&mut self, node: &Node) -> String {
        match node {
            Node::Literal(text) if text.is_empty() => "\"\"".to_string(),
            Node::Literal(text) => {
                let text: String = text.chars().map(escaped).collect();
                format!("/{text}/")
            }
            Node::Class { ranges, negated } => {
                let mut class = if *negated { "/[^".to_string() } else { "/[".to_string() };
                for &(first, last) in ranges {
                    class.push_str(&escaped(first));
                    if last > first {
                        let _ = write!(class, "-{}", escaped(last));
                    }
                }
                class + "]/"
            }
            Node::Any => "/(?s:.)/".to_string(),
            Node::Rule(id) => self.rule_name(*id),
            Node::Sequence(_) | Node::Choice(_) | Node::Repeat(..) => {
                self.n += 1;
                let name = format!("{}{}", if self.is_regular(node) { 'T' } else { 't' }, self.n);
                self.define(&name, node);
                name
            }
        }
    }
}

/// A character in a regular expression.
fn escaped(c: char) -> String {
    if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\x{{{:x}}}", u32::from(c)) }
}
