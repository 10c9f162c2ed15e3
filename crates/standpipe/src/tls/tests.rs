//! Certificates that change, expire, or are made here, on a clock of our own.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::SystemTime;

use standpipe_ingest::ClientAuth;
use standpipe_ingest::TlsVersion;
use standpipe_testkit::{Authority, Issued};
use tempfile::TempDir;

use super::*;
use crate::alarm::Alarm;

const DAY: Duration = Duration::from_hours(24);

/// A folder with a certificate and its key, as `tls` of a configuration.
fn files(issued: &Issued) -> (TempDir, TlsConfig) {
    let folder = tempfile::tempdir().unwrap();
    let config = TlsConfig {
        certificate: folder.path().join("certificate.pem"),
        key: folder.path().join("key.pem"),
        min_version: TlsVersion::Tls12,
        clients: None,
        plain_listen: None,
    };
    write(&config, issued);
    (folder, config)
}

fn write(config: &TlsConfig, issued: &Issued) {
    fs::write(&config.certificate, issued.certificate()).unwrap();
    fs::write(&config.key, issued.key()).unwrap();
}

fn listener(config: &TlsConfig) -> ListenerTls {
    ListenerTls::new(config.clone(), load(config).unwrap())
}

fn issued(days: u32) -> Issued {
    Authority::new("ca").unwrap().server("server", days * DAY).unwrap()
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(now.as_millis()).unwrap())
}

fn days_left(tls: &ListenerTls) -> i64 {
    (tls.expires_in_seconds(now()) + 3600) / 86_400
}

fn raised(alarms: &Alarms) -> Vec<(AlarmKind, String)> {
    alarms.raised(None).into_iter().map(|Alarm { kind, message, .. }| (kind, message)).collect()
}

#[test]
fn changed_files_are_taken_over_when_they_have_stood_still_for_a_look() {
    let (_folder, config) = files(&issued(100));
    let (tls, alarms) = (listener(&config), Alarms::default());
    tls.look_after(&alarms, now());
    let new = issued(200);
    fs::write(&config.certificate, new.certificate()).unwrap();
    tls.look_after(&alarms, now());
    fs::write(&config.key, new.key()).unwrap();
    tls.look_after(&alarms, now());
    assert_eq!(days_left(&tls), 100, "a pair that is being written is not judged");
    assert_eq!(raised(&alarms), []);
    tls.look_after(&alarms, now());
    assert_eq!((days_left(&tls), raised(&alarms)), (200, vec![]));
}

#[test]
fn files_behind_a_link_that_is_changed_are_taken_over() {
    let (old, _) = files(&issued(100));
    let (new, _) = files(&issued(200));
    let mounted = tempfile::tempdir().unwrap();
    let link = mounted.path().join("data");
    symlink(old.path(), &link).unwrap();
    let config = TlsConfig {
        certificate: link.join("certificate.pem"),
        key: link.join("key.pem"),
        min_version: TlsVersion::Tls12,
        clients: None,
        plain_listen: None,
    };
    let (tls, alarms) = (listener(&config), Alarms::default());
    // As Kubernetes changes what a pod sees of a secret.
    symlink(new.path(), mounted.path().join("tmp")).unwrap();
    fs::rename(mounted.path().join("tmp"), &link).unwrap();
    tls.look_after(&alarms, now());
    tls.look_after(&alarms, now());
    assert_eq!(days_left(&tls), 200);
}

#[test]
fn files_that_cannot_be_used_change_nothing_and_raise_an_alarm_until_they_can() {
    let good = issued(100);
    let (_folder, config) = files(&good);
    let (tls, alarms) = (listener(&config), Alarms::default());
    for (spoil, expect) in [
        (("certificate.pem", Some(String::new())), "there is no certificate in it"),
        (("certificate.pem", Some(good.certificate()[..300].to_owned())), "the certificate is damaged"),
        (("key.pem", Some(issued(100).key().to_owned())), "cannot be used together"),
        (("key.pem", None), "cannot read"),
    ] {
        let (name, text) = spoil;
        let path = config.key.with_file_name(name);
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        for _ in 0..3 {
            tls.look_after(&alarms, now());
        }
        let found = raised(&alarms);
        assert_eq!(days_left(&tls), 100, "{expect}");
        assert!(
            matches!(&found[..], [(AlarmKind::CertificateRefused, message)] if message.contains(expect)),
            "{found:?}"
        );
        write(&config, &issued(100));
        for _ in 0..2 {
            tls.look_after(&alarms, now());
        }
        assert_eq!(raised(&alarms), [], "{expect}");
        write(&config, &good);
        for _ in 0..2 {
            tls.look_after(&alarms, now());
        }
    }
}

