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
    let reading = Reading::parse(&record.data)?;
    let device = reading.device.clone();
    let row = lookup("devices", &device).unwrap_or_else(|| {
        host::log(Level::Debug, "a device that the table does not have");
        let site = host::config("unknown_site").unwrap_or_else(|| "unknown".to_owned());
        vec![("site".to_owned(), site)]
    });
    if row.iter().any(|(name, value)| name == "retired" && value == "true") {
        return Ok(Outcome::Dropped);
    }
    let partition_keys = vec![("device".to_owned(), device)];
    Ok(Outcome::Ok(Transformed { data: reading.with(&row), partition_keys, headers: Vec::new() }))
}

export!(Enrich);
