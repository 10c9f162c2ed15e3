//! Readings of devices, enriched from a table and partitioned by device: `{"device": "d1", "celsius": 21.5}` gets the
//! columns that the table `devices` has for `d1`. Readings without a device fail; those of devices whose row says
//! `"retired": "true"` are dropped. `unknown_site` in the configuration is the site of devices that the table lacks.

wit_bindgen::generate!({ path: "../../../../crates/transform/wit", world: "transform-with-tables" });

use serde_json::{Map, Value};
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
    let mut reading: Map<String, Value> = serde_json::from_slice(&record.data).map_err(|error| error.to_string())?;
    let device = reading.get("device").and_then(Value::as_str).ok_or("no device")?.to_owned();
    match lookup("devices", &device) {
        Some(row) if row.iter().any(|(name, value)| name == "retired" && value == "true") => {
            return Ok(Outcome::Dropped);
        }
        Some(row) => reading.extend(row.into_iter().map(|(name, value)| (name, Value::String(value)))),
        None => {
            host::log(Level::Debug, "a device that the table does not have");
            let site = host::config("unknown_site").unwrap_or_else(|| "unknown".to_owned());
            reading.insert("site".to_owned(), Value::String(site));
        }
    }
    let data = serde_json::to_vec(&reading).map_err(|error| error.to_string())?;
    let partition_keys = vec![("device".to_owned(), device)];
    Ok(Outcome::Ok(Transformed { data, partition_keys, headers: Vec::new() }))
}

export!(Enrich);
