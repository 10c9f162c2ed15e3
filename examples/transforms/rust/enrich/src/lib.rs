//! Readings of devices, enriched from a table and partitioned by device: `{"device": "d1", "celsius": 21.5}` gets the
//! columns that the table `devices` has for `d1`. Readings without a device fail; those of devices whose row says
//! `"retired": "true"` are dropped. `unknown_site` in the configuration is the site of devices that the table lacks.

wit_bindgen::generate!({ path: "../../../../crates/transform/wit", world: "transform-with-tables" });

mod reading;

use reading::Reading;
use standpipe::transform::host::{self, Level};
use standpipe::transform::tables::lookup;
use standpipe::transform::types::Transformed;

struct Enrich;

impl Guest for Enrich {
    fn process(batch: Vec<Record>) -> Vec<Outcome> {
        batch.iter().map(|record| enrich(record).unwrap_or_else(Outcome::Failed)).collect()
    }
}

fn enrich(record: &Record) -> Result<Outcome, String> {
    let mut reading = Reading::parse(&record.data)?;
    match lookup("devices", &reading.device) {
        Some(row) if row.iter().any(|(name, value)| name == "retired" && value == "true") => {
            return Ok(Outcome::Dropped);
        }
        Some(row) => row.iter().for_each(|(name, value)| reading.add(name, value)),
        None => {
            host::log(Level::Debug, "a device that the table does not have");
            reading.add("site", &host::config("unknown_site").unwrap_or_else(|| "unknown".to_owned()));
        }
    }
    let partition_keys = vec![("device".to_owned(), reading.device.clone())];
    Ok(Outcome::Ok(Transformed { data: reading.into_json(), partition_keys, headers: Vec::new() }))
}

export!(Enrich);
