//! What lies behind an error.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::AlertDescription;

/// The longest wait that a server may ask for; a mistaken header must not park a delivery for days.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

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

/// The first cause of a type, the error itself included. One may hide inside an I/O error, which names only *its* causes.
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        let inside = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inside.map(|inside| inside as &(dyn Error + 'static)).or_else(|| cause.source());
    }
    None
}

/// Whether a server's certificate is not trusted, or ours not by it, which no waiting mends.
pub(crate) fn refuses_certificate(error: &(dyn Error + 'static)) -> bool {
    match find(error) {
        Some(rustls::Error::InvalidCertificate(_)) => true,
        Some(rustls::Error::AlertReceived(alert)) => is_about_certificates(*alert),
        _ => false,
    }
}

fn is_about_certificates(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateRequired
    )
}
