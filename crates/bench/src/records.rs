//! What is put: access-log lines as JSON, of an exact length, and the bodies of `PutRecordBatch` that carry them.

use serde::Serialize;

/// The stream that everything is put to.
pub(crate) const STREAM: &str = "bench";

const PATHS: [&str; 6] = ["/", "/api/v1/items", "/api/v1/cart", "/login", "/static/app.js", "/api/v1/search"];
const AGENTS: [&str; 3] = ["Mozilla/5.0 (X11; Linux x86_64)", "curl/8.5.0", "okhttp/4.12.0"];
const WORDS: [&str; 32] = [
    "request",
    "finished",
    "upstream",
    "cache",
    "miss",
    "hit",
    "session",
    "user",
    "token",
    "renewed",
    "retry",
    "after",
    "timeout",
    "connection",
    "pool",
    "exhausted",
    "query",
    "took",
    "rows",
    "returned",
    "from",
    "replica",
    "shard",
    "worker",
    "queue",
    "depth",
    "checkout",
    "payment",
    "accepted",
    "order",
    "created",
    "for",
];

const MESSAGES: [&str; 4] = [
    "request finished, the upstream answered within its budget and the connection is kept for the next call of this user",
    "cache miss for the page, it was rendered again from the replica in the same zone and stored for ten minutes",
    "payment accepted by the provider, the order was created and the warehouse was told of it through the outgoing queue",
    "session renewed for a known user, the token was signed with the current key and handed out for an hour and a half",
];

/// How much the records have in common, on which the price of compressing them depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rows {
    /// As logs are: of a few kinds, with ids and numbers in them.
    Log,
    /// Hard to compress: every message is a new row of words.
    Dense,
}

/// The size and kind of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Shape {
    /// What the records are like.
    pub(crate) rows: Rows,
    /// Records of a put.
    pub(crate) records: usize,
    /// Bytes of each.
    pub(crate) record_bytes: usize,
}

impl Shape {
    /// The bytes of record data in a put.
    pub(crate) fn put_bytes(self) -> u64 {
        (self.records * self.record_bytes) as u64
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = if self.rows == Rows::Dense { " dense" } else { "" };
        write!(f, "{}x{} B{rows}", self.records, self.record_bytes)
    }
}

/// `count` bodies that differ in every record.
pub(crate) fn bodies(shape: Shape, count: usize) -> Vec<Vec<u8>> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    (0..count).map(|_| body(shape, &mut random)).collect()
}

fn body(shape: Shape, random: &mut Random) -> Vec<u8> {
    let mut body = format!("{{\"DeliveryStreamName\":\"{STREAM}\",\"Records\":[");
    for number in 0..shape.records {
        let data = base64_simd::STANDARD.encode_to_string(record(shape, random));
        let comma = if number == 0 { "" } else { "," };
        body.extend([comma, "{\"Data\":\"", &data, "\"}"]);
    }
    (body + "]}").into_bytes()
}

/// One line of exactly the length asked for, filled up with the message.
fn record(shape: Shape, random: &mut Random) -> String {
    const END: &str = "\"}";
    let len = shape.record_bytes;
    let (a, b, c) = (random.next(), random.next(), random.next());
    let mut line = format!(
        "{{\"time\":\"2026-11-21T{:02}:{:02}:{:02}.{:06}Z\",\"level\":\"info\",\"request_id\":\"{a:016x}{b:016x}\",\
         \"client\":\"10.{}.{}.{}\",\"method\":\"GET\",\"path\":\"{}?id={}\",\"status\":{},\"bytes\":{},\
         \"duration_ms\":{}.{:03},\"agent\":\"{}\",\"host\":\"web-{:02}.eu-central-1.example.com\",\"message\":\"",
        a % 24,
        a / 24 % 60,
        a / 2000 % 60,
        c % 1_000_000,
        b % 4,
        b / 7 % 256,
        b / 2048 % 256,
        PATHS[(c % 6) as usize],
        c / 11 % 100_000,
        if c % 50 == 0 { 500 } else { 200 },
        c / 13 % 90_000,
        a / 17 % 900,
        b % 1000,
        AGENTS[(a % 3) as usize],
        b % 40,
    );
    let message = MESSAGES[(a >> 32) as usize % MESSAGES.len()];
    while line.len() + END.len() < len {
        match shape.rows {
            Rows::Log => line.extend([message, "; "]),
            Rows::Dense => line.extend([word(random).as_str(), " "]),
        }
    }
    line.truncate(len - END.len());
    line + END
}

/// A number now and then, as messages have them.
fn word(random: &mut Random) -> String {
    let draw = random.next();
    match draw % 8 {
        0 => (draw >> 8 & 0xffff).to_string(),
        _ => WORDS[(draw >> 8) as usize % WORDS.len()].to_owned(),
    }
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_json_of_the_length_that_was_asked_for() {
        let mut random = Random(1);
        for (rows, record_bytes) in [(Rows::Log, 512), (Rows::Log, 1024), (Rows::Dense, 513)] {
            let line = record(Shape { rows, records: 1, record_bytes }, &mut random);
            assert_eq!(line.len(), record_bytes);
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(parsed["level"], "info", "{line}");
        }
    }

    #[test]
    fn a_body_holds_its_records() {
        let shape = Shape { rows: Rows::Log, records: 3, record_bytes: 600 };
        let bodies = bodies(shape, 2);
        assert_ne!(bodies[0], bodies[1]);
        let parsed: serde_json::Value = serde_json::from_slice(&bodies[0]).unwrap();
        assert_eq!(parsed["Records"].as_array().unwrap().len(), 3);
        assert_eq!(shape.put_bytes(), 1800);
    }
}
