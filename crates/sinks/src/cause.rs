//! What lies behind an error.

use std::error::Error;

/// How much of a server's own words a message repeats, in characters.
pub(crate) const WORDS_MAX: usize = 300;

/// Every cause in a row, outermost first, each told once.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text.chars().take(WORDS_MAX).collect()
}

/// Whether a server's certificate is not trusted, which no waiting mends. The TLS error hides inside I/O errors, which
/// name only *its* causes.
pub(crate) fn refuses_certificate(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = cause.downcast_ref() {
            return true;
        }
        let inside = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = inside.map(|inside| inside as &(dyn Error + 'static)).or_else(|| cause.source());
    }
    false
}
