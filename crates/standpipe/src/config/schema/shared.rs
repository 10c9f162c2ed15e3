//! Sections of a schema that are there several times, such as every kind of destination: each is written once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Json, text};

/// Puts references in the place of sections that come more than once; what they refer to.
pub(super) fn share(root: &mut Json) -> Json {
    let mut times = BTreeMap::new();
    count(root, &mut times);
    times.retain(|_, times| *times > 1);
    let mut shared = Shared { repeated: times.into_keys().collect(), ..Shared::default() };
    shared.below(root);
    Json::Object(shared.sections)
}

/// Counts how often each section is there, what its key says of it aside.
fn count(json: &Json, times: &mut BTreeMap<Json, usize>) {
    if let Some(section) = section(json) {
        *times.entry(section).or_default() += 1;
    }
    match json {
        Json::Object(entries) => entries.iter().for_each(|(_, value)| count(value, times)),
        Json::List(items) => items.iter().for_each(|item| count(item, times)),
        _ => {}
    }
}

/// A section without its description.
fn section(json: &Json) -> Option<Json> {
    let Json::Object(entries) = json else { return None };
    entries
        .iter()
        .any(|(key, _)| key == "properties")
        .then(|| Json::Object(entries.iter().filter(|(key, _)| key != "description").cloned().collect()))
}

#[derive(Default)]
struct Shared {
    repeated: BTreeSet<Json>,
    names: BTreeMap<Json, String>,
    sections: Vec<(String, Json)>,
}

impl Shared {
    fn share(&mut self, json: &mut Json, key: &str) {
        let Some(section) = section(json).filter(|section| self.repeated.contains(section)) else {
            return self.below(json);
        };
        let name = self.names.get(&section).cloned().unwrap_or_else(|| self.name(section, key));
        if let Json::Object(entries) = json {
            entries.retain(|(key, _)| key == "description");
            entries.push(("$ref".to_owned(), text(format!("#/$defs/{name}"))));
        }
    }

    fn below(&mut self, json: &mut Json) {
        match json {
            Json::Object(entries) => entries.iter_mut().for_each(|(key, value)| self.share(value, key)),
            Json::List(items) => items.iter_mut().for_each(|item| self.share(item, "section")),
            _ => {}
        }
    }

    /// Names a section after the key where it comes first.
    fn name(&mut self, mut section: Json, key: &str) -> String {
        let others = self.names.values().filter(|name| name.split('.').next() == Some(key)).count();
        let name = if others == 0 { key.to_owned() } else { format!("{key}.{}", others + 1) };
        self.names.insert(section.clone(), name.clone());
        self.below(&mut section);
        self.sections.push((name.clone(), section));
        name
    }
}
