//! From rows to a request's body, and from an answer to what became of them.

use base64_simd::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use standpipe_model::{Refusal, Request, RequestRow};

use super::options::HttpFormat;

/// The most that an answer may have.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;
const ERROR_CHARS_MAX: usize = 8192;

/// A body, and the rows that could not become part of it.
pub(super) struct Made {
    /// Empty where no row could.
    pub(super) body: Vec<u8>,
    pub(super) refused: Vec<Refusal>,
}

pub(super) fn body(format: HttpFormat, request: &Request) -> Made {
    let rows = &request.rows;
    match format {
        HttpFormat::Firehose => Made { body: firehose(request), refused: Vec::new() },
        HttpFormat::Raw => Made { body: joined(rows, b"", b"", b""), refused: Vec::new() },
        HttpFormat::Ndjson => {
            let mut body = Vec::with_capacity(request.bytes() as usize + rows.len());
            for row in rows {
                body.extend_from_slice(row.data.strip_suffix(b"\n").unwrap_or(&row.data));
                body.push(b'\n');
            }
            Made { body, refused: Vec::new() }
        }
        HttpFormat::JsonArray => json_array(rows),
    }
}

fn firehose(request: &Request) -> Vec<u8> {
    let data: usize = request.rows.iter().map(|row| STANDARD.encoded_length(row.data.len())).sum();
    let mut body = String::with_capacity(data + request.rows.len() * 12 + 128);
    body.push_str(&format!(
        r#"{{"requestId":"{}","timestamp":{},"records":["#,
        request.id,
        request.attempted_at.as_millis()
    ));
    for (number, row) in request.rows.iter().enumerate() {
        body.push_str(if number == 0 { r#"{"data":""# } else { r#",{"data":""# });
        STANDARD.encode_append(&row.data, &mut body);
        body.push_str(r#""}"#);
    }
    body.push_str("]}");
    body.into_bytes()
}

fn joined<'a>(
    rows: impl IntoIterator<Item = &'a RequestRow>,
    before: &[u8],
    between: &[u8],
    behind: &[u8],
) -> Vec<u8> {
    let mut body = before.to_vec();
    for (number, row) in rows.into_iter().enumerate() {
        if number > 0 {
            body.extend_from_slice(between);
        }
        body.extend_from_slice(&row.data);
    }
    body.extend_from_slice(behind);
    body
}

/// One row that is no JSON would make all of them unreadable.
fn json_array(rows: &[RequestRow]) -> Made {
    let mut refused = Vec::new();
    let mut good = Vec::with_capacity(rows.len());
    for (number, row) in rows.iter().enumerate() {
        match serde_json::from_slice::<IgnoredAny>(&row.data) {
            Ok(_) => good.push(row),
            Err(error) => refused.push(Refusal {
                row: number,
                code: "HttpEndpoint.InvalidRecord".to_owned(),
                message: format!("The record is no JSON value, as an array of them needs: {error}"),
            }),
        }
    }
    let body = if good.is_empty() { Vec::new() } else { joined(good, b"[", b",", b"]") };
    Made { body, refused }
}

/// The answer of Firehose's protocol. Members that it does not have make it invalid, as they do at AWS.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Answer {
    request_id: String,
    #[expect(dead_code, reason = "it has to be there and a number")]
    timestamp: serde_json::Number,
    #[serde(default)]
    error_message: Option<String>,
}

/// Whether an answer with status 200 says that the request was taken.
pub(super) fn is_taken(request: &Request, content_type: Option<&str>, body: &[u8]) -> bool {
    let media = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    media.eq_ignore_ascii_case("application/json")
        && answer.is_some_and(|answer| {
            let short = answer.error_message.is_none_or(|text| text.chars().count() <= ERROR_CHARS_MAX);
            short && answer.request_id == request.id.to_string()
        })
}
