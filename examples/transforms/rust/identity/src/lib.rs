//! Passes every record on as it is: the smallest function, and what the sandbox's own cost is measured with.

wit_bindgen::generate!({ path: "../../../../crates/transform/wit", world: "transform" });

use standpipe::transform::types::Transformed;

struct Identity;

impl Guest for Identity {
    fn process(batch: Vec<Record>) -> Vec<Outcome> {
        let pass = |record: Record| {
            Outcome::Ok(Transformed { data: record.data, partition_keys: Vec::new(), headers: Vec::new() })
        };
        batch.into_iter().map(pass).collect()
    }
}

export!(Identity);
