//! A guest that does as a record says: it looks around, or misbehaves.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, hint, thread};

use serde_json::json;

#[cfg(all(target_os = "wasi", target_env = "p2"))]
mod component {
    wit_bindgen::generate!({ path: "../../wit", world: "transform" });

    use standpipe::transform::host::{self, Level};
    use standpipe::transform::types::Transformed;

    struct Probe;

    impl Guest for Probe {
        fn process(batch: Vec<Record>) -> Vec<Outcome> {
            let mut outcomes: Vec<Outcome> = batch.iter().map(outcome).collect();
            if batch[0].data == b"one outcome less" {
                outcomes.pop();
            }
            outcomes
        }
    }

    fn outcome(record: &Record) -> Outcome {
        host::log(Level::Info, "a line");
        let keys = vec![("size".to_owned(), record.data.len().to_string())];
        let headers = vec![("id".to_owned(), record.id.clone())];
        match &*record.data {
            b"drop" => Outcome::Dropped,
            b"fail" => Outcome::Failed("as it was told".to_owned()),
            b"config" => ok(host::config("greeting").unwrap_or_default().into_bytes(), keys, headers),
            b"record" => {
                let told = format!("{} {} {}", record.id, record.arrived_at, record.stream);
                ok(told.into_bytes(), keys, headers)
            }
            asked if asked.starts_with(b"draw ") => {
                let lot = ("lot".to_owned(), (super::drawn() % 12).to_string());
                ok([asked, b"\n"].concat(), vec![lot], headers)
            }
            asked => ok(super::act(asked), keys, headers),
        }
    }

    fn ok(data: Vec<u8>, partition_keys: Vec<(String, String)>, headers: Vec<(String, String)>) -> Outcome {
        Outcome::Ok(Transformed { data, partition_keys, headers })
    }

    export!(Probe);
}

/// Does as it is asked.
pub fn act(asked: &[u8]) -> Vec<u8> {
    match asked {
        b"look around" => look_around(),
        b"panic" => panic!("as it was told"),
        b"exit" => std::process::exit(3),
        b"spin" => loop {
            hint::spin_loop();
        },
        b"recurse" => vec![recurse(1)],
        b"take memory" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1_u8; 1 << 20]);
                hint::black_box(&all);
            }
        }
        b"answer much" => vec![b'x'; 7 << 20],
        b"complain" => {
            for number in 0..100_000 {
                eprintln!("line {number}");
            }
            b"complained".to_vec()
        }
        other => other.to_vec(),
    }
}

/// A number that is another one each time, where chance is granted.
pub fn drawn() -> u64 {
    RandomState::new().hash_one(0)
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u8 {
    let here = [depth; 16];
    hint::black_box(&here);
    recurse(depth + 1) + hint::black_box(here[3]) as u8
}

/// What could differ from call to call.
fn look_around() -> Vec<u8> {
    let began = Instant::now();
    thread::sleep(Duration::from_secs(3600));
    let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let order: HashMap<u32, ()> = (0..20).map(|number| (number, ())).collect();
    let seen = json!({
        "wall_ms": wall_ms,
        "slept_hours": began.elapsed().as_secs() / 3600,
        "order": order.keys().collect::<Vec<_>>(),
        "greeting": env::var("greeting").ok(),
        "root": fs::read_dir("/").is_ok(),
        "file": fs::read("/etc/passwd").is_ok(),
        "written": fs::write("out", "x").is_ok(),
    });
    seen.to_string().into_bytes()
}
