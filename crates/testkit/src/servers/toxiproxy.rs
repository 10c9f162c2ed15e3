//! Toxiproxy: a TCP proxy that slows, limits and breaks connections on request.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::versions::TOXIPROXY;
use crate::cache::run_dir;
use crate::http::{http_get, http_send};
use crate::process::Process;

/// A running toxiproxy without proxies.
#[derive(Debug)]
pub struct Toxiproxy {
    process: Process,
    api: String,
}

/// What a [`Proxy`] does to the bytes that the server sends to its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toxic {
    /// Each piece of the answer comes this much later.
    Latency(Duration),
    /// The connection is reset this long after it was made.
    Reset(Duration),
    /// Nothing comes back, and the connection is closed after this time; never, if it is zero.
    Silence(Duration),
    /// The connection is closed once this many bytes have passed.
    Limit(u64),
    /// At most this many kilobytes pass in a second.
    Bandwidth(u64),
}

impl Toxic {
    fn kind(self) -> (&'static str, Value) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match self {
            Self::Latency(delay) => ("latency", json!({ "latency": millis(delay) })),
            Self::Reset(after) => ("reset_peer", json!({ "timeout": millis(after) })),
            Self::Silence(until) => ("timeout", json!({ "timeout": millis(until) })),
            Self::Limit(bytes) => ("limit_data", json!({ "bytes": bytes })),
            Self::Bandwidth(rate) => ("bandwidth", json!({ "rate": rate })),
        }
    }
}

impl Toxiproxy {
    /// Installs it if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn install() -> Result<()> {
        TOXIPROXY.binary().map(drop)
    }

    /// Installs it if need be and starts it.
    ///
    /// # Errors
    /// When it cannot be built or does not get ready; the error holds the end of its log.
    pub fn start() -> Result<Self> {
        let binary = TOXIPROXY.binary()?;
        let dir = run_dir("toxiproxy")?;
        let command = |port: u16| {
            let mut command = Command::new(&binary);
            command.args(["-host", "127.0.0.1", "-port", &port.to_string()]);
            command
        };
        let ready = |port: u16| {
            http_get(&format!("http://127.0.0.1:{port}/version")).is_ok_and(|reply| reply.is_ok())
        };
        let (process, port) = Process::serve("toxiproxy", &dir, Duration::from_secs(30), command, ready)?;
        Ok(Self { process, api: format!("http://127.0.0.1:{port}") })
    }

    /// Puts a proxy before `upstream`, an `http://host:port` or `host:port`.
    ///
    /// # Errors
    /// When toxiproxy refuses, such as for a name that is taken.
    pub fn proxy(&self, name: &str, upstream: &str) -> Result<Proxy> {
        let upstream = upstream.strip_prefix("http://").unwrap_or(upstream);
        let wanted = json!({ "name": name, "listen": "127.0.0.1:0", "upstream": upstream, "enabled": true });
        let made = call("POST", &format!("{}/proxies", self.api), &wanted)?;
        let listen = made["listen"].as_str().context("toxiproxy names the address it took")?.to_owned();
        Ok(Proxy { api: format!("{}/proxies/{name}", self.api), listen })
    }

    /// The process, for its log and folder.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// One proxied address. It works as long as its [`Toxiproxy`] does.
#[derive(Debug)]
pub struct Proxy {
    api: String,
    listen: String,
}

impl Proxy {
    /// `http://127.0.0.1:port`, to be used instead of the server's own address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Lets the connections suffer from `toxic` until [`Proxy::heal`]; a second one of the same kind is refused.
    ///
    /// # Errors
    /// When toxiproxy refuses.
    pub fn poison(&self, toxic: Toxic) -> Result<()> {
        self.add(toxic, "downstream")
    }

    /// As [`Proxy::poison`], but what the client sends suffers, not what it gets.
    ///
    /// # Errors
    /// When toxiproxy refuses.
    pub fn poison_requests(&self, toxic: Toxic) -> Result<()> {
        self.add(toxic, "upstream")
    }

    fn add(&self, toxic: Toxic, stream: &str) -> Result<()> {
        let (kind, attributes) = toxic.kind();
        let name = format!("{kind}-{stream}");
        let wanted = json!({ "name": name, "type": kind, "stream": stream, "attributes": attributes });
        call("POST", &format!("{}/toxics", self.api), &wanted).map(drop)
    }

    /// Takes all toxics away and accepts connections again.
    ///
    /// # Errors
    /// When toxiproxy does not answer.
    pub fn heal(&self) -> Result<()> {
        let toxics = call("GET", &format!("{}/toxics", self.api), &Value::Null)?;
        for name in toxics.as_array().into_iter().flatten().filter_map(|toxic| toxic["name"].as_str()) {
            call("DELETE", &format!("{}/toxics/{name}", self.api), &Value::Null)?;
        }
        call("POST", &self.api, &json!({ "enabled": true })).map(drop)
    }

    /// Breaks all connections and refuses new ones until [`Proxy::heal`].
    ///
    /// # Errors
    /// When toxiproxy does not answer.
    pub fn cut(&self) -> Result<()> {
        call("POST", &self.api, &json!({ "enabled": false })).map(drop)
    }
}

fn call(method: &str, url: &str, body: &Value) -> Result<Value> {
    let sent = if body.is_null() { String::new() } else { body.to_string() };
    let reply = http_send(method, url, &sent)?;
    ensure!(reply.is_ok(), "{method} {url} was answered with {}: {}", reply.status, reply.body);
    Ok(if reply.body.is_empty() { Value::Null } else { serde_json::from_str(&reply.body)? })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::servers::Versitygw;

    #[test]
    fn toxics_slow_and_break_connections_until_they_are_taken_away() {
        let store = Versitygw::start().unwrap();
        let toxiproxy = Toxiproxy::start().unwrap();
        let proxy = toxiproxy.proxy("store", &store.access().endpoint).unwrap();
        let get = || http_get(&format!("{}/health", proxy.endpoint()));
        assert!(get().unwrap().is_ok());

        proxy.poison(Toxic::Latency(Duration::from_millis(300))).unwrap();
        let started = Instant::now();
        assert!(get().unwrap().is_ok() && started.elapsed() >= Duration::from_millis(300));
        proxy.poison(Toxic::Reset(Duration::ZERO)).unwrap();
        assert!(get().is_err());
        proxy.heal().unwrap();
        assert!(get().unwrap().is_ok());

        proxy.poison(Toxic::Limit(10)).unwrap();
        assert!(get().is_err());
        proxy.heal().unwrap();
        proxy.cut().unwrap();
        assert!(get().is_err());
        proxy.heal().unwrap();
        assert!(get().unwrap().is_ok());
    }
}
