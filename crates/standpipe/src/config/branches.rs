//! Where the records of a stream go, and what is done to them on the way: its `destination`, or each of `destinations`.

use std::collections::BTreeMap;

use standpipe_model::DestinationId;

use super::compound::{List, Sub};
use super::format::{ConversionDraft, conversion};
use super::partitioning::extract;
use super::problem::{Problem, Spot, check_names};
use super::processors::PROCESSOR;
use super::reader::{Cursor, Section, Shape, Spots};
use super::schema::Schema;
use super::streams::{DestinationDraft, StreamDraft, where_to};
use crate::processors::ProcessorSpec;
use crate::spec::{Branch, S3Destination};

/// How large objects of converted rows are where nothing is said.
const CONVERTED_SIZE: u64 = 128 << 20;

/// The most destinations that a stream may have; each of them reads every record.
const DESTINATIONS_MAX: usize = 16;

/// What ids of our own begin with.
const RESERVED: [&str; 2] = ["backup-", "replay-"];

/// A destination that was read with what is done to its records, and the places that later checks point at.
#[derive(Debug, Clone)]
pub(super) struct BranchDraft {
    /// `None` where it was wrong.
    pub(super) id: Option<DestinationId>,
    pub(super) spots: Spots,
    pub(super) destination: Option<DestinationDraft>,
    pub(super) processors: Vec<ProcessorSpec>,
    pub(super) conversion: Option<ConversionDraft>,
    /// The functions that the processors call, and where each is named.
    pub(super) calls: Vec<(String, Spot)>,
    /// The same of tables.
    pub(super) lookups: Vec<(String, Spot)>,
}

impl BranchDraft {
    /// Whether a plan is made of its batches, as [`StreamSpec::is_planned`](crate::spec::StreamSpec::is_planned) has it.
    pub(super) fn is_planned(&self) -> bool {
        let is_partitioned = self.destination.as_ref().is_some_and(|to| to.partitioning.is_some());
        is_partitioned || self.processors.iter().any(ProcessorSpec::calls_function)
    }

    /// The branch, if every part of it was right.
    pub(super) fn into_branch(self) -> Option<Branch> {
        Some(Branch { id: self.id?, destination: self.destination?.spec, processors: self.processors })
    }
}

/// Reads the one destination of a stream, or all that it has.
pub(super) fn branches(section: &mut Section<'_, '_>) -> Vec<BranchDraft> {
    let one = section.required_or("destination", "destinations", Sub(where_to), "Where the records go.");
    let several = section.optional(
        "destinations",
        List(Sub(branch)),
        "In the place of `destination`: several, each of which gets every record, with progress, `processors` and `format` \
         of its own.",
    );
    section.exclusive("destination", "destinations");
    let is_one = section.given("destination") || !section.given("destinations");
    if !is_one {
        const COPY: &str =
            "with \"destinations\", a copy of every record is one more of them, without \"processors\"";
        const EACH: &str = "with \"destinations\", say this of each of them";
        for (key, message) in
            [("backup", COPY), ("processors", EACH), ("format", EACH), ("deserializer", EACH)]
        {
            if section.given(key) {
                section.refuse(key, message);
            }
        }
    }
    const OF_ONE: &str = "What is done to the records on their way to the destination, in this order; the backup gets them as \
                          they came.";
    let first = one_branch(section, Some(DestinationId::primary()), one, OF_ONE);
    if is_one {
        return vec![first];
    }
    match several.as_ref().map_or(1, Vec::len) {
        1..=DESTINATIONS_MAX => {}
        count => section
            .refuse("destinations", format!("{count} destinations, a stream has 1 to {DESTINATIONS_MAX}")),
    }
    several.unwrap_or_default()
}

/// Reads one of several.
fn branch(section: &mut Section<'_, '_>) -> Option<BranchDraft> {
    let id = section.required(
        "id",
        Id,
        "What the destination is known by in metrics, alarms and batches: its progress is kept under this name, wherever in \
         the list it stands. 1 to 100 letters, digits and `-`.",
    );
    let destination = where_to(section);
    const OF_EACH: &str = "What is done to the records on their way to this destination, in this order.";
    Some(one_branch(section, id, destination, OF_EACH))
}

/// Reads what is done to the records on their way to a destination.
fn one_branch(
    section: &mut Section<'_, '_>,
    id: Option<DestinationId>,
    mut destination: Option<DestinationDraft>,
    processors_doc: &'static str,
) -> BranchDraft {
    let listed = section.optional("processors", List(PROCESSOR), processors_doc).unwrap_or_default();
    let named = |name: fn(&ProcessorSpec) -> Option<&str>| {
        let named = listed.iter().filter_map(|(spec, spot)| Some((name(spec)?.to_owned(), spot.clone())));
        named.collect()
    };
    let (calls, lookups) = (named(ProcessorSpec::function), named(ProcessorSpec::table));
    let mut processors: Vec<ProcessorSpec> = listed.into_iter().map(|(processor, _)| processor).collect();
    let partitioning = destination.as_ref().and_then(|destination| destination.partitioning.as_ref());
    if let Some(query) = partitioning.and_then(|partitioning| partitioning.query.clone()) {
        extract(query, &mut processors);
    }
    let appended = destination.as_mut().and_then(|destination| destination.appended.take());
    let conversion = conversion(section, appended);
    if let Some(destination) = destination.as_mut().filter(|d| conversion.is_some() && !d.size_is_given) {
        destination.spec.buffering.size_bytes = CONVERTED_SIZE;
    }
    BranchDraft { id, spots: section.spots(), destination, processors, conversion, calls, lookups }
}

