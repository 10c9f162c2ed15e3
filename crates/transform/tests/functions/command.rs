//! Commands: the Lambda contract on standard input and output.

use standpipe_model::Secret;
use standpipe_transform::{LoadError, Transformed};

use crate::running::{failure_of_all, learns_nothing, load, options, rows, run, sandbox};
use standpipe_testkit::guests::{answering, assembly_script, go, probe_command, redact_lambda};

const ID_7: &str = "00000000000000000007000000";
const ID_8: &str = "00000000000000000008000000";

/// What becomes of two records by this answer, in which `7` and `8` stand for their ids and `'` for a quotation mark.
fn answered(answer: &str) -> Transformed {
    let answer = answer.replace('\'', "\"").replace("\"7\"", &format!("\"{ID_7}\""));
    let (done, pure) = run(load(&answering(&answer.replace("\"8\"", &format!("\"{ID_8}\"")))), &["a", "b"]);
    assert!(pure);
    done
}

#[test]
fn a_handler_written_for_lambda_runs_as_it_is() {
    let data = [r#"{"email":"a@b.c","n":1}"#, "no JSON", r#"{"n":2}"#];
    let (done, pure) = run(load(&redact_lambda()), &data);
    assert_eq!(rows(&done), [r#"{"email":"***","n":1}"#, r#"{"n":2}"#]);
    let failure = &done.failures[&1];
    assert_eq!((&*failure.code, failure.attempts), ("Lambda.ProcessingFailedStatus", 1));
    assert_eq!(failure.message, "ProcessingFailed status set for record");
    assert!(pure);
}

#[test]
fn a_handler_in_go_makes_json_of_csv() {
    let mut options = options();
    options.config.insert("COLUMNS".to_owned(), Secret::new("name,city"));
    let function = sandbox().load(&go("csv-to-json"), options).unwrap();
    let (done, pure) = run(function, &["Ada,\"London, W1\"", "", "one field"]);
    assert_eq!(rows(&done), [r#"{"city":"London, W1","name":"Ada"}"#]);
    assert_eq!((done.dropped, pure), (1, true));
    assert_eq!(done.failures[&2].code, "Lambda.ProcessingFailedStatus");
}

#[test]
fn a_handler_in_assembly_script_masks_card_numbers() {
    let data = ["paid with 4111111111111111.", "order 123456", "", "ü"];
    let (done, pure) = run(load(&assembly_script("mask-cards")), &data);
    assert_eq!(rows(&done), ["paid with ****************.", "order 123456", "", "ü"]);
    assert!(pure);
}

#[test]
fn an_answer_may_be_in_any_order_and_carry_partition_keys() {
    let done = answered(
        r"{'records':[{'recordId':'8','result':'Dropped'},
          {'recordId':'7','result':'Ok','data':'eA==','metadata':{'partitionKeys':{'k':'v','n':4}}}]}",
    );
    assert_eq!((rows(&done), done.dropped, done.failures.len()), (vec!["x".to_owned()], 1, 0));
    let keys: Vec<_> = done.rows[0].function_keys.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(keys, [("k", "v"), ("n", "4")]);
}

#[test]
fn an_answer_that_is_none_fails_the_whole_call_at_once() {
    let (missing, duplicated) = ("Lambda.MissingRecordId", "Lambda.DuplicatedRecordId");
    for (answer, code) in [
        ("", missing),
        ("no JSON", missing),
        ("{'records':null}", missing),
        ("{'records':[{'recordId':'7','result':'Ok','data':'eA=='}]}", missing),
        ("{'records':[{'recordId':'7','result':'Dropped'},{'recordId':'7','result':'Dropped'}]}", duplicated),
    ] {
        let failure = failure_of_all(&answered(answer), 2);
        assert_eq!((&*failure.code, failure.attempts), (code, 1), "{answer}");
    }
}

#[test]
fn an_unknown_record_is_tried_again_and_then_fails_the_whole_call() {
    let failure = failure_of_all(&answered("{'records':[{'recordId':'9','result':'Dropped'}]}"), 2);
    assert_eq!((&*failure.code, failure.attempts), ("Lambda.FunctionError", 4));
    assert!(failure.message.contains("unknown record '9'"), "{failure:?}");
}

#[test]
fn a_record_whose_part_of_the_answer_is_wrong_fails_alone() {
    for (part, message) in [
        ("'result':'Ok','data':null", "cannot be null"),
        ("'result':'Ok'", "cannot be null"),
        ("'result':'Ok','data':'?'", "not valid base64"),
        ("'result':'ok','data':'eA=='", "The result is 'ok'"),
        ("'data':'eA=='", "has no result"),
    ] {
        let answer = format!(
            "{{'records':[{{'recordId':'7',{part}}},{{'recordId':'8','result':'Ok','data':'eA=='}}]}}"
        );
        let done = answered(&answer);
        assert_eq!((rows(&done), done.failures.len()), (vec!["x".to_owned()], 1), "{part}");
        let failure = &done.failures[&0];
        assert_eq!((&*failure.code, failure.attempts), ("Lambda.InvalidReturnFormat", 1));
        assert!(failure.message.contains(message), "{failure:?}");
    }
}

#[test]
fn nothing_that_a_command_can_learn_differs_from_call_to_call() {
    learns_nothing(&probe_command());
}

#[test]
fn what_a_command_said_last_is_in_the_reason() {
    let (done, _) = run(load(&probe_command()), &["panic"]);
    let failure = failure_of_all(&done, 1);
    assert_eq!((&*failure.code, failure.attempts), ("Lambda.FunctionError", 4));
    assert!(failure.message.contains("as it was told"), "{failure:?}");
    let exited = failure_of_all(&run(load(&probe_command()), &["exit"]).0, 1);
    assert!(exited.message.contains("it exited with the status 3"), "{exited:?}");
}

#[test]
fn a_module_that_is_no_command_is_refused() {
    let refused =
        sandbox().load(&standpipe_testkit::guests::wat("(module (func (export \"other\")))"), options());
    assert!(matches!(refused, Err(LoadError::NoFunction)), "{refused:?}");
}
