//! Which rules are regular.

use super::{Error, Node, Result, Rule};

/// Rules that refer to rules that refer to rules.
const MAX_CHAIN: usize = 500;

fn references(node: &Node, to: &mut Vec<usize>) {
    match node {
        Node::Rule(id) => to.push(*id),
        Node::Sequence(nodes) | Node::Choice(nodes) => {
            nodes.iter().for_each(|node| references(node, to));
        }
        Node::Repeat(inner, ..) => references(inner, to),
        Node::Literal(_) | Node::Class { .. } | Node::Any => {}
    }
}

/// Which rules neither refer to themselves nor to such as do. The longest chain of references without a
/// circle must not be too long.
pub(super) fn rules(rules: &[Rule]) -> Result<Vec<bool>> {
    let uses: Vec<Vec<usize>> = rules
        .iter()
        .map(|rule| {
            let mut uses = Vec::new();
            rule.body.iter().for_each(|body| references(body, &mut uses));
            uses.sort_unstable();
            uses.dedup();
            uses
        })
        .collect();
    // Those that use nothing, then those that use only them, and so on.
    let mut users = vec![Vec::new(); rules.len()];
    for (rule, uses) in uses.iter().enumerate() {
        uses.iter().for_each(|&used| users[used].push(rule));
    }
    let mut left: Vec<usize> = uses.iter().map(Vec::len).collect();
    let mut ready: Vec<usize> = (0..rules.len()).filter(|&rule| left[rule] == 0).collect();
    let (mut regular, mut height) = (vec![false; rules.len()], vec![1; rules.len()]);
    while let Some(rule) = ready.pop() {
        regular[rule] = true;
        for &user in &users[rule] {
            height[user] = height[user].max(height[rule] + 1);
            left[user] -= 1;
            if left[user] == 0 {
                ready.push(user);
            }
        }
    }
    check_chain(rules, &uses, &height)?;
    Ok(regular)
}

/// Compiling a rule compiles those that it names, one within the other.
fn check_chain(rules: &[Rule], uses: &[Vec<usize>], height: &[usize]) -> Result<()> {
    let too_long = |rule: usize| Error {
        line: rules[rule].line,
        what: format!("a chain of more than {MAX_CHAIN} rules that refer to each other"),
    };
    if let Some(rule) = (0..rules.len()).find(|&rule| height[rule] > MAX_CHAIN) {
        return Err(too_long(rule));
    }
    // The order in which they are compiled: into depth, each once.
    let mut seen = vec![false; rules.len()];
    let mut stack = vec![(0, 0)];
    while let Some((rule, next)) = stack.pop() {
        seen[rule] = true;
        if stack.len() >= MAX_CHAIN {
            return Err(too_long(rule));
        }
        if let Some(&used) = uses[rule].get(next) {
            stack.push((rule, next + 1));
            if !seen[used] {
                stack.push((used, 0));
            }
        }
    }
    Ok(())
}
