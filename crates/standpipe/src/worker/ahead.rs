//! Looking at a destination before there is anything to deliver: what is set wrong is told at the start and at each change
//! of the settings, and not with the first record, which may come at night.
//!
//! It goes on until the destination is found well or an attempt is made, whose outcome says more.

use std::time::Duration;

use standpipe_model::{ErrorClass, SinkError};

use super::Line;
use super::deliver::chain;
use crate::alarm::AlarmKind;

/// How long after a look that found something wrong, or nobody, the next one is.
const AGAIN: Duration = Duration::from_secs(10);

/// How many destinations are looked at at once; a daemon of a thousand streams must not begin with a thousand requests.
pub(crate) const LOOKS_AT_ONCE: usize = 8;

impl Line {
    /// Looks at the destination until it is found well.
    ///
    /// # Cancel safety
    /// It may be dropped at any time.
    pub(super) async fn look_ahead(&self) {
        loop {
            let permit = self.context.looks.acquire().await;
            let found = self.look().await;
            drop(permit);
            match found {
                Ok(()) => return self.clear(AlarmKind::Misconfigured),
                Err(error) if error.class == ErrorClass::Misconfigured => {
                    let message = format!("before there is anything to deliver: {}", chain(&error));
                    self.raise(AlarmKind::Misconfigured, self.destination.as_str(), message);
                }
                Err(error) => {
                    let (stream, destination, error) = (&self.stream, &self.destination, chain(&error));
                    tracing::debug!(%stream, %destination, error, "a destination cannot be looked at");
                }
            }
            let timer = &self.context.timer;
            timer.sleep_until(timer.steady().saturating_add(AGAIN)).await;
        }
    }

    async fn look(&self) -> Result<(), SinkError> {
        let definition = self.definitions.current();
        let to = definition.spec.destination_of(&self.of).filter(|_| self.goes_into().is_none());
        let Some(destination) = to else { return Ok(()) };
        let store = self.store(destination)?;
        store.sink.probe(&destination.bucket).await?;
        match destination.endpoint.as_ref().filter(|endpoint| endpoint.target.can_be_looked_at()) {
            Some(endpoint) => self.client(endpoint, destination)?.sink.probe().await,
            None => Ok(()),
        }
    }
}
