//! TLS: versions, ALPN, certificates of clients, exchanging the server's certificate, and clients that get stuck.

use std::sync::Arc;
use std::time::Duration;

use standpipe_ingest::{
    ClientAuth, HandshakeResult, Options, Proof, Tls, TlsContext, TlsOptions, TlsVersion,
};
use standpipe_model::Secret;
use standpipe_testkit::{Authority, Issued};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion, crypto::ring,
};

use crate::harness::{Call, Memory, Sender, Server, single};

const YEAR: Duration = Duration::from_hours(365 * 24);

fn context(
    issued: &Issued,
    clients: Option<(&Authority, ClientAuth)>,
    min_version: TlsVersion,
) -> TlsContext {
    TlsContext::new(&TlsOptions {
        certificate: issued.certificate().to_owned(),
        key: Secret::new(issued.key()),
        clients: clients.map(|(ca, auth)| (ca.certificate(), auth)),
        min_version,
    })
    .unwrap()
}

/// A server with a certificate of `authority`.
async fn server(authority: &Authority, clients: Option<(&Authority, ClientAuth)>) -> Server {
    let issued = authority.server("server", YEAR).unwrap();
    serve(context(&issued, clients, TlsVersion::Tls12), Options::default()).await
}

async fn serve(context: TlsContext, options: Options) -> Server {
    Server::serve(Memory::default(), options, Some(Arc::new(Tls::new(context)))).await
}

/// A client that trusts one authority.
struct Client<'a> {
    trusts: &'a Authority,
    versions: &'a [&'static SupportedProtocolVersion],
    alpn: &'a [&'static [u8]],
    shows: Option<Issued>,
}

impl<'a> Client<'a> {
    fn of(trusts: &'a Authority) -> Self {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
        Self { trusts, versions: &BOTH, alpn: &[], shows: None }
    }

