//! What an endpoint keeps of rows that were given up: Redshift a manifest of what it did not load.

use std::collections::BTreeSet;

use standpipe_model::{BatchId, Request, RequestId, RequestRow, SinkError};

use super::Sending;
use crate::endpoints::EndpointClient;
use crate::worker::Line;

impl Line {
    /// Has the endpoint keep what it wants to keep of rows that the journal says are given up. In a request that is over it
    /// took the others, and with them perhaps rows of a record that was given up for those in another request.
    pub(super) async fn keep_given_up(
        &self,
        sending: &Sending<'_>,
        client: &EndpointClient,
        cut: RequestId,
        was_over: bool,
        rows: &[RequestRow],
    ) -> Result<(), SinkError> {
        let decided = rows.iter().filter(|row| sending.decided.holds(row.origin.position)).cloned();
        let decided: Vec<RequestRow> = decided.collect();
        let all = decided.len() == rows.len();
        if !client.keeps_given_up || decided.is_empty() || was_over && !all {
            return Ok(());
        }
        let request = self.request(sending, cut, decided);
        match all {
            true => self.give_up(sending.open.close.batch, client, cut, &request).await,
            false => client.sink.give_up(&request).await,
        }
    }

    /// The same of all that was left of a request, of which nothing is left then.
    pub(super) async fn give_up(
        &self,
        batch: BatchId,
        client: &EndpointClient,
        cut: RequestId,
        request: &Request,
    ) -> Result<(), SinkError> {
        client.sink.give_up(request).await?;
        self.again.map().insert(cut, (batch, BTreeSet::new()));
        Ok(())
    }
}
