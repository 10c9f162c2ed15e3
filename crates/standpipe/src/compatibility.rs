//! The tables of `docs/compatibility.md`, made from the tables of the API: what is honoured, ignored and refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use standpipe_ingest::Operation;
use standpipe_ingest::shape::{Member, Shape, Structure, Support, input_of};

use crate::generated::check_part;

/// The sections of the structures that a request may bring, by name.
#[derive(Default)]
struct Page(BTreeMap<&'static str, String>);

impl Page {
    fn section(&mut self, structure: &Structure) -> String {
        let mut text = String::from("| member | holds | where absent | standpipe |\n|---|---|---|---|\n");
        for member in structure.members {
            let name =
                if member.required { format!("**`{}`**", member.name) } else { format!("`{}`", member.name) };
            let absent = member.default.map(|json| format!("`{json}`")).unwrap_or_default();
            let (holds, support) = (self.holds(member), support(member));
            writeln!(text, "| {name} | {holds} | {absent} | {support} |").unwrap();
        }
        text
    }

    /// The structures that a member brings get a section of their own, unless no part of them ever counts.
    fn holds(&mut self, member: &Member) -> String {
        let counts = matches!(member.support, Support::Full);
        match innermost(&member.shape) {
            Shape::Structure(inner) if counts => {
                if !self.0.contains_key(inner.name) {
                    self.0.insert(inner.name, String::new());
                    let section = self.section(inner);
                    self.0.insert(inner.name, section);
                }
                format!("{}[`{}`](#{})", before(&member.shape), inner.name, inner.name.to_lowercase())
            }
            Shape::Structure(inner) => {
                let members: Vec<String> =
                    inner.members.iter().map(|member| format!("`{}`", member.name)).collect();
                format!("{}`{}`: {}", before(&member.shape), inner.name, members.join(", "))
            }
            scalar => format!("{}{}", before(&member.shape), limits(scalar)),
        }
    }
}

fn innermost(shape: &Shape) -> &Shape {
    match shape {
        Shape::List { element, .. } => innermost(element),
        other => other,
    }
}

fn before(shape: &Shape) -> String {
    match *shape {
        Shape::List { min_len, max_len, .. } => format!("list{} of ", range(min_len, max_len)),
        _ => String::new(),
    }
}

fn range(min: usize, max: usize) -> String {
    match (min, max) {
        (0, usize::MAX) => String::new(),
        (0, max) => format!(", at most {max},"),
        (min, usize::MAX) => format!(", at least {min},"),
        (min, max) => format!(", {min} to {max},"),
    }
}

fn limits(shape: &Shape) -> String {
    match *shape {
        Shape::Text(text) if !text.values.is_empty() => {
            text.values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
        }
        Shape::Text(text) => match (text.min_len, text.max_len) {
            (_, usize::MAX) => "text".to_owned(),
            (min, max) => format!("text of {min} to {max} characters"),
        },
        Shape::Integer { min, max: i64::MAX } => format!("{min} or more"),
        Shape::Integer { min, max } => format!("{min} to {max}"),
        Shape::Double { min, max } => format!("{min} to {max}"),
        Shape::Boolean => "`true`, `false`".to_owned(),
        Shape::Timestamp => "a time".to_owned(),
        Shape::Blob { max_len } => format!("base64 of at most {max_len} bytes"),
        Shape::Map { .. } => "a map of text to text".to_owned(),
        Shape::List { .. } | Shape::Structure(_) => unreachable!("these are looked into"),
    }
}

fn support(member: &Member) -> String {
    match member.support {
        Support::Full => "honoured".to_owned(),
        Support::Ignored(why) => format!("ignored: {why}"),
        Support::None => "refused, with all that it holds".to_owned(),
        Support::When(_, words) => format!("honoured if {words}, else refused"),
    }
}

#[test]
fn the_table_of_compatibility_is_current() {
    let mut page = Page::default();
    let mut text = String::new();
    for operation in Operation::ALL {
        writeln!(text, "### {}\n\n{}", operation.name(), page.section(input_of(operation))).unwrap();
    }
    text.push_str("## Structures\n\n");
    for (name, section) in page.0 {
        writeln!(text, "### {name}\n\n{section}").unwrap();
    }
    check_part("docs/compatibility.md", &text);
}
