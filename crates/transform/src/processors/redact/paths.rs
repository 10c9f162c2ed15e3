//! Paths into JSON, and the places of what they lead to.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// To the member of that name, through arrays on the way.
    Name(String),
    /// To each element.
    Each,
    /// To wherever the next step leads, at any depth.
    Anywhere,
}

/// Several paths.
#[derive(Debug, Default)]
pub(super) struct Paths(Vec<Vec<Step>>);

impl Paths {
    /// Reads paths; one that cannot be read, and why, as an error.
    pub(super) fn new(texts: &[String]) -> Result<Self, (&str, &'static str)> {
        let paths = texts.iter().map(|text| path(text).map_err(|reason| (text.as_str(), reason)));
        paths.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The places of what they lead to in the documents of a row, but where that is null.
    pub(super) fn places(&self, row: &[u8]) -> serde_json::Result<Vec<Range<usize>>> {
        let mut places = Vec::new();
        let mut documents = serde_json::Deserializer::from_slice(row);
        while documents.end().is_err() {
            let here = (0..self.0.len()).map(|path| (path, 0)).collect();
            Walk { paths: &self.0, here, row, places: &mut places }.deserialize(&mut documents)?;
        }
        Ok(places)
    }
}

fn path(text: &str) -> Result<Vec<Step>, &'static str> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        rest = if let Some(after) = rest.strip_prefix("[]").or_else(|| rest.strip_prefix(".[]")) {
            steps.push(Step::Each);
            after
        } else if let Some(quoted) = rest.strip_prefix('[').or_else(|| rest.strip_prefix(".[")) {
            let mut strings = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
            let name = strings.next().and_then(Result::ok).ok_or("has no \"name\" between its brackets")?;
            steps.push(Step::Name(name));
            quoted[strings.byte_offset()..].strip_prefix(']').ok_or("has a bracket that is not closed")?
        } else if let Some(after) = rest.strip_prefix("..") {
            steps.push(Step::Anywhere);
            let (name, after) = name(after)?;
            steps.push(Step::Name(name.to_owned()));
            after
        } else if let Some(after) = rest.strip_prefix('.') {
            let (name, after) = name(after)?;
            steps.push(Step::Name(name.to_owned()));
            after
        } else {
            return Err("must begin with `.`, and so must each name in it");
        };
    }
    if steps.is_empty() { Err("must lead somewhere") } else { Ok(steps) }
}

fn name(text: &str) -> Result<(&str, &str), &'static str> {
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.contains(['"', ']', ' ', '|']) {
        return Err("has a name that must be written as [\"name\"]");
    }
    Ok((name, rest))
}

/// A walk through a value. What no path goes through is passed over.
struct Walk<'a, 'o, 'de> {
    paths: &'a [Vec<Step>],
    /// The paths that led here, and the next step of each.
    here: Vec<(usize, usize)>,
    row: &'de [u8],
    places: &'o mut Vec<Range<usize>>,
}

impl<'de> Walk<'_, '_, 'de> {
    /// Where the paths are behind a step into an element, or into a member of that name.
    fn behind(&self, name: Option<&str>) -> Vec<(usize, usize)> {
        let mut behind = Vec::new();
        for (path, next) in &self.here {
            let steps = &self.paths[*path];
            match (&steps[*next], name) {
                (Step::Name(step), Some(name)) if step == name => behind.push((*path, next + 1)),
                (Step::Each, None) => behind.push((*path, next + 1)),
                (Step::Name(_), None) => behind.push((*path, *next)),
                (Step::Anywhere, name) => {
                    behind.push((*path, *next));
                    if let (Step::Name(step), Some(name)) = (&steps[next + 1], name)
                        && step == name
                    {
                        behind.push((*path, next + 2));
                    }
                }
                (Step::Name(_) | Step::Each, _) => {}
            }
        }
        behind
    }

    fn goes_on(&mut self, here: Vec<(usize, usize)>) -> Next<'_, '_, 'de> {
        let led = here.iter().any(|(path, next)| *next == self.paths[*path].len());
        Next { led, walk: Walk { paths: self.paths, here, row: self.row, places: self.places } }
    }
}

/// The value behind a step.
struct Next<'a, 'o, 'de> {
    /// Whether a path leads to it.
    led: bool,
    walk: Walk<'a, 'o, 'de>,
}

impl<'de> DeserializeSeed<'de> for Next<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.led {
            let value = <&RawValue>::deserialize(deserializer)?.get();
            let begin = value.as_ptr().addr() - self.walk.row.as_ptr().addr();
            if value != "null" {
                self.walk.places.push(begin..begin + value.len());
            }
            Ok(())
        } else if self.walk.here.is_empty() {
            IgnoredAny::deserialize(deserializer).map(drop)
        } else {
            self.walk.deserialize(deserializer)
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        while let Some(Name(name)) = map.next_key()? {
            let behind = self.behind(Some(&name));
            map.next_value_seed(self.goes_on(behind))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let behind = self.behind(None);
        while seq.next_element_seed(self.goes_on(behind.clone()))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(paths: &[&str], row: &'a str) -> Vec<&'a str> {
        let texts: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        Paths::new(&texts)
            .unwrap()
            .places(row.as_bytes())
            .unwrap()
            .into_iter()
            .map(|place| &row[place])
            .collect()
    }

    #[test]
    fn paths_lead_through_members_and_elements() {
        let row = r#"{"a":{"b":1,"c":[{"d":2},{"d":"3"}]}, "e":[4,[5]], "f g":6, "n":null} {"a":{"b":7}}"#;
        assert_eq!(found(&[".a.b"], row), ["1", "7"]);
        assert_eq!(found(&[".a.c[].d"], row), ["2", "\"3\""]);
        assert_eq!(found(&[".a.c.d"], row), ["2", "\"3\""], "a name goes through an array");
        assert_eq!(found(&[".e[]"], row), ["4", "[5]"]);
        assert_eq!(found(&[".e"], row), ["[4,[5]]"]);
        assert_eq!(found(&[r#".["f g"]"#, r#"["a"]["b"]"#], row), ["1", "6", "7"]);
        assert_eq!(found(&[".n", ".x", ".a.b.c"], row), [""; 0]);
    }

    #[test]
    fn anywhere_is_at_any_depth_and_everything_that_has_the_name_counts() {
        let row = r#"{"p":1,"x":[{"p":{"p":2}},[{"y":{"p":3}}]],"\u0070":4,"p":5}"#;
        assert_eq!(found(&["..p"], row), ["1", r#"{"p":2}"#, "3", "4", "5"]);
        assert_eq!(found(&[".p"], row), ["1", "4", "5"]);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", ".", "a", ".a b", ".a..", ".[", ".[\"a\"", ".[0]", "..[]", ".a|b"] {
            assert!(Paths::new(&[text.to_owned()]).is_err(), "{text}");
        }
    }
}
