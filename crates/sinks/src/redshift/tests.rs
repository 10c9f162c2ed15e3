//! Statements, keys and bytes, without a server.

use std::sync::Arc;

use standpipe_model::{ErrorClass, ObjectOptions, ObjectTarget, Request, Secret, SinkError, Timestamp};

use super::error::told;
use super::*;
use crate::sample::{request, rows};
use crate::{FileOptions, FileSink, PostgresOptions};

fn options(copy_options: &str) -> RedshiftOptions {
    let mut table = PostgresOptions::new("h", "d", "u", "sales.Orders");
    table.columns = vec![("Id".to_owned(), None), ("\"At\"".to_owned(), None)];
    let role = CopyCredentials::Role("arn:aws:iam::000000000000:role/r".to_owned());
    RedshiftOptions { copy_options: copy_options.to_owned(), ..RedshiftOptions::new(table, role) }
}

fn staging(folder: &tempfile::TempDir, gzip: bool) -> Staging {
    let options = StagingOptions {
        bucket: "b".to_owned(),
        prefix: "in/".to_owned(),
        custom_time_zone: String::new(),
        extension: ".gz".to_owned(),
        gzip,
        object: ObjectOptions::default(),
    };
    Staging { options, store: Arc::new(FileSink::new(FileOptions { root: folder.path().to_owned() })) }
}

fn sample() -> Request {
    let mut request = request(rows(&["{\"n\":1}", "{\"n\":2}\n", "", "{\"n\":3}"]), Timestamp(9));
    request.rows.iter_mut().for_each(|row| row.arrived_at = Timestamp(1_700_000_000_000));
    request
}

#[test]
fn a_statement_says_what_is_loaded_from_where_and_by_whom() {
    let manifest = ObjectTarget { bucket: "b".to_owned(), key: "manifests/o'k".to_owned() };
    let sql = options("JSON 'auto'").copy().unwrap().sql(&manifest);
    assert_eq!(
        sql,
        "COPY \"sales\".\"orders\" (\"id\", \"At\") FROM 's3://b/manifests/o''k' IAM_ROLE \
         'arn:aws:iam::000000000000:role/r' MANIFEST JSON 'auto'"
    );
    let mut keyed = options(" delimiter '\\t' ");
    keyed.credentials = CopyCredentials::Keys {
        access_key_id: "AK".to_owned(),
        secret_access_key: Secret::new("s/e+c"),
        session_token: Some(Secret::new("t")),
    };
    keyed.table.columns.clear();
    let sql = keyed.copy().unwrap().sql(&manifest);
    assert!(sql.ends_with(
        "CREDENTIALS 'aws_access_key_id=AK;aws_secret_access_key=s/e+c;token=t' MANIFEST delimiter '\\t'"
    ));
    assert!(sql.starts_with("COPY \"sales\".\"orders\" FROM"), "{sql}");
    assert!(!format!("{keyed:?}").contains("s/e+c"));
    keyed.credentials = CopyCredentials::Role("DEFAULT".to_owned());
    assert!(keyed.copy().unwrap().sql(&manifest).contains(" IAM_ROLE default MANIFEST"));
}

#[test]
fn options_that_say_what_is_said_elsewhere_or_end_the_statement_are_refused() {
    for (text, expect) in [
        (
            "manifest json 'auto'",
            "copy_options must not have MANIFEST: what is loaded from where, and by whom, is said elsewhere",
        ),
        (
            "IAM_ROLE 'x'",
            "copy_options must not have IAM_ROLE: what is loaded from where, and by whom, is said elsewhere",
        ),
        (
            "CSV noload",
            "copy_options must not have NOLOAD: what is loaded from where, and by whom, is said elsewhere",
        ),
        ("FORMAT AS PARQUET", "copy_options has PARQUET, and records are staged one behind the other"),
        ("CSV; DROP TABLE t", "copy_options must not have ';' outside of quotes"),
        ("CSV -- GZIP", "copy_options must not have '--' outside of quotes"),
        ("CSV /*", "copy_options must not have '/*' outside of quotes"),
        ("JSON 'auto", "copy_options has a quote that is not closed"),
        ("DELIMITER '\\'", "copy_options has a quote that is not closed"),
    ] {
        let error = options(text).check().expect_err(text);
        assert_eq!(error.to_string(), expect, "{text}");
    }
    for text in
        ["", "JSON 's3://b/manifest;--/*.json'", "CSV QUOTE AS '\\'' MAXERROR 10", "delimiter '|' escape"]
    {
        options(text).check().expect(text);
    }
    let mut several = options("");
    several.table.host = "a,b".to_owned();
    assert_eq!(several.check().unwrap_err().to_string(), "a Redshift has one host");
}