#[test]
fn a_certificate_that_nobody_renews_raises_an_alarm_two_weeks_before_its_end() {
    let (_folder, config) = files(&issued(30));
    let (tls, alarms) = (listener(&config), Alarms::default());
    let after = |days: u32| Timestamp(now().as_millis() + u64::try_from((days * DAY).as_millis()).unwrap());
    tls.look_after(&alarms, after(15));
    assert_eq!(raised(&alarms), []);
    tls.look_after(&alarms, after(17));
    let path = config.certificate.display();
    assert_eq!(
        raised(&alarms),
        [(AlarmKind::CertificateExpiring, format!("the certificate {path} expires in 311 hours"))]
    );
    tls.look_after(&alarms, after(31));
    assert_eq!(
        raised(&alarms),
        [(AlarmKind::CertificateExpiring, format!("the certificate {path} has expired"))]
    );
    assert!(tls.expires_in_seconds(after(31)) < 0);
    write(&config, &issued(60));
    tls.look_after(&alarms, after(31));
    tls.look_after(&alarms, after(31));
    assert_eq!(raised(&alarms), []);
}

#[test]
fn what_cannot_be_loaded_is_named_by_its_file() {
    let authority = Authority::new("ca").unwrap();
    let (folder, good) = files(&authority.server("server", DAY).unwrap());
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty"), "").unwrap();
    let ca = |name: &str| Some((path(name), ClientAuth::Required));
    for (config, expect) in [
        (TlsConfig { certificate: path("none"), ..good.clone() }, "cannot read {}/none"),
        (TlsConfig { key: path("certificate.pem"), ..good.clone() }, "cannot use {}/certificate.pem"),
        (TlsConfig { key: path("empty"), ..good.clone() }, "cannot use {}/empty"),
        (TlsConfig { clients: ca("empty"), ..good.clone() }, "cannot use {}/empty"),
        (TlsConfig { clients: ca("none"), ..good }, "cannot read {}/none"),
    ] {
        let error = load(&config).unwrap_err().to_string();
        assert_eq!(error, expect.replace("{}", &folder.path().display().to_string()));
    }
}

/// The names below a folder, with their modes.
fn modes(folder: &Path) -> Vec<(String, u32)> {
    let mut modes: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().permissions().mode() & 0o777)
        })
        .collect();
    modes.sort();
    modes
}

#[test]
fn a_development_certificate_is_made_once_and_renewed_under_the_same_authority() {
    let data_dir = tempfile::tempdir().unwrap();
    let config = dev::config(data_dir.path());
    let read = || {
        [&dev::ca_file(data_dir.path()), &config.certificate].map(|path| fs::read_to_string(path).unwrap())
    };
    dev::ensure(data_dir.path(), now()).unwrap();
    let [ca, certificate] = read();
    let first = listener(&config);
    assert_eq!(days_left(&first), 397);
    let folder = data_dir.path().join("dev-tls");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    for (name, mode) in modes(&folder) {
        assert!(!name.contains("key") || mode == 0o600, "{name} {mode:o}");
    }

    dev::ensure(data_dir.path(), now()).unwrap();
    assert_eq!(read(), [ca.clone(), certificate.clone()], "it is as it was");

    let late = Timestamp(now().as_millis() + u64::try_from((380 * DAY).as_millis()).unwrap());
    dev::ensure(data_dir.path(), late).unwrap();
    let [same, renewed] = read();
    assert!(same == ca && renewed != certificate, "renewed under the authority that clients trust");
    assert!(days_left(&listener(&config)) > 700);

    fs::remove_file(&config.key).unwrap();
    dev::ensure(data_dir.path(), now()).unwrap();
    assert_eq!(read()[0], ca);
    load(&config).unwrap();

    fs::remove_file(folder.join("ca-key.pem")).unwrap();
    dev::ensure(data_dir.path(), now()).unwrap();
    assert_ne!(read()[0], ca, "without its key an authority is of no use");
    load(&config).unwrap();
}
