//! What is replaced, what is not, and what fails.

use proptest::prelude::*;
use serde_json::json;

use super::super::tests::{codes, kept, run};
use super::*;

fn redact(options: serde_json::Value) -> Redact {
    Redact::new(&serde_json::from_value(options).unwrap()).unwrap()
}

fn redacted(options: serde_json::Value, row: &str) -> String {
    kept(&run(redact(options), &[row])).remove(0)
}

const EMAIL: &str = r"[\w.+-]+@[\w-]+\.[\w.]+";

#[test]
fn values_at_paths_are_replaced_and_the_rest_stays_to_the_byte() {
    let row =
        "{ \"user\": {\"email\" : \"a@b.c\", \"age\":1.50}, \"cards\":[{\"n\":1}, {\"n\":{\"x\":2}}]}\n";
    assert_eq!(
        redacted(json!({"paths": [".user.email", ".cards[].n"]}), row),
        "{ \"user\": {\"email\" : \"***\", \"age\":1.50}, \"cards\":[{\"n\":\"***\"}, {\"n\":\"***\"}]}\n"
    );
    assert_eq!(redacted(json!({"paths": [".x"], "replacement": "\""}), row), row);
}

#[test]
fn a_name_that_is_written_otherwise_or_twice_does_not_slip_through() {
    let row = r#"{"email":"a","\u0065mail":"b","email":"c"}"#;
    assert_eq!(
        redacted(json!({"paths": [".email"]}), row),
        r#"{"email":"***","\u0065mail":"***","email":"***"}"#
    );
}

#[test]
fn hashes_are_those_of_the_value_however_it_is_written() {
    let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for row in [r#"{"a":"abc"}"#, r#"{"a":"\u0061bc"}"#] {
        assert_eq!(redacted(json!({"paths": [".a"], "method": "hash"}), row), json!({"a": sha}).to_string());
    }
    // RFC 4231, test case 2.
    let mac = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(
        redacted(
            json!({"paths": [".a"], "method": "hash", "key": "Jefe"}),
            r#"{"a":"what do ya want for nothing?"}"#
        ),
        json!({"a": mac}).to_string()
    );
}

#[test]
fn patterns_are_looked_for_in_what_json_means() {
    let options = || json!({"patterns": [EMAIL, "4[0-9]{15}"]});
    assert_eq!(
        redacted(
            options(),
            r#"{"t":"from a@b.com to \"c\u0040d.org\"", "card":4111111111111111, "n":-1.5e3}"#
        ),
        r#"{"t":"from *** to \"***\"", "card":"***", "n":-1.5e3}"#
    );
    assert_eq!(redacted(options(), r#"{"a@b.com":1}"#), r#"{"***":1}"#, "names too");
    assert_eq!(redacted(options(), "a@b.com said 4111111111111111\n"), "*** said ***\n", "text too");
    assert_eq!(redacted(options(), "nothing here"), "nothing here");
}

#[test]
fn a_pattern_does_not_see_what_a_path_has_replaced() {
    let options = json!({"paths": [".a"], "patterns": ["[0-9]+"], "method": "hash"});
    let row = redacted(options, r#"{"a":"x1","b":"y"}"#);
    assert_eq!(row, json!({"a": hex::encode(Sha256::digest("x1")), "b": "y"}).to_string());
}

#[test]
fn what_paths_cannot_be_looked_for_in_fails() {
    let done =
        run(redact(json!({"paths": [".a"], "patterns": ["x"]})), &["plain", "{\"a\":1", "{\"a\":1} x"]);
    assert_eq!(codes(&done), ["Redact.MalformedRecord"; 3]);
    assert!(run(redact(json!({"paths": [".a"]})), &[&b"{\"a\":\"\xff\"}"[..]]).rows.is_empty());
}

#[test]
fn options_are_checked_and_the_key_is_not_shown() {
    let options = |options| serde_json::from_value::<RedactOptions>(options).unwrap();
    for (json, error) in [
        (json!({}), "redact: paths `[]` must have a path, or `patterns` a pattern"),
        (json!({"paths": ["a"]}), "redact: paths `a` must begin with `.`, and so must each name in it"),
        (json!({"patterns": ["("]}), "redact: patterns `(` unclosed group"),
        (json!({"patterns": ["x*"]}), "redact: patterns `x*` matches nothing at all, and so everywhere"),
        (json!({"paths": [".a"], "key": "k"}), "redact: key `***` is for `method: hash` only"),
    ] {
        assert_eq!(Redact::new(&options(json)).unwrap_err().to_string(), error);
    }
    let long = json!({"paths": [".a"], "replacement": "x".repeat(101)});
    assert!(Redact::new(&options(long)).unwrap_err().to_string().ends_with("must have at most 100 bytes"));
    let redact = redact(json!({"paths": [".a"], "method": "hash", "key": "hunter2"}));
    assert!(!format!("{redact:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn a_secret_is_nowhere_in_what_comes_out(before in "[ -~]{0,10}", after in "\\PC{0,10}", depth in 0..5_usize) {
        let mut value = json!({"secret": format!("{before}hunter2{after}")});
        for level in 0..depth {
            value = if level % 2 == 0 { json!({"in": value}) } else { json!([1, value]) };
        }
        let done = run(redact(json!({"paths": ["..secret"]})), &[value.to_string()]);
        prop_assert!(!kept(&done)[0].contains("hunter2"));
        let done = run(redact(json!({"patterns": ["hunter2"]})), &[value.to_string()]);
        prop_assert!(!kept(&done)[0].contains("hunter2"));
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&done.rows[0].data).is_ok());
    }

    #[test]
    fn rubbish_is_kept_or_fails(row in proptest::collection::vec(any::<u8>(), 0..100)) {
        run(redact(json!({"paths": ["..a"], "patterns": ["b+"]})), &[&row]);
        run(redact(json!({"patterns": ["b+"]})), &[&row]);
    }
}
