//! Splunk's HTTP Event Collector (HEC), with the indexer's acknowledgement.
//!
//! ```text
//! POST /services/collector/event|raw   Authorization: Splunk <token>, X-Splunk-Request-Channel: <channel>
//!      ◄── {"text":"Success","code":0,"ackId":7}
//! POST /services/collector/ack         {"acks":[7]}   until  {"acks":{"7":true}}  or the time for it is over
//! ```
//!
//! # Invariants
//! - A request counts as delivered when Splunk says that it is indexed; where acknowledgement is off, when Splunk has it.
//! - Splunk knows no identity of events: a request whose answer or acknowledgement was lost is sent again, and its
//!   events may be there twice.
//! - A record that is no event is refused by itself, before anything is sent.
//! - Where acknowledgements cannot be asked for, which somebody has to mend, nothing is sent before they can.
//!
//! # Limits
//! - Waiting for an acknowledgement is a part of the attempt: it holds the request's memory and one of its batch's places.

mod options;
mod request;
mod sink;

#[cfg(test)]
mod tests;

pub use options::{HecEndpoint, SplunkOptions};
pub use sink::{SplunkOptionsError, SplunkSink};