    async fn connect(&self, server: &Server) -> std::io::Result<TlsStream<TcpStream>> {
        let pem = |text: &str| CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(pem(&self.trusts.certificate())).unwrap();
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.shows {
            Some(shown) => {
                let key = PrivateKeyDer::from_pem_slice(shown.key().as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![pem(shown.certificate())], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// A put over a connection of its own; what the client is told of a refused certificate comes only with it.
    async fn put(&self, server: &Server) -> Option<u16> {
        let mut sender = Sender::over(self.connect(server).await.ok()?, false).await;
        Some(sender.send(put()).await.ok()?.status.as_u16())
    }
}

fn put() -> http::Request<http_body_util::Full<hyper::body::Bytes>> {
    Call::new("PutRecord", single("s", b"x").to_string()).into_request()
}

/// Waits for the ends of as many handshakes.
async fn handshakes(server: &Server, count: usize) -> Vec<HandshakeResult> {
    loop {
        let seen = server.memory.handshakes.lock().unwrap().clone();
        if seen.len() >= count {
            return seen;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken_unless_the_older_is_switched_off() {
    let authority = Authority::new("ca").unwrap();
    let issued = authority.server("server", YEAR).unwrap();
    let both = serve(context(&issued, None, TlsVersion::Tls12), Options::default()).await;
    let new = serve(context(&issued, None, TlsVersion::Tls13), Options::default()).await;
    for (versions, spoken) in
        [(&[&TLS12][..], ProtocolVersion::TLSv1_2), (&[&TLS13][..], ProtocolVersion::TLSv1_3)]
    {
        let client = Client { versions, ..Client::of(&authority) };
        let stream = client.connect(&both).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(spoken));
        assert_eq!(client.put(&both).await, Some(200), "{spoken:?}");
        let taken = spoken == ProtocolVersion::TLSv1_3;
        assert_eq!(client.put(&new).await, taken.then_some(200), "{spoken:?}");
    }
    assert_eq!(handshakes(&new, 2).await, [HandshakeResult::Failed, HandshakeResult::Ok]);
}

#[tokio::test]
async fn alpn_chooses_between_http2_and_http1() {
    let authority = Authority::new("ca").unwrap();
    let server = server(&authority, None).await;
    for (alpn, chosen) in [
        (&[b"h2".as_slice(), b"http/1.1"][..], Some(b"h2".as_slice())),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = Client { alpn, ..Client::of(&authority) }.connect(&server).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        let http2 = chosen == Some(b"h2");
        let call = Call { http2, ..Call::new("PutRecord", single("s", b"x").to_string()) };
        let answer = Sender::over(stream, http2).await.send(call.into_request()).await.unwrap();
        assert_eq!(answer.status, 200, "{chosen:?}");
    }
    let other = Client { alpn: &[b"spdy/1"], ..Client::of(&authority) };
    assert!(other.connect(&server).await.is_err());
}

#[tokio::test]
async fn a_client_that_trusts_another_authority_gets_no_connection() {
    let (authority, other) = (Authority::new("ca").unwrap(), Authority::new("other").unwrap());
    let server = server(&authority, None).await;
    assert!(Client::of(&other).connect(&server).await.is_err());
    assert_eq!(handshakes(&server, 1).await, [HandshakeResult::Failed]);
}

#[tokio::test]
async fn clients_must_or_may_show_a_certificate_of_the_right_authority() {
    use HandshakeResult::{Certificate, Ok};
    let (authority, clients) = (Authority::new("ca").unwrap(), Authority::new("clients").unwrap());
    for (auth, expect) in [
        (ClientAuth::Required, [Ok, Certificate, Certificate, Certificate]),
        (ClientAuth::Optional, [Ok, Ok, Certificate, Certificate]),
    ] {
        let server = server(&authority, Some((&clients, auth))).await;
        let of_a_server = clients.server("server", YEAR).unwrap();
        let shown = [
            Some(clients.client("producer").unwrap()),
            None,
            Some(authority.client("producer").unwrap()),
            Some(of_a_server),
        ];
        for (index, (shows, expect)) in shown.into_iter().zip(expect).enumerate() {
            for versions in [&[&TLS12][..], &[&TLS13]] {
                server.memory.handshakes.lock().unwrap().clear();
                let client = Client { shows: shows.clone(), versions, ..Client::of(&authority) };
                let status = client.put(&server).await;
                assert_eq!(status, (expect == Ok).then_some(200), "{auth:?} {index}");
                assert_eq!(handshakes(&server, 1).await, [expect], "{auth:?} {index}");
            }
        }
    }
}

#[tokio::test]
async fn the_audit_log_says_whose_certificate_a_client_has_shown() {
    let (authority, clients) = (Authority::new("ca").unwrap(), Authority::new("clients").unwrap());
    let server = server(&authority, Some((&clients, ClientAuth::Optional))).await;
    for shows in [Some(clients.client("producer").unwrap()), None] {
        let client = Client { shows: shows.clone(), ..Client::of(&authority) };
        let call = Call::new("DescribeDeliveryStream", "{\"DeliveryStreamName\":\"s\"}").into_request();
        let mut sender = Sender::over(client.connect(&server).await.unwrap(), false).await;
        assert_eq!(sender.send(call).await.unwrap().status, 200);
        let event = server.memory.audited.lock().unwrap().pop().unwrap();
        let event: serde_json::Value = serde_json::from_str(&event.json).unwrap();
        let told = event["additionalEventData"]["clientCertificate"].as_str();
        assert_eq!(told, shows.map(|_| "CN=producer"), "{event}");
    }
}

#[tokio::test]
async fn another_certificate_counts_for_new_connections_and_leaves_the_open_ones_alone() {
    let (old, new) = (Authority::new("old").unwrap(), Authority::new("new").unwrap());
    let with =
        |authority: &Authority| context(&authority.server("server", YEAR).unwrap(), None, TlsVersion::Tls12);
    let tls = Arc::new(Tls::new(with(&old)));
    let server = Server::serve(Memory::default(), Options::default(), Some(Arc::clone(&tls))).await;
    let mut open = Sender::over(Client::of(&old).connect(&server).await.unwrap(), false).await;
    assert_eq!(open.send(put()).await.unwrap().status, 200);
    tls.replace(with(&new));
    assert_eq!(open.send(put()).await.unwrap().status, 200);
    assert_eq!(Client::of(&old).put(&server).await, None);
    assert_eq!(Client::of(&new).put(&server).await, Some(200));
    assert_eq!(open.send(put()).await.unwrap().status, 200);
}

/// The head of a signed put that sends its body when it is told to, and the body.
fn put_in_two() -> (String, Vec<u8>) {
    let body = single("s", b"x").to_string();
    let request = Call::new("PutRecord", body.clone()).into_request();
    let headers = request.headers().iter();
    let lines: String =
        headers.map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap())).collect();
    let length = body.len();
    let head = format!("POST / HTTP/1.1\r\n{lines}content-length: {length}\r\nexpect: 100-continue\r\n\r\n");
    (head, body.into_bytes())
}

#[tokio::test]
async fn connections_end_when_something_else_is_asked_of_certificates() {
    let (authority, clients) = (Authority::new("ca").unwrap(), Authority::new("clients").unwrap());
    let other = Authority::new("other").unwrap();
    let issued = authority.server("server", YEAR).unwrap();
    let asking = |clients| context(&issued, clients, TlsVersion::Tls12);
    let asks = [None, Some((&clients, ClientAuth::Required)), Some((&other, ClientAuth::Required)), None];
    for step in asks.windows(2) {
        let tls = Arc::new(Tls::new(asking(step[0])));
        let server = Server::serve(Memory::default(), Options::default(), Some(Arc::clone(&tls))).await;
        let shows = step[0].map(|(authority, _)| authority.client("producer").unwrap());
        let client = Client { shows, ..Client::of(&authority) };
        let mut idle = Sender::over(client.connect(&server).await.unwrap(), false).await;
        assert_eq!(idle.send(put()).await.unwrap().status, 200);
        let (mut busy, (head, body)) = (client.connect(&server).await.unwrap(), put_in_two());
        busy.write_all(head.as_bytes()).await.unwrap();
        let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        busy.read_exact(&mut go_on).await.unwrap();

        tls.replace(asking(step[0]));
        assert_eq!(idle.send(put()).await.unwrap().status, 200, "the same is asked as before");
        tls.replace(asking(step[1]));
        busy.write_all(&body).await.unwrap();
        let mut answer = String::new();
        busy.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "what was under way is refused: {answer}");
        while let Ok(answer) = idle.send(put()).await {
            answer.is_error(503, "ServiceUnavailableException", "connect again");
        }
        assert_eq!(server.memory.puts.lock().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn where_the_certificate_alone_counts_a_connection_must_have_shown_one() {
    let (authority, clients) = (Authority::new("ca").unwrap(), Authority::new("clients").unwrap());
    let issued = authority.server("server", YEAR).unwrap();
    let memory = || Memory { proof: Proof::Certificate, ..Memory::default() };
    // As it is for a moment while certificates are no longer asked for, and signatures not yet.
    let optional = context(&issued, Some((&clients, ClientAuth::Optional)), TlsVersion::Tls12);
    let server = Server::serve(memory(), Options::default(), Some(Arc::new(Tls::new(optional)))).await;
    for (shows, expect) in [(Some(clients.client("producer").unwrap()), 200), (None, 503)] {
        assert_eq!(Client { shows, ..Client::of(&authority) }.put(&server).await, Some(expect));
    }
    let plain = Server::start_with(memory(), Options::default()).await;
    assert_eq!(plain.exchange(put(), false).await.status, 200);
}

/// What the server sends until it closes.
async fn read_all(mut stream: TcpStream) -> std::io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap()?;
    Ok(answer)
}

#[tokio::test]
async fn a_client_that_gets_stuck_in_the_handshake_is_closed_and_gives_its_place_back() {
    let authority = Authority::new("ca").unwrap();
    let issued = authority.server("server", YEAR).unwrap();
    let options =
        Options { handshake_timeout: Duration::from_millis(200), handshakes_max: 1, ..Options::default() };
    let server = serve(context(&issued, None, TlsVersion::Tls12), options).await;
    // Silent, and in the middle of a record that would be a client's first.
    for beginning in [&b""[..], &[0x16], &[0x16, 3, 1, 0x01, 0x00, 1, 0, 0]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        assert_eq!(read_all(stream).await.unwrap(), b"");
    }
    assert_eq!(handshakes(&server, 3).await, [HandshakeResult::Timeout; 3]);
    assert_eq!(server.frontend.connections_open(), 0);

    // The only place is taken; the next one gets it when the silent client is put out, and keeps none of it itself.
    let silent = TcpStream::connect(server.address).await.unwrap();
    let mut first = Sender::over(Client::of(&authority).connect(&server).await.unwrap(), false).await;
    assert_eq!(read_all(silent).await.unwrap(), b"");
    let mut second = Sender::over(Client::of(&authority).connect(&server).await.unwrap(), false).await;
    assert_eq!(first.send(put()).await.unwrap().status, 200);
    assert_eq!(second.send(put()).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_plain_request_to_a_tls_port_is_told_so_and_closed_without_a_reset() {
    let authority = Authority::new("ca").unwrap();
    let server = server(&authority, None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut request = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 200000\r\n\r\n".to_vec();
    request.resize(request.len() + 200_000, b'x');
    stream.write_all(&request).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = String::from_utf8(read_all(stream).await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        body.contains("https://") && head.contains(&format!("content-length: {}", body.len())),
        "{answer}"
    );

    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"\0\0\0\0").await.unwrap();
    // The four bytes were not read, which a reset may tell.
    assert_eq!(read_all(stream).await.unwrap_or_default(), b"");
    drop(TcpStream::connect(server.address).await.unwrap());
    let expect = [HandshakeResult::Plain, HandshakeResult::Plain, HandshakeResult::Closed];
    assert_eq!(handshakes(&server, 3).await, expect);
}

#[tokio::test]
async fn a_stop_waits_for_puts_in_flight_and_for_no_handshake() {
    let authority = Authority::new("ca").unwrap();
    let server = server(&authority, None).await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    let client = Client::of(&authority);
    let mut idle = Sender::over(client.connect(&server).await.unwrap(), false).await;
    assert_eq!(idle.send(put()).await.unwrap().status, 200);
    let mut busy = Sender::over(client.connect(&server).await.unwrap(), false).await;
    let held = Call::new("PutRecord", single("held", b"x").to_string()).into_request();
    let stopping = async {
        server.memory.begun.notified().await;
        server.stop.cancel();
        assert_eq!(read_all(silent).await.unwrap(), b"");
        server.memory.release.notify_one();
    };
    let (answer, ()) = tokio::join!(busy.send(held), stopping);
    assert_eq!(answer.unwrap().status, 200);
    server.serving.await.unwrap();
    assert!(idle.send(put()).await.is_err());
}
