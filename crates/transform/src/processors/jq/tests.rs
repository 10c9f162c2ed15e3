//! What programs do, what they may not, and where they end.

use proptest::prelude::*;

use super::super::tests::{codes, kept, run};
use super::*;

fn jq(program: &str) -> Jq {
    Jq::new(&JqOptions { program: program.to_owned(), raw_input: false, raw_output: false }).unwrap()
}

fn outputs(program: &str, row: &str) -> Vec<String> {
    let done = run(jq(program), &[row]);
    assert!(done.failures.is_empty(), "{program} of {row}: {:?}", done.failures);
    kept(&done)
}

fn failure(program: &str, row: &str) -> (String, String) {
    let failure = run(jq(program), &[row]).failures.remove(&0).unwrap();
    (failure.code, failure.message)
}

#[test]
fn several_outputs_are_several_rows_and_none_drops() {
    let done = run(
        jq(".items[] | select(.n > 1)"),
        &[r#"{"items":[{"n":1},{"n":2},{"n":3.10}]}"#, r#"{"items":[]}"#],
    );
    assert_eq!(kept(&done), [r#"{"n":2}"#, r#"{"n":3.10}"#]);
    assert_eq!(done.dropped, 1);
    assert_eq!(outputs(".a", "{\"a\":1}\n{\"a\":2}"), ["1", "2"], "a record is a stream of documents");
}

#[test]
fn text_goes_in_and_out() {
    let options =
        |program: &str| JqOptions { program: program.to_owned(), raw_input: true, raw_output: false };
    let parse = Jq::new(&options(r#"capture("^(?<level>[A-Z]+) (?<text>.*)$")"#)).unwrap();
    let done = run(parse, &[&b"WARN disk \"full\""[..], b"nothing", b"\xff"]);
    assert_eq!(kept(&done), [r#"{"level":"WARN","text":"disk \"full\""}"#]);
    assert_eq!((done.dropped, codes(&done)), (1, vec!["Jq.MalformedRecord"]));
    let raw = JqOptions { program: ".m, .n".to_owned(), raw_input: false, raw_output: true };
    let done = run(Jq::new(&raw).unwrap(), &[r#"{"m":"a \"line\"","n":[1]}"#]);
    assert_eq!(kept(&done), ["a \"line\"", "[1]"]);
}

#[test]
fn programs_do_what_they_do_in_jq_1_6() {
    // Each result is that of jq 1.6.
    for (program, row, expected) in [
        ("{a, b: .c.d}", r#"{"a":1,"c":{"d":"x"}}"#, r#"{"a":1,"b":"x"}"#),
        (".a // \"none\"", "{}", "\"none\""),
        ("[.[] * 2]", "[1,2.5]", "[2,5]"),
        (".[0] * .[1]", "[\"ab\",3]", "\"ababab\""),
        (".[0] * .[1]", "[{\"a\":{\"b\":1}},{\"a\":{\"c\":2}}]", r#"{"a":{"b":1,"c":2}}"#),
        (".a *= 3 | .b += 1", r#"{"a":2,"b":1}"#, r#"{"a":6,"b":2}"#),
        ("to_entries", r#"{"a":1}"#, r#"[{"key":"a","value":1}]"#),
        ("with_entries(.value += 1)", r#"{"a":1}"#, r#"{"a":2}"#),
        ("from_entries", r#"[{"name":"a","value":1},{"key":"b","value":2}]"#, r#"{"a":1,"b":2}"#),
        ("[range(3)], [range(1;3)], [range(5;0;-2)] | add", "null", "3"),
        ("reduce range(5) as $i (0; . + $i)", "null", "10"),
        ("[limit(3; repeat(1))]", "null", "[1,1,1]"),
        ("[.[] | tostring]", r#"[1,"1",[1]]"#, r#"["1","1","[1]"]"#),
        ("ltrimstr(\"a\"), rtrimstr(\"c\")", "\"abc\"", "\"bc\""),
        ("ltrimstr(\"a\")", "1", "1"),
        ("split(\", \") | join(\"-\")", "\"a, b\"", "\"a-b\""),
        ("test(\"B\"; \"i\")", "\"abc\"", "true"),
        ("sub(\"(?<x>b)\"; \"[\\(.x)]\")", "\"abc\"", "\"a[b]c\""),
        ("gsub(\"[aeiou]\"; \"\")", "\"education\"", "\"dctn\""),
        ("todate", "1425599621", "\"2015-03-05T23:53:41Z\""),
        ("fromdate", "\"2015-03-05T23:51:47Z\"", "1425599507"),
        ("strftime(\"%Y-%m-%d/%H\")", "1425599621", "\"2015-03-05/23\""),
        ("strptime(\"%Y-%m-%dT%H:%M:%SZ\") | mktime", "\"2015-03-05T23:51:47Z\"", "1425599507"),
        ("group_by(.a) | map(length)", r#"[{"a":1},{"a":2},{"a":1}]"#, "[2,1]"),
        ("unique_by(.a) | length", r#"[{"a":1},{"a":2},{"a":1}]"#, "2"),
        ("[paths]", r#"{"a":[1]}"#, r#"[["a"],["a",0]]"#),
        ("[leaf_paths]", r#"{"a":[1]}"#, r#"[["a",0]]"#),
        (".a.b.c = 1", "{}", r#"{"a":{"b":{"c":1}}}"#),
        (".a[1].b = 1", "{}", r#"{"a":[null,{"b":1}]}"#),
        (".a.b += 1 | .c.d //= 2 | .e.f |= 3", "{}", r#"{"a":{"b":1},"c":{"d":2},"e":{"f":3}}"#),
        (".[2] = 1", "[0]", "[0,null,1]"),
        (".[\"a b\"].c = .x.y", "{}", r#"{"a b":{"c":null}}"#),
        ("setpath([\"a\",\"b\"]; 1)", "{}", r#"{"a":{"b":1}}"#),
        ("getpath([\"a\",\"b\"]) = 4", "{}", r#"{"a":{"b":4}}"#),
        ("del(.[0,2])", "[1,2,3]", "[2]"),
        ("del(.a.b, .c)", r#"{"c":1,"d":2}"#, r#"{"d":2}"#),
        ("del(.[] | select(. > 1))", "[1,2,3]", "[1]"),
        ("del(.[1:])", "[1,2,3]", "[1]"),
        ("join(\",\")", r#"["a",1,null,true]"#, r#""a,1,,true""#),
        ("del(.a)", r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
        ("@csv", r#"[1,"a\"b",null,true]"#, r#""1,\"a\"\"b\",,true""#),
        ("@tsv", r#"["a\tb",1]"#, r#""a\\tb\t1""#),
        ("@base64", "\"hello\"", "\"aGVsbG8=\""),
        ("@base64d", "\"aGVsbG8=\"", "\"hello\""),
        ("@uri", "\"a b&c\"", "\"a%20b%26c\""),
        ("@json", r#"{"a":1}"#, r#""{\"a\":1}""#),
        ("fromjson", "\"[1,2]\"", "[1,2]"),
        ("try error(\"x\") catch .", "null", "\"x\""),
        ("[.[]?]", "1", "[]"),
        ("walk(if type == \"number\" then . + 1 else . end)", "[1,[2]]", "[2,[3]]"),
        ("map(IN(1,2))", "[1,3]", "[true,false]"),
        ("INDEX(.id)", r#"[{"id":1}]"#, r#"{"1":{"id":1}}"#),
        ("[splits(\", *\")]", "\"a,b,  c\"", r#"["a","b","c"]"#),
        ("ascii_downcase, ascii_upcase", "\"aB\"", "\"ab\""),
        ("[nan] | tojson", "null", "\"[null]\""),
        ("tonumber", "\"1.5\"", "1.5"),
        (". as {a: $x, b: [$y]} | $x + $y", r#"{"a":1,"b":[2]}"#, "3"),
        ("if . then 1 else 2 end", "null", "2"),
        ("def f(x): x * 2; f(.)", "4", "8"),
        ("label $f | 1, break $f, 2", "null", "1"),
        ("[foreach .[] as $x (0; . + $x; [$x, .])]", "[1,2]", "[[1,1],[2,3]]"),
        ("\"\\(.a) and \\(.b)\"", r#"{"a":1,"b":"x"}"#, "\"1 and x\""),
        ("10 / 4, 7 % 3", "null", "2.5"),
    ] {
        assert_eq!(outputs(program, row).first().map(String::as_str), Some(expected), "{program} of {row}");
    }
}

#[test]
fn what_is_not_pure_is_refused_when_it_is_compiled() {
    for program in [
        "now",
        "{a: (now | todate)}",
        "env",
        "$ENV",
        "$ENV.PATH",
        "env.HOME",
        "input",
        "[inputs]",
        "debug",
        "debug(1)",
        "stderr",
        "halt",
        "halt_error",
        "halt_error(1)",
        "input_filename",
        "input_line_number",
        "$__loc__",
        "get_search_list",
        "localtime",
        "strflocaltime(\"%H\")",
        "def f: now; f",
        "\"\\(now)\"",
        ".[now]",
        ". as {(env.X): $y} | $y",
        "reduce now as $x (0; .)",
        "try now catch 0",
        "if now then 1 else 2 end",
        ".a |= now",
        ".[1:now]",
        "{(now): 1}",
        "-now",
    ] {
        let error = Jq::new(&JqOptions { program: program.to_owned(), raw_input: false, raw_output: false });
        let error = error.unwrap_err();
        assert!(error.reason.contains("is not available"), "{program}: {error}");
    }
    for program in [
        "import \"a\" as a; 1",
        "include \"a\"; 1",
        "$x",
        "nothing(1)",
        "debug_empty",
        "stderr_empty",
        "jn(1; .)",
        "yn(1; .)",
        "{",
        ".a.",
        "",
    ] {
        let options = JqOptions { program: program.to_owned(), raw_input: false, raw_output: false };
        assert!(Jq::new(&options).is_err(), "{program}");
    }
    let error = |program: &str| {
        Jq::new(&JqOptions { program: program.to_owned(), raw_input: false, raw_output: false })
            .unwrap_err()
            .to_string()
    };
    assert_eq!(error("nothing(1)"), "jq: program `nothing(1)` uses filter `nothing`, which does not exist");
    assert!(error(&" ".repeat(16 << 10)).contains("is no jq"));
    assert!(error(&" ".repeat((16 << 10) + 1)).ends_with("is longer than 16384 bytes"));
}

#[test]
fn a_program_that_nests_as_deep_as_it_is_long_is_compiled_or_refused() {
    for (open, close) in
        [("(", ")"), ("[", "]"), ("{a:", "}"), ("-", ""), ("try ", ""), ("def f: ", ";f"), (".[", "]")]
    {
        let depth = (16 << 10) / (open.len() + close.len()) - 1;
        let program = format!("{}.{}", open.repeat(depth), close.repeat(depth));
        if let Ok(jq) = Jq::new(&JqOptions { program, raw_input: false, raw_output: false }) {
            run(jq, &["1"]);
        }
    }
}

#[test]
fn a_program_without_an_end_has_one() {
    for program in [
        "def f: f; f",
        "repeat(.)",
        "[repeat(.)]",
        "last(repeat(1))",
        "until(false; . + 1)",
        "[while(true; .)]",
        "recurse(.) | empty",
        "[recurse([.])] | length",
        "last(range(1e18))",
        "[range(0; 1; 0)]",
        "reduce range(1e12) as $i (0; .)",
        "def f: try f catch f; f",
        "first(repeat(empty))",
        "first(range(1e12) | select(false))",
        "def f: f?; f",
        "[limit(1e12; repeat(0))]",
        "until(false; [.])",
        "until(false; {a: .})",
        "reduce repeat(1) as $x (.; [., .])",
        "label $f | repeat(1) | if . == 2 then break $f else empty end",
        "def f: . as $x | [$x] | f; f",
        "isempty(repeat(empty))",
        "any(repeat(false); .)",
        "skip(1e18; repeat(1))",
        "nth(1e15; repeat(1))",
        "limit(1; repeat(empty))",
        ". |= repeat(empty)",
        "path(last(repeat(.)))",
        ". as [$a] ?// $a | repeat(1) | empty",
        "(repeat(1) | empty) // 2",
    ] {
        let Ok(jq) = Jq::new(&JqOptions { program: program.to_owned(), raw_input: false, raw_output: false })
        else {
            assert!(program.contains("?//"), "{program}: jaq has no alternative destructuring");
            continue;
        };
        let done = run(jq, &["1", "2"]);
        assert_eq!(codes(&done), ["Jq.LimitExceeded"; 2], "{program}: {:?}", done.failures);
    }
    assert_eq!(failure("def f: f; f", "1").1, "the program takes more than 50100 steps");
}

#[test]
fn recursion_ends_before_the_stack_does() {
    for program in [
        "def f: 1 + f; f",
        "def f: [f]; f",
        "def f: {a: f}; f",
        "def f: f | f; f",
        "def f: (f | .) as $x | $x; f",
        "def f: .[f]; f",
        "def f: f + f; f",
    ] {
        assert_eq!(failure(program, "1").0, "Jq.LimitExceeded", "{program}");
    }
}

#[test]
fn what_a_program_makes_gets_neither_too_deep_nor_too_large() {
    // A record of a size that gives a program all the steps that there are.
    let row = format!("\"{}\"", "x".repeat(20_000));
    for (program, message) in [
        ("reduce range(200000) as $i (0; [.])", "nests more than 1000 levels"),
        ("reduce range(200000) as $i (0; {a: .})", "nests more than 1000 levels"),
        ("reduce range(200000) as $i (0; [.]) | [..] | length", "nests more than 1000 levels"),
        ("reduce range(200000) as $i ({}; . as $x | .a = $x)", "nests more than 1000 levels"),
        ("reduce range(200000) as $i ([0]; .[0] = [.])", "nests more than 1000 levels"),
        ("reduce range(200000) as $i ({a: 1}; to_entries)", "nests more than 1000 levels"),
        ("reduce range(200000) as $i ([1]; group_by(.))", "nests more than 1000 levels"),
        ("def f: [.] | f; f", "nests more than 1000 levels"),
        ("reduce range(200000) as $i ([0]; [., .])", "more than 16000000 values"),
        ("reduce range(200) as $i (.; . + .)", "a string is longer than 16777216 bytes"),
        ("reduce range(200) as $i (.; . += .)", "a string is longer than 16777216 bytes"),
        ("reduce range(200) as $i (.; \"\\(.)\\(.)\")", "a string is longer than 16777216 bytes"),
        ("reduce range(200) as $i (.; tojson)", "an output is longer than 16777216 bytes"),
        ("reduce range(200) as $i ([1]; . + .)", "an array has more than 1000000 elements"),
    ] {
        let done = run(jq(program), &[&row]);
        assert!(done.failures[&0].message.contains(message), "{program}: {:?}", done.failures);
    }
    let deep = "reduce range(900) as $i (0; [.])";
    for program in ["[..] | length", ". == [.]", "[., .] | sort | length", "{(tostring? // \"deep\"): 1}"] {
        assert_eq!(outputs(&format!("{deep} | {program}"), "0").len(), 1, "{program}");
    }
    assert_eq!(failure(deep, "0").1, "an output nests more than 128 levels");
}

#[test]
fn large_records_are_within_the_limits() {
    let rows: Vec<_> = (0..5_000).map(|id| serde_json::json!({"id": id, "v": "some text"})).collect();
    let row = serde_json::json!(rows).to_string();
    for program in [
        "map({id, v: (.v | ascii_upcase)}) | length",
        "reduce .[] as $x ({}; .[$x.id | tostring] = $x.v) | length",
        "INDEX(.id) | length",
        "[.[] | .id] | add",
        "map(.v) | join(\",\") | length",
        "group_by(.id % 7) | length",
        "sort_by(-.id) | first | .id",
        "[.. | numbers] | length",
        "walk(if type == \"number\" then . + 1 else . end) | length",
        "map(.v |= sub(\"some\"; \"any\")) | length",
    ] {
        assert_eq!(outputs(program, &row).len(), 1, "{program}");
    }
}

#[test]
fn data_does_not_make_a_step_large() {
    for row in [
        r#"["ab",100000000000]"#,
        r#"[100000000000,"ab"]"#,
        r#"["ab",1e30]"#,
        r#"["ab",100000000000000000000000]"#,
    ] {
        assert_eq!(failure(".[0] * .[1]", row).0, "Jq.ProgramError", "{row}");
        assert_eq!(failure(".[1] as $n | .[0] *= $n", row).0, "Jq.ProgramError", "{row}");
    }
    assert_eq!(failure(".[1000000] = 1", "[]").0, "Jq.ProgramError");
    assert_eq!(failure(". as $n | [] | .[$n] = 1", "100000000000").0, "Jq.ProgramError");
    assert_eq!(failure("gmtime", "9223372036854775807").1, "9223372036854775807 is no time in seconds");
    assert_eq!(failure("[range(.)]", "1e15").0, "Jq.LimitExceeded");
    assert_eq!(failure("range(.)", "20000").1, "the program has more than 10000 outputs");
    let (code, message) = failure("reduce range(40) as $i (0; [., .])", "0");
    assert_eq!((&code[..], &message[..]), ("Jq.ProgramError", "an output is longer than 16777216 bytes"));
    assert!(failure("error", &format!("\"{}\"", "x".repeat(10_000))).1.len() < 250);
}

#[test]
fn what_is_not_json_fails_with_what_is_wrong() {
    let done = run(jq("."), &["{\"a\":", "plain", "{} x", ""]);
    assert_eq!(codes(&done), ["Jq.MalformedRecord"; 3]);
    assert_eq!(done.dropped, 1);
    assert_eq!(
        failure(".a", "[1]"),
        ("Jq.ProgramError".to_owned(), "cannot index [1] with \"a\"".to_owned())
    );
    assert_eq!(failure("{(.): 1}", "1").1, "an object of an output has a key that is not a string");
}

#[test]
fn a_failure_after_outputs_leaves_none_of_them() {
    let done = run(jq(".[] | if . == 3 then error(\"three\") else . end"), &["[1,2,3]", "[4]"]);
    assert_eq!((kept(&done), codes(&done)), (vec!["4".to_owned()], vec!["Jq.ProgramError"]));
}

proptest! {
    #[test]
    fn the_identity_changes_no_value(row in "\\PC{0,20}", number in any::<f64>()) {
        let row = serde_json::json!({"a": [row, number, null, true], "b": {}}).to_string();
        let out = outputs(".", &row).remove(0);
        prop_assert_eq!(
            serde_json::from_str::<serde_json::Value>(&out).unwrap(),
            serde_json::from_str::<serde_json::Value>(&row).unwrap()
        );
    }

    #[test]
    fn rubbish_is_kept_dropped_or_fails(
        program in "[a-z.|,\\[\\]{}()\"0-9$ *+/-]{0,20}",
        row in "[{}\\[\\]\":,0-9a \\\\]{0,40}",
    ) {
        if let Ok(jq) = Jq::new(&JqOptions { program, raw_input: false, raw_output: true }) {
            run(jq, &[row]);
        }
    }
}