#[test]
fn options_are_told_what_the_objects_are() {
    let has_lines = |text: &str, gzip| options(text).copy().unwrap().options.has_lines(gzip);
    assert!(has_lines("JSON 'auto'", true) && has_lines("csv gzip", true) && has_lines("", false));
    // Records that are compressed themselves are not lines.
    assert!(!has_lines("csv gzip", false) && !has_lines("csv lzop", true));
    let manifest = ObjectTarget { bucket: "b".to_owned(), key: "k".to_owned() };
    for (text, end) in
        [("CSV", "MANIFEST CSV GZIP"), ("CSV gzip", "MANIFEST CSV gzip"), ("", "MANIFEST GZIP")]
    {
        let mut copy = options(text).copy().unwrap();
        copy.options = copy.options.of_objects(true);
        assert!(copy.sql(&manifest).ends_with(end), "{}", copy.sql(&manifest));
    }
}

#[test]
fn errors_have_aws_names_and_no_secrets() {
    let secret = Secret::new("hunter2");
    for (code, expect) in [
        ("Postgres.42P01", "Redshift.TableNotFound"),
        ("Postgres.XX000", "Redshift.DataLoadFailed"),
        ("Postgres.08006", "Redshift.08006"),
        ("Postgres.ConnectionFailed", "Redshift.ConnectionFailed"),
        ("NoSuchBucket", "NoSuchBucket"),
    ] {
        let message = "syntax error at 'aws_secret_access_key=hunter2'";
        let error =
            SinkError { code: Some(code.to_owned()), ..SinkError::new(ErrorClass::Transient, message) };
        let error = told(error, std::slice::from_ref(&secret));
        assert_eq!(error.code.as_deref(), Some(expect));
        assert_eq!(error.message, "syntax error at 'aws_secret_access_key=***'");
    }
}

#[tokio::test]
async fn the_same_rows_are_staged_at_the_same_place_and_others_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (staging, request) = (staging(&folder, false), sample());
    let place = staging.place(&request, vec![0, 1, 2, 3], true).unwrap();
    for _ in 0..2 {
        assert_eq!(staging.put(&request, &place).await.unwrap(), 24);
        staging.put_manifest(&request, &place).await.unwrap();
    }
    let manifest = &place.manifest.key;
    let name = manifest.strip_prefix("manifests/2023/11/14/22/clicks-1-2023-11-14-22-13-20-").unwrap();
    let read = |key: &str| std::fs::read_to_string(folder.path().join("b").join(key)).unwrap();
    let object = format!("in/2023/11/14/22/clicks-1-2023-11-14-22-13-20-{name}.gz");
    assert_eq!(read(&object), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    assert_eq!(
        read(manifest),
        format!("{{\"entries\":[{{\"mandatory\":true,\"url\":\"s3://b/{object}\"}}]}}")
    );

    let fewer = staging.place(&request, vec![0, 1], true).unwrap();
    assert_ne!(fewer.manifest, place.manifest);
    assert_eq!(staging.place(&request, vec![0, 1, 2, 3], true).unwrap().manifest, place.manifest);
    // What is there is not written again, so other bytes of the same rows are elsewhere.
    let bare = staging.place(&request, vec![0, 1, 2, 3], false).unwrap();
    assert_ne!(bare.manifest, place.manifest);
    assert_eq!(staging.put(&request, &bare).await.unwrap(), 22);

    staging.give_up(&request, &place).await.unwrap();
    assert!(!folder.path().join("b").join(manifest).exists());
    assert_eq!(
        read(&format!("errors/{manifest}")),
        format!("{{\"entries\":[{{\"mandatory\":true,\"url\":\"s3://b/{object}\"}}]}}")
    );
    staging.clean(&place).await.unwrap();
    assert!(!folder.path().join("b").join(&object).exists());
}

#[tokio::test]
async fn rows_that_are_no_lines_are_staged_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (staging, request) = (staging(&folder, false), sample());
    let place = staging.place(&request, vec![0, 1, 3], false).unwrap();
    assert_eq!(staging.put(&request, &place).await.unwrap(), 22);
}
