//! The parameters of the admin listener's requests, which stand in the address.

use form_urlencoded::parse;
use standpipe_model::{StreamName, Timestamp};

/// A parameter cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ParameterError(pub(super) String);

/// The parameters of a request.
pub(super) struct Parameters<'a>(pub(super) &'a str);

impl Parameters<'_> {
    /// All values of one.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = String> {
        parse(self.0.as_bytes()).filter(move |(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The value of one.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.all(name).next()
    }

    /// Whether one is there, and not false.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "false")
    }

    /// A whole number.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ParameterError> {
        let wrong = |text: &str| ParameterError(format!("{name}: '{text}' is no whole number"));
        self.get(name).map(|text| text.parse().map_err(|_| wrong(&text))).transpose()
    }

    /// A point in time, in milliseconds since 1970.
    ///
    /// # Errors
    /// It is no number.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, ParameterError> {
        Ok(self.number(name)?.map(Timestamp))
    }

    /// The name of a stream.
    ///
    /// # Errors
    /// No stream can have it.
    pub(super) fn stream(&self, name: &str) -> Result<Option<StreamName>, ParameterError> {
        let parse = |text: String| {
            StreamName::parse(&text).map_err(|error| ParameterError(format!("{name}: {error}")))
        };
        self.get(name).map(parse).transpose()
    }

    /// Records per second.
    ///
    /// # Errors
    /// It is no number, or 0.
    pub(super) fn rate(&self) -> Result<Option<u32>, ParameterError> {
        match self.number("rate")?.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)) {
            Some(0) => Err(ParameterError("rate: it has to be 1 or more".to_owned())),
            rate => Ok(rate),
        }
    }
}
