//! Functions that change while batches still need what they were.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use standpipe_testkit::guests::{answering, saying};
use standpipe_testkit::{ManualClock, SeededEntropy};
use standpipe_transform::processors::{EnrichOptions, OnMiss};

use super::shelf::hash;
use super::*;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::processors::WasmCall;
use crate::worker::chain;

struct Place {
    folder: tempfile::TempDir,
    functions: Arc<Functions>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f.wasm"), saying("at first")).unwrap();
        let functions = open(folder.path());
        Self { folder, functions }
    }

    /// A configuration with these members for the function `f`.
    fn config(&self, members: &str) -> Config {
        self.load(&format!("functions: {{ f: {{ path: ./f.wasm, {members} }} }}\n"))
    }

    fn load(&self, yaml: &str) -> Config {
        let path = self.folder.path().join("standpipe.yaml");
        fs::write(&path, yaml).unwrap();
        Config::load(&path, &|_| None).unwrap_or_else(|problems| panic!("{problems}"))
    }

    async fn in_force(&self, members: &str) -> BTreeMap<String, String> {
        self.take(&self.config(members)).await;
        self.functions.pin(&[calls("f")]).pins()
    }

    async fn take(&self, config: &Config) {
        self.functions.put_in_force(self.functions.make(config, BTreeMap::new()).await.unwrap());
        self.functions.keep_only(config);
    }

    /// A configuration with the table `t`, which is a file of this text, and functions with these members.
    fn with_table(&self, text: &str, functions: &str) -> Config {
        fs::write(self.folder.path().join("t.csv"), text).unwrap();
        self.load(&format!(
            "tables: {{ t: {{ path: ./t.csv, key: k, max: 100 }} }}\nfunctions: {{ {functions} }}\n"
        ))
    }

    async fn refused(&self, members: &str) -> String {
        chain(&self.functions.make(&self.config(members), BTreeMap::new()).await.unwrap_err())
    }

    /// The files of versions, by their extensions.
    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let all = fs::read_dir(self.folder.path().join("functions")).unwrap();
        let all = all.map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
    }

    /// The SHA-256 of the file that a batch with these pins is transformed by.
    fn file_of(&self, functions: &Functions, pins: &BTreeMap<String, String>) -> String {
        let versions = functions.versions(&[calls("f")], pins, true);
        functions.at(&versions, true).unwrap().functions["f"].digest().to_owned()
    }
}

fn open(folder: &Path) -> Arc<Functions> {
    let (clock, chance) = (ManualClock::at(standpipe_model::Timestamp(1)), SeededEntropy::new(1));
    Functions::open(folder, Arc::new(clock), Arc::new(chance), Arc::new(Metrics::default())).unwrap()
}

fn calls(name: &str) -> ProcessorSpec {
    ProcessorSpec::Wasm(WasmCall::of(name))
}

fn looks_up(table: &str) -> ProcessorSpec {
    let options = EnrichOptions { key: ".k".to_owned(), columns: Vec::new(), on_miss: OnMiss::Keep };
    ProcessorSpec::Enrich { table: table.to_owned(), options }
}

