//! Answers: the headers that every one of them carries, the error bodies, and the CORS bits.

use std::time::Duration;

use base64_simd::STANDARD;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use standpipe_model::{Entropy, Timestamp};

use crate::ApiError;
use crate::error::Refusal;

/// The one content type of the protocol.
pub(crate) const JSON_1_1: &str = "application/x-amz-json-1.1";

const EXPOSED_HEADERS: &str =
    "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date";

/// What an answer, and everything that is noted about its request, is found by.
#[derive(Debug, Clone)]
pub(crate) struct RequestIds {
    /// `x-amzn-requestid`.
    pub(crate) request: String,
    /// `x-amz-id-2`.
    extended: String,
}

impl RequestIds {
    /// Draws them.
    pub(crate) fn draw(entropy: &dyn Entropy) -> Self {
        let mut random = [0; 88];
        entropy.fill(&mut random);
        let (id, rest) = random.split_at(16);
        Self { request: uuid_v4(id), extended: STANDARD.encode_to_string(rest) }
    }
}

/// An answer without its common headers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    content_type: Option<&'static str>,
    body: Bytes,
    retry_after: Option<Duration>,
    /// The error code, for the observer.
    code: Option<&'static str>,
}

impl Reply {
    /// A success.
    pub(crate) fn ok(body: impl Into<Bytes>) -> Self {
        Self { status: 200, content_type: Some(JSON_1_1), body: body.into(), retry_after: None, code: None }
    }

    /// An empty success, for preflights.
    pub(crate) fn empty() -> Self {
        Self { content_type: None, ..Self::ok("") }
    }

    fn xml(status: u16, body: &'static str) -> Self {
        Self { status, content_type: Some("application/xml"), ..Self::ok(body) }
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    pub(crate) fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// The response, with its common headers. `keep_alive` false asks an HTTP/1 client to go.
    pub(crate) fn into_response(
        self,
        request: &HeaderMap,
        ids: RequestIds,
        now: Timestamp,
        keep_alive: bool,
    ) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let mut put = |name: &'static str, value: String| {
            // All values are made here, of visible ASCII; what is not would be an echoed request header.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        };
        put("x-amzn-requestid", ids.request);
        put("x-amz-id-2", ids.extended);
        // Clients correct their clocks by it, so it is the clock that signatures are checked against.
        put("date", now.to_utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        if let Some(content_type) = self.content_type {
            put("content-type", content_type.to_owned());
        }
        if let Some(after) = self.retry_after {
            // Rounded up: who comes back too early is refused again.
            put("x-amz-retry-after", after.as_micros().div_ceil(1_000).to_string());
        }
        if !keep_alive {
            put("connection", "close".to_owned());
        }
        if request.contains_key(header::ORIGIN) {
            put("access-control-allow-origin", "*".to_owned());
            put("access-control-expose-headers", EXPOSED_HEADERS.to_owned());
        }
        response
    }
}

impl From<&ApiError> for Reply {
    fn from(error: &ApiError) -> Self {
        Self {
            status: error.code.status(),
            retry_after: error.retry_after,
            code: Some(error.code.as_str()),
            ..Self::ok(error.to_json())
        }
    }
}

impl From<&Refusal> for Reply {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Api(error) => error.into(),
            Refusal::TooLarge => Self { status: 413, ..Self::empty() },
            Refusal::NoOperation => Self::xml(
                403,
                "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be \
                 authorized</Message>\n</AccessDeniedException>\n",
            ),
            Refusal::WrongContentType => Self::xml(404, "<UnknownOperationException/>\n"),
        }
    }
}

/// Answers a CORS preflight: whatever the page asks for is allowed, since the signature is what protects.
pub(crate) fn allow_cross_origin(request: &HeaderMap, response: &mut HeaderMap) {
    let asked = [
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
    ];
    for (asked, allowed) in asked {
        if let Some(value) = request.get(asked) {
            response.insert(allowed, value.clone());
        }
    }
    response.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("172800"));
    response.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
}

/// A version 4 UUID of 16 random bytes.
pub(crate) fn uuid_v4(random: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in random.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let byte = match i {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_version_4_uuids() {
        assert_eq!(uuid_v4(&[0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid_v4(&[0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
