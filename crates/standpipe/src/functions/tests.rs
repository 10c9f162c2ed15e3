//! Functions that change while batches still need what they were.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use standpipe_testkit::guests::{answering, saying};
use standpipe_testkit::{ManualClock, SeededEntropy};

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

    /// The functions of a configuration with these members for `f`.
    fn config(&self, members: &str) -> BTreeMap<String, FunctionConfig> {
        let path = self.folder.path().join("standpipe.yaml");
        fs::write(&path, format!("functions: {{ f: {{ path: ./f.wasm, {members} }} }}\n")).unwrap();
        Config::load(&path, &|_| None).unwrap_or_else(|problems| panic!("{problems}")).functions
    }

    async fn in_force(&self, members: &str) -> BTreeMap<String, String> {
        let configs = self.config(members);
        self.functions.put_in_force(self.functions.make(&configs).await.unwrap());
        self.functions.keep_only(&configs);
        self.functions.pin(&[calls("f")]).pins()
    }

    async fn refused(&self, members: &str) -> String {
        chain(&self.functions.make(&self.config(members)).await.unwrap_err())
    }

    /// The files of versions, by their extensions.
    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let all = fs::read_dir(self.folder.path().join("functions")).unwrap();
        let all = all.map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
    }

    /// The SHA-256 of the file that a batch with these pins is transformed by.
    fn file_of(&self, functions: &Functions, pins: &BTreeMap<String, String>) -> String {
        let versions = functions.versions(&[calls("f")], pins);
        functions.at(&versions).unwrap()["f"].digest().to_owned()
    }
}

fn open(folder: &Path) -> Arc<Functions> {
    let (clock, chance) = (ManualClock::at(standpipe_model::Timestamp(1)), SeededEntropy::new(1));
    Functions::open(folder, Arc::new(clock), Arc::new(chance), Arc::new(Metrics::default())).unwrap()
}

fn calls(name: &str) -> ProcessorSpec {
    ProcessorSpec::Wasm(WasmCall::of(name))
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
        functions.put_in_force(functions.make(&configs).await.unwrap());
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
    place.functions.keep_only(&BTreeMap::new());
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
        let unknown = place.functions.versions(&[calls("g")], &BTreeMap::new());
        let error = place.functions.at(&unknown).unwrap_err();
        assert_eq!(error.to_string(), "function 'g' is not configured");
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
    let made = place.functions.make(&configs).await.unwrap();
    let shown = format!("{configs:?} {made:?} {:?}", place.functions);
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
    let loaded = load(&configs, Arc::new(clock), Arc::new(chance)).unwrap();
    assert_eq!(loaded["f"].digest(), hash(&answering("not read")));
}
