//! Each record is a line of CSV, and comes out as a JSON object with the names in `COLUMNS` of the function's `config`.
//! Empty lines are dropped, lines of another length fail.
//!
//!     cargo build --release --target wasm32-wasip2

wit_bindgen::generate!({ path: "../../../../crates/transform/wit", world: "transform" });

mod line;

use line::Lines;
use standpipe::transform::host;
use standpipe::transform::types::Transformed;

struct CsvToJson;

impl Guest for CsvToJson {
    fn process(batch: Vec<Record>) -> Vec<Outcome> {
        let mut lines = Lines::new(&host::config("COLUMNS").unwrap_or_default());
        batch.iter().map(|record| outcome(lines.object_of(&record.data))).collect()
    }
}

fn outcome(object: Result<Option<Vec<u8>>, String>) -> Outcome {
    match object {
        Ok(Some(data)) => Outcome::Ok(Transformed { data, partition_keys: Vec::new(), headers: Vec::new() }),
        Ok(None) => Outcome::Dropped,
        Err(reason) => Outcome::Failed(reason),
    }
}

export!(CsvToJson);
