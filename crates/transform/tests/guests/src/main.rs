//! The same guest as a command.

use std::io;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

fn main() {
    let event: Value = serde_json::from_reader(io::stdin()).expect("the event is JSON");
    let answer = |record: &Value| {
        let asked = BASE64_STANDARD.decode(record["data"].as_str().expect("a text")).expect("base64");
        let data = BASE64_STANDARD.encode(probe::act(&asked));
        json!({ "recordId": record["recordId"], "result": "Ok", "data": data })
    };
    let records: Vec<Value> = event["records"].as_array().expect("a list").iter().map(answer).collect();
    println!("{}", json!({ "records": records }));
}