fn digests(pins: &BTreeMap<String, String>) -> BTreeSet<String> {
    pins.iter().filter_map(pinned_version).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_keeps_the_version_it_was_closed_with_when_the_file_is_replaced_and_after_a_restart() {
    let place = Place::new();
    let first = place.in_force("config: { word: one }").await;
    assert_eq!(first.keys().collect::<Vec<_>>(), ["function:f"]);
    fs::write(place.folder.path().join("f.wasm"), saying("and then")).unwrap();
    let second = place.in_force("config: { word: one }").await;
    let third = place.in_force("config: { word: two }").await;
    assert_ne!(first, second);
    assert_ne!(second, third, "what it is told is a part of it");
    for functions in [Arc::clone(&place.functions), open(place.folder.path())] {
        let configs = place.config("config: { word: two }");
        functions.put_in_force(functions.make(&configs, BTreeMap::new()).await.unwrap());
        assert_eq!(place.file_of(&functions, &first), hash(&saying("at first")));
        assert_eq!(place.file_of(&functions, &second), hash(&saying("and then")));
        assert_eq!(place.file_of(&functions, &BTreeMap::new()), hash(&saying("and then")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_go_when_neither_the_configuration_nor_a_batch_nor_anyone_about_to_close_one_needs_them() {
    let place = Place::new();
    place.in_force("retries: 0").await;
    let held = place.functions.pin(&[calls("f")]);
    let second = place.in_force("retries: 1").await;
    place.in_force("retries: 2").await;
    fs::write(place.folder.path().join("functions/half.tmp"), "half").unwrap();
    assert!(place.functions.sweep(|| digests(&second)).unwrap(), "two are left beside the one in force");
    assert_eq!((place.files("json").len(), place.files("wasm").len(), place.files("tmp").len()), (3, 1, 0));
    drop(held);
    assert!(place.functions.sweep(|| digests(&second)).unwrap());
    assert_eq!(place.files("json").len(), 2);
    assert!(!place.functions.sweep(BTreeSet::new).unwrap());
    assert_eq!((place.files("json").len(), place.files("wasm").len()), (1, 1));
    place.functions.keep_only(&place.load("{}"));
    assert!(!place.functions.sweep(BTreeSet::new).unwrap());
    assert_eq!((place.files("json").len(), place.files("wasm").len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_place_of_a_version_that_is_gone_or_damaged_comes_the_one_in_force() {
    for damage in [|path: &Path| fs::remove_file(path).unwrap(), |path: &Path| fs::write(path, "{}").unwrap()]
    {
        let place = Place::new();
        let first = place.in_force("retries: 0").await;
        damage(&place.files("json")[0]);
        fs::write(place.folder.path().join("f.wasm"), saying("and then")).unwrap();
        place.in_force("retries: 1").await;
        assert_eq!(place.file_of(&place.functions, &first), hash(&saying("and then")));
        let unknown = place.functions.versions(&[calls("g")], &BTreeMap::new(), true);
        let error = place.functions.at(&unknown, true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "function 'g' is not configured, or a table that it looks up could not be read yet"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_the_one_or_cannot_be_loaded_is_refused_by_name_and_what_runs_goes_on() {
    let place = Place::new();
    let pins = place.in_force("retries: 0").await;
    let other = place.refused(&format!("sha256: {}", hash(b"another"))).await;
    assert!(other.starts_with("function 'f': ") && other.contains(&hash(&saying("at first"))), "{other}");
    fs::write(place.folder.path().join("f.wasm"), "no function").unwrap();
    let no_function = place.refused("retries: 0").await;
    assert!(no_function.starts_with("function 'f': not a WebAssembly function"), "{no_function}");
    fs::remove_file(place.folder.path().join("f.wasm")).unwrap();
    let gone = place.refused("retries: 0").await;
    assert!(gone.contains("f.wasm") && gone.contains("No such file"), "{gone}");
    assert_eq!(place.functions.pin(&[calls("f")]).pins(), pins);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_is_told_is_shown_to_nobody_and_kept_for_the_daemon_alone() {
    let place = Place::new();
    let configs = place.config("config: { token: hunter2 }");
    let made = place.functions.make(&configs, BTreeMap::new()).await.unwrap();
    let shown = format!("{:?} {made:?} {:?}", configs.functions, place.functions);
    assert!(shown.contains("token") && !shown.contains("hunter2"), "{shown}");
    let folder = place.folder.path().join("functions");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in place.files("json").iter().chain(&place.files("wasm")) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_can_be_loaded_without_a_data_directory() {
    let place = Place::new();
    fs::write(place.folder.path().join("f.wasm"), answering("not read")).unwrap();
    let configs = place.config("retries: 0");
    let (clock, chance) = (ManualClock::at(standpipe_model::Timestamp(1)), SeededEntropy::new(1));
    let loaded =
        load(&configs.functions, &configs.tables, &BTreeMap::new(), Arc::new(clock), Arc::new(chance))
            .unwrap();
    assert_eq!(loaded.functions["f"].digest(), hash(&answering("not read")));
}

/// The SHA-256 of the file of the table that a batch with these pins sees.
fn seen(
    functions: &Functions,
    pins: &BTreeMap<String, String>,
    may_replace: bool,
) -> Result<String, FunctionError> {
    let versions = functions.versions(&[looks_up("t")], pins, may_replace);
    Ok(functions.at(&versions, may_replace)?.tables["t"].version().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_sees_the_table_it_was_closed_with_and_another_one_only_where_nothing_of_it_can_be_stored_twice()
 {
    let (place, old, new) = (Place::new(), "k,v\na,1\n", "k,v\na,2\n");
    place.take(&place.with_table(old, "")).await;
    let first = place.functions.pin(&[looks_up("t")]).pins();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["table:t"]);
    place.take(&place.with_table(new, "")).await;
    let again = open(place.folder.path());
    again.put_in_force(again.make(&place.with_table(new, ""), BTreeMap::new()).await.unwrap());
    for functions in [&place.functions, &again] {
        assert_eq!(seen(functions, &first, false).unwrap(), hash(old.as_bytes()));
        assert_eq!(seen(functions, &BTreeMap::new(), true).unwrap(), hash(new.as_bytes()));
        assert!(matches!(seen(functions, &BTreeMap::new(), false), Err(FunctionError::NotYet { .. })));
    }
    assert!(place.functions.sweep(|| digests(&first)).unwrap(), "a batch needs the first");
    assert_eq!((place.files("json").len(), place.files("table").len()), (2, 2));
    assert!(!place.functions.sweep(BTreeSet::new).unwrap());
    assert_eq!((place.files("json").len(), place.files("table").len()), (1, 1));
    let refused = seen(&place.functions, &first, false).unwrap_err().to_string();
    assert!(refused.contains("table 't'") && refused.contains("rebind"), "{refused}");
    assert_eq!(seen(&place.functions, &first, true).unwrap(), hash(new.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_a_part_of_the_version_of_the_functions_that_may_look_it_up_and_stays_with_it() {
    let place = Place::new();
    let functions = "f: { path: ./f.wasm, tables: [t] }, g: { path: ./f.wasm }";
    let config = place.with_table("k,v\na,1\n", functions);
    place.take(&config).await;
    let pins = |name| place.functions.pin(&[calls(name)]).pins();
    let (first, other) = (pins("f"), pins("g"));
    fs::write(place.folder.path().join("t.csv"), "k,v\na,2\n").unwrap();
    place.functions.put_in_force(
        place.functions.renew("t", &config.tables["t"], None, &config.functions).await.unwrap(),
    );
    assert_ne!(pins("f"), first);
    assert_eq!(pins("g"), other);
    assert!(place.functions.sweep(|| digests(&first)).unwrap());
    assert_eq!((place.files("json").len(), place.files("table").len()), (5, 2), "f twice, t twice, g");
    assert!(!place.functions.sweep(BTreeSet::new).unwrap());
    assert_eq!((place.files("json").len(), place.files("table").len()), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_used_is_refused_with_what_is_wrong_and_its_limit() {
    let place = Place::new();
    let long = format!("k,v\na,{}\n", "1".repeat(100));
    for (text, why) in [
        ("k,v\na,1\na,2\n", "line 3 has a key that came before: 'a'"),
        ("id,v\na,1\n", "the table has no column 'k'"),
        (&long, "t.csv has 107 bytes, its max is 100"),
    ] {
        let refused =
            chain(&place.functions.make(&place.with_table(text, ""), BTreeMap::new()).await.unwrap_err());
        assert!(refused.starts_with("table 't': ") && refused.ends_with(why), "{refused}");
    }
    let config = place.with_table("k\n", "");
    fs::remove_file(place.folder.path().join("t.csv")).unwrap();
    let gone = chain(&place.functions.make(&config, BTreeMap::new()).await.unwrap_err());
    assert!(gone.contains("t.csv") && gone.contains("No such file"), "{gone}");
}

/// A configuration with the table `t` of an object, and the function `f` that looks it up.
fn of_object(place: &Place, key: &str) -> Config {
    place.load(&format!(
        "stores: {{ s: {{ type: file, path: ./store }} }}\ntables: {{ t: {{ store: s, object: t.csv, key: {key}, format: csv }} }}\n\
         functions: {{ f: {{ path: ./f.wasm, tables: [t] }} }}\n"
    ))
}

async fn taken(place: &Place, config: &Config, text: &'static str) -> Made {
    let read = ReadTable { bytes: text.into(), tag: None };
    place.functions.make(config, BTreeMap::from([("t".to_owned(), read)])).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_leaves_nothing_in_force_that_is_configured_otherwise_and_could_not_be_made() {
    let place = Place::new();
    let config = of_object(&place, "k");
    place.functions.put_all_in_force(taken(&place, &config, "k,v\na,1\n").await, &config);
    let needs = [calls("f"), looks_up("t")];
    assert_eq!(place.functions.pin(&needs).pins().len(), 2);
    let otherwise = of_object(&place, "v");
    let made = place.functions.make(&otherwise, BTreeMap::new()).await.unwrap();
    place.functions.put_all_in_force(made, &otherwise);
    assert_eq!(place.functions.pin(&needs).pins(), BTreeMap::new(), "both wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_table_once_more_is_no_change_and_what_cannot_be_read_any_more_is_waited_for() {
    let place = Place::new();
    let config = of_object(&place, "k");
    assert!(place.functions.put_in_force(taken(&place, &config, "k,v\na,1\n").await));
    let same = ReadTable { bytes: "k,v\na,1\n".into(), tag: Some("new".to_owned()) };
    let renewed = place.functions.renew("t", &config.tables["t"], Some(same), &config.functions).await;
    assert!(!place.functions.put_in_force(renewed.unwrap()));
    assert_eq!(place.functions.tag("t", &config.tables["t"]).as_deref(), Some("new"));

    // As if a version was kept that this build cannot read.
    let version = hash(b"k\na\na\n");
    fs::write(place.folder.path().join("functions").join(&version).with_extension("table"), "k\na\na\n")
        .unwrap();
    let text = format!("{{\"table\":\"{version}\",\"format\":\"csv\",\"key\":\"k\"}}");
    let digest = hash(text.as_bytes());
    fs::write(place.folder.path().join("functions").join(&digest).with_extension("json"), &text).unwrap();
    let objects = place.folder.path().join("functions/objects");
    let noted = fs::read_to_string(&objects).unwrap();
    let of = place.functions.pin(&[looks_up("t")]).pins();
    fs::write(&objects, noted.replace(&of["table:t"], &digest)).unwrap();
    let made = open(place.folder.path()).make(&config, BTreeMap::new()).await.unwrap();
    assert!(made.tables().is_empty());
}