/// No two destinations of a stream have one id, or one error output, as what is there is known by its stream only.
pub(super) fn check_apart(stream: &StreamDraft, problems: &mut Vec<Problem>) {
    let ids = stream
        .branches
        .iter()
        .filter_map(|branch| Some((branch.id.as_ref()?.as_str(), branch.spots.of("id"))));
    check_names("destination", ids, problems);
    let mut seen: BTreeMap<_, &DestinationId> = BTreeMap::new();
    for branch in &stream.branches {
        let (Some(id), Some(draft)) = (&branch.id, &branch.destination) else { continue };
        let S3Destination { store, bucket, prefix, error_output_prefix, endpoint, conversion, .. } =
            &draft.spec;
        if branch.processors.is_empty() && endpoint.is_none() && conversion.is_none() {
            continue;
        }
        let prefix = if error_output_prefix.is_empty() { prefix } else { error_output_prefix };
        if let Some(other) = seen.insert((store, bucket, prefix), id) {
            let message = format!(
                "its error output is at the same place as that of \"{other}\": let the prefixes differ"
            );
            problems.push(Problem { spot: draft.spots.of("error_output_prefix"), message });
        }
    }
}

/// A destination's id.
struct Id;

impl Shape for Id {
    type Out = DestinationId;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<DestinationId> {
        let id = at.text()?;
        // A backup that becomes one of several goes on where it was.
        let is_backup = id == DestinationId::backup().as_str();
        if let Some(prefix) = RESERVED.into_iter().find(|prefix| id.starts_with(prefix) && !is_backup) {
            return at.refuse(format!("ids that begin with \"{prefix}\" are standpipe's own"));
        }
        DestinationId::parse(&id).map_or_else(|error| at.refuse(error), Some)
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "destination id".to_owned(), pattern: "^[a-zA-Z0-9-]{1,100}$" }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good, load};
    use super::*;
    use crate::spec::Buffering;

    const STORES: &str = "stores: {disk: {type: file, path: /tmp/x}}\n";

    fn stream(rest: &str) -> String {
        format!("{STORES}streams:\n- name: s\n  {rest}\n")
    }

    fn several(entries: &[&str]) -> String {
        stream(&format!("destinations: [{}]", entries.join(", ")))
    }

    #[test]
    fn each_of_several_has_processors_and_format_of_its_own() {
        let text = several(&[
            "{id: rows, s3: {bucket: a}, processors: [{append_delimiter: x}]}",
            "{id: files, s3: {bucket: b}, format: {json: {schema: infer}}}",
        ]);
        let spec = good(&text).streams.remove(0);
        let ids: Vec<_> = spec.destinations().iter().map(DestinationId::to_string).collect();
        assert_eq!(ids, ["rows", "files"]);
        let files = DestinationId::parse("files").unwrap();
        let to = spec.destination_of(&files).unwrap();
        assert_eq!((to.bucket.as_str(), to.store.as_str()), ("b", "disk"));
        assert_eq!(to.buffering, Buffering { size_bytes: CONVERTED_SIZE, ..Buffering::default() });
        assert!(to.conversion.is_some() && spec.processors_of(&files).is_empty());
        assert_eq!((spec.processors.len(), spec.destination.conversion.is_some()), (1, false));
    }

    #[test]
    fn what_is_said_twice_or_in_the_wrong_place_is_refused() {
        let one = "{id: a, s3: {}}";
        for (text, expected) in [
            (several(&[one, one]), "destinations[1].id: a destination \"a\" is at"),
            (several(&["{s3: {}}"]), "the key \"id\" is missing"),
            (several(&["{id: backup-1, s3: {}}"]), "ids that begin with \"backup-\" are standpipe's own"),
            (several(&["{id: a_b, s3: {}}"]), "destination id 'a_b' holds '_'"),
            (several(&["{id: a}"]), "name where the records go: s3, http"),
            (several(&[]), "0 destinations, a stream has 1 to 16"),
            (stream("journal_limit: 1GiB"), "the key \"destination\" is missing"),
            (several(&[one]) + "  destination: {s3: {}}\n", "either \"destination\" or \"destinations\""),
            (several(&[one]) + "  backup: {s3: {}}\n", "backup: with \"destinations\", a copy"),
            (several(&[one]) + "  processors: []\n", "processors: with \"destinations\", say this of each"),
        ] {
            let problems = load(&[("standpipe.yaml", text.as_str())]).unwrap_err();
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{text}\n{problems:?}");
        }
    }
}
