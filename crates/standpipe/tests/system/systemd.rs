//! The unit under the real systemd: installed as the documentation says, started, reloaded, hung, killed and stopped.

#![allow(clippy::unwrap_used, reason = "a panic in a test is a failure with a line number")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::time::{Duration, Instant};

use standpipe_testkit::cache::run;
use standpipe_testkit::guests::example;
use standpipe_testkit::{Systemd, has_root};

use crate::support::{SOON, STANDPIPE, eventually, files_below};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const UNIT: &str = "/etc/systemd/system/standpipe.service";
const CONFIG: &str = "/etc/standpipe/standpipe.yaml";
/// Where systemd keeps the state of a service with `DynamicUser`.
const STATE: &str = "/var/lib/private/standpipe";
const SECRET: &str = "a-secret-that-only-the-credential-holds";
/// The users that systemd makes for services with `DynamicUser`.
const DYNAMIC_UIDS: RangeInclusive<u32> = 61184..=65519;

/// Everything but the streams. Their folder lies where the daemon does not see changes by itself.
const YAML: &str = "\
data_dir: /var/lib/standpipe
region: us-east-1
account_id: \"000000000000\"
credentials:
  - { access_key_id: standpipe, secret_access_key_file: \"${CREDENTIALS_DIRECTORY}/firehose-secret\" }
stores:
  disk: { type: file, path: /var/lib/standpipe/delivered }
streams_dir: /opt/streams
";

fn stream(name: &str) -> String {
    format!(
        "\
name: {name}
destination:
  s3:
    store: disk
    bucket: lake
    prefix: {name}/
    error_output_prefix: errors/
    delimiter: newline
    buffering: {{ size: 1MiB, interval: 1s }}
"
    )
}

/// A machine with the binary, the unit and its credentials in place, and a stream `clicks`.
struct Machine(Systemd);

impl Machine {
    /// `settings` belong to the unit's section `[Service]`.
    fn with(settings: &str) -> Self {
        let unit = Path::new(REPOSITORY).join("deploy/systemd/standpipe.service");
        let files = [(Path::new(STANDPIPE), "/usr/bin/standpipe"), (unit.as_path(), UNIT)];
        let machine = Self(Systemd::boot(&files).unwrap());
        machine.write(&format!("{UNIT}.d/test.conf"), &format!("[Service]\n{settings}\n"));
        machine.write("/etc/standpipe/credentials/firehose-secret", &format!("{SECRET}\n"));
        machine.write("/etc/standpipe/credentials/store-secret", "unused");
        machine.write(CONFIG, YAML);
        machine.write("/opt/streams/clicks.yaml", &stream("clicks"));
        machine.run("chmod 0700 /etc/standpipe/credentials && systemctl daemon-reload");
        machine
    }

    fn started(settings: &str) -> Self {
        let machine = Self::with(settings);
        machine.run("systemctl start standpipe");
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn run(&self, script: &str) -> String {
        run(&mut self.0.shell(script)).unwrap()
    }

    fn fails(&self, script: &str) {
        let output = self.0.shell(script).output().unwrap();
        assert!(!output.status.success(), "{script}: {output:?}");
    }

    /// A property of the unit, as `systemctl show` knows it.
    fn show(&self, property: &str) -> String {
        self.run(&format!("systemctl show --value --property={property} standpipe")).trim().to_owned()
    }

    fn main_pid(&self) -> u32 {
        self.show("MainPID").parse().unwrap()
    }

    fn journal(&self) -> String {
        self.run("journalctl --unit=standpipe --output=cat")
    }

    /// Sends lines with `standpipe put`; they are acknowledged when this returns.
    fn put(&self, stream: &str, lines: Range<u32>) {
        self.run(&format!(
            "export STANDPIPE_ACCESS_KEY_ID=standpipe STANDPIPE_SECRET_ACCESS_KEY={SECRET}
            seq {} {} | standpipe put --stream {stream}",
            lines.start,
            lines.end - 1
        ));
    }

    /// Waits until these lines of a stream have arrived, and checks that each has once.
    fn arrive(&self, stream: &str, lines: Range<u32>) {
        let arrived = eventually("the lines arrive", SOON, || {
            Some(self.delivered(stream)).filter(|arrived| arrived.len() >= lines.len())
        });
        assert_eq!(arrived, lines.map(|line| (line, 1)).collect());
    }

    /// How often each line of a stream stands in its objects.
    fn delivered(&self, stream: &str) -> BTreeMap<u32, u32> {
        let mut lines = BTreeMap::new();
        for file in files_below(&self.0.path(&format!("{STATE}/delivered/lake/{stream}"))) {
            // A file that is being written has another name the next moment.
            for line in fs::read_to_string(file).unwrap_or_default().lines() {
                *lines.entry(line.parse().unwrap()).or_default() += 1;
            }
        }
        lines
    }

    /// Waits until the service runs in another process than `before`.
    fn restarted(&self, before: u32) {
        eventually("the service is restarted", SOON, || {
            let pid = self.main_pid();
            (pid != 0 && pid != before && self.show("ActiveState") == "active").then_some(())
        });
    }
}

#[test]
fn a_key_for_encryption_at_rest_is_a_credential_of_the_unit() {
    let machine = Machine::with("LoadCredential=main-key:/etc/standpipe/credentials/main.key");
    machine.run("standpipe generate-key /etc/standpipe/credentials/main.key");
    let key = "keys: { main: { type: file, path: \"${CREDENTIALS_DIRECTORY}/main-key\" } }\n";
    machine.write(CONFIG, &format!("{YAML}{key}"));
    machine.write("/opt/streams/clicks.yaml", &format!("{}encryption: {{ key: main }}\n", stream("clicks")));
    machine.run("systemctl start standpipe");
    machine.put("clicks", 0..5);
    machine.arrive("clicks", 0..5);
    let verified = machine.run("standpipe journal verify /var/lib/standpipe");
    assert!(verified.contains("locked by key 'main'"), "{verified}");
}

#[test]
fn a_function_runs_within_what_the_unit_leaves_to_the_daemon() {
    let machine = Machine::with("");
    fs::write(machine.0.path("/etc/standpipe/same.wasm"), example("identity")).unwrap();
    machine.write(CONFIG, &format!("{YAML}functions: {{ same: {{ path: ./same.wasm, deadline: 20s }} }}\n"));
    machine.write("/opt/streams/clicks.yaml", &format!("{}processors: [ wasm: same ]\n", stream("clicks")));
    machine.run("systemctl start standpipe");
    machine.put("clicks", 0..5);
    machine.arrive("clicks", 0..5);
    assert!(!machine.journal().contains("WARN"), "{}", machine.journal());
}

#[test]
fn the_service_installs_as_documented_and_is_active_when_it_is_ready() {
    if !has_root() {
        return;
    }
    let root = Path::new(REPOSITORY);
    let docs = fs::read_to_string(root.join("docs/operations.md")).unwrap();
    // The first indented block from the one with this line on.
    let block = |first: &str| {
        let lines = docs.lines().skip_while(|line| !(line.starts_with("    ") && line.contains(first)));
        lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    };
    let deploy = root.join("deploy");
    let files = [(Path::new(STANDPIPE), "/opt/release/standpipe"), (deploy.as_path(), "/opt/release/deploy")];
    let machine = Machine(Systemd::boot(&files).unwrap());
    machine.run(&format!("set -e; cd /opt/release\n{}", block("/usr/bin/standpipe")));
    // No waiting: the last of the commands came back because the daemon had said that it is ready.
    machine.run("curl --silent --show-error --fail http://127.0.0.1:8573/readyz");
    assert_eq!(machine.show("ActiveState"), "active");
    // There is no message bus to wait for its end by.
    machine.run(&block("systemd-run").replace("--pipe --quiet --wait", "--unit=check"));
    let journal = || machine.run("journalctl --unit=check --output=cat");
    eventually("it is checked by hand", SOON, || journal().contains("ok, 1 stream, 1 store").then_some(()));
}

#[test]
fn the_service_is_a_user_of_its_own_and_delivers_below_its_state_directory() {
    if !has_root() {
        return;
    }
    let machine = Machine::started("");
    machine.put("clicks", 0..1000);
    machine.arrive("clicks", 0..1000);
    let status = machine.run(&format!("cat /proc/{}/status", machine.main_pid()));
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    let uid = field("Uid:").split('\t').next().unwrap();
    assert!(DYNAMIC_UIDS.contains(&uid.parse().unwrap()), "{uid}");
    let filtered = "2";
    assert_eq!(
        (field("CapPrm:"), field("CapBnd:"), field("Seccomp:")),
        (&*"0".repeat(16), &*"0".repeat(16), filtered)
    );
    let owners = machine.run(&format!("find {STATE}/ -printf '%U %m\\n' | sort -u"));
    assert!(owners.lines().all(|line| line.starts_with(uid) && line.ends_with("00")), "{uid}: {owners}");
    let journal = machine.journal();
    assert!(!journal.contains(SECRET) && !journal.contains("WARN"), "{journal}");
}

#[test]
fn the_keys_of_producers_may_be_a_credential_and_the_audit_log_lies_below_the_state_directory() {
    if !has_root() {
        return;
    }
    let machine = Machine::with("LoadCredential=producers:/etc/standpipe/credentials/producers");
    let producers = format!("- {{ access_key_id: standpipe, secret_access_key: {SECRET} }}\n");
    machine.write("/etc/standpipe/credentials/producers", &producers);
    let (before, rest) = YAML.split_once("credentials:\n").unwrap();
    let (_, stores) = rest.split_once('\n').unwrap();
    let access = "credentials_file: ${CREDENTIALS_DIRECTORY}/producers\naudit: { path: /var/lib/standpipe/audit.log }\n";
    machine.write(CONFIG, &format!("{before}{access}{stores}"));
    machine.run("systemctl start standpipe");
    machine.put("clicks", 0..10);
    machine.arrive("clicks", 0..10);
    machine.run(&format!(
        "export STANDPIPE_ACCESS_KEY_ID=standpipe STANDPIPE_SECRET_ACCESS_KEY={SECRET}; standpipe streams list"
    ));
    let audited = machine.run(&format!("cat {STATE}/audit.log"));
    assert!(
        audited.contains("\"eventName\":\"ListDeliveryStreams\"") && !audited.contains(SECRET),
        "{audited}"
    );
}

#[test]
fn a_reload_changes_the_same_process_and_is_refused_when_the_configuration_is_wrong() {
    if !has_root() {
        return;
    }
    let machine = Machine::started("");
    let pid = machine.main_pid();
    machine.write("/opt/streams/views.yaml", &stream("views"));
    machine.run("systemctl reload standpipe");
    machine.put("views", 0..10);
    machine.arrive("views", 0..10);

    for (wrong, says) in [
        ("storse:", "standpipe.yaml:6:1"),
        ("listen: 127.0.0.1:99\nstores:", "'listen' changes only at a restart"),
    ] {
        machine.write(CONFIG, &YAML.replace("stores:", wrong));
        machine.fails("systemctl reload standpipe");
        assert!(machine.journal().contains(says), "{says}: {}", machine.journal());
    }
    machine.put("clicks", 0..10);
    machine.arrive("clicks", 0..10);

    machine.write(CONFIG, YAML);
    machine.run("systemctl reload standpipe");
    eventually("no other reload is under way", SOON, || {
        (machine.show("ActiveState") == "active").then_some(())
    });

    // A change in the folder of the configuration is seen without a reload, from within the sandbox too.
    let saved = stream("saved").replace('\n', "\n    ");
    machine.write(CONFIG, &format!("{YAML}streams:\n  - {saved}\n"));
    eventually("the change is seen", SOON, || {
        machine.run("curl --silent http://127.0.0.1:8573/streams").contains("saved").then_some(())
    });
    assert_eq!((machine.main_pid(), machine.show("NRestarts")), (pid, "0".to_owned()));
}

#[test]
fn the_watchdog_restarts_a_daemon_that_hangs_and_what_it_had_acknowledged_is_delivered() {
    if !has_root() {
        return;
    }
    let machine = Machine::started("WatchdogSec=2s\nRestartSec=100ms");
    let pid = machine.main_pid();
    machine.put("clicks", 0..1000);
    machine.run(&format!("kill -STOP {pid}"));
    machine.restarted(pid);
    assert!(machine.journal().contains("Watchdog timeout"), "{}", machine.journal());
    machine.arrive("clicks", 0..1000);
}

#[test]
fn a_killed_daemon_comes_back_and_a_stop_is_quick() {
    if !has_root() {
        return;
    }
    let machine = Machine::started("RestartSec=100ms");
    let pid = machine.main_pid();
    machine.put("clicks", 0..1000);
    machine.run("systemctl kill --kill-who=main --signal=KILL standpipe");
    machine.restarted(pid);
    machine.arrive("clicks", 0..1000);

    let began = Instant::now();
    machine.run("systemctl stop standpipe");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let ended = ["ActiveState", "Result", "ExecMainStatus"].map(|property| machine.show(property));
    assert_eq!(ended, ["inactive", "success", "0"]);
}

#[test]
fn a_configuration_that_is_wrong_keeps_the_service_from_starting_and_the_journal_says_where() {
    if !has_root() {
        return;
    }
    let machine = Machine::with("Restart=no");
    machine.write(CONFIG, &YAML.replace("type: file", "type: flie"));
    machine.fails("systemctl start standpipe");
    let journal = machine.journal();
    assert!(journal.contains("standpipe.yaml:7:") && journal.contains("flie"), "{journal}");
    assert!(!journal.contains("standpipe is ready") && machine.main_pid() == 0, "{journal}");
    machine.write(CONFIG, YAML);
    machine.run("systemctl start standpipe");
}

#[test]
fn systemd_has_nothing_to_say_about_the_unit_and_finds_it_little_exposed() {
    if !has_root() {
        return;
    }
    let machine = Machine::with("");
    // It succeeds in the face of keys that it does not know, so what it prints counts.
    let verified = machine.0.shell(&format!("systemd-analyze verify {UNIT}")).output().unwrap();
    assert_eq!((verified.status.code(), String::from_utf8_lossy(&verified.stderr).as_ref()), (Some(0), ""));
    // The threshold counts tenths.
    machine.run(&format!("systemd-analyze security --offline=true --threshold=20 {UNIT}"));
}
