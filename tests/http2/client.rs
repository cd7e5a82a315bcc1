//! A front end that speaks TLS, and a client of it that speaks HTTP/2.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::{Builder, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use procserver::front::access::recorder::Source as Access;
use procserver::front::settings::FrontSettings;
use procserver::router::table::Route;
use procserver::tls::certificate::{Certificate, Source};
use procserver::tls::certificates::Certificates;
use procserver::tls::server_config::{MinVersion, Tls, provider};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::front::fixture::Fixture;
use crate::front::origin::Origin;
use crate::process::until;

/// No test may wait longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The hosts that the certificate is for.
pub(crate) const HOSTS: [&str; 2] = ["a.test", "b.test"];

/// The one certificate of these tests, which all clients trust.
fn certificate() -> &'static (Arc<Certificate>, CertificateDer<'static>) {
    static MADE: OnceLock<(Arc<Certificate>, CertificateDer<'static>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let names = HOSTS.map(str::to_owned);
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let (chain, key) = (cert.pem(), signing_key.serialize_pem());
        let (chain, key) = (chain.as_bytes(), key.as_bytes());
        let read = Certificate::from_pem(chain, key, Source::File, &provider()).unwrap();
        (Arc::new(read), cert.der().clone())
    })
}

/// A front end with these apps, which speaks TLS.
pub(crate) fn front(routes: Vec<Route>) -> Fixture {
    tuned(routes, |_| {}).0
}

pub(crate) fn tuned(
    routes: Vec<Route>,
    tune: impl FnOnce(&mut FrontSettings),
) -> (Fixture, Access) {
    let all = [Arc::clone(&certificate().0)];
    let certificates = Certificates::new(&all, None, jiff::Timestamp::now());
    let (_, certificates) = watch::channel(Arc::new(certificates));
    let tls = Tls::new(certificates, MinVersion::Tls12).unwrap();
    Fixture::secure(routes, tls, tune)
}

/// What a client offers in its handshake.
pub(crate) fn config(protocols: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate().1.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().into())
        .collect();
    config
}

/// Runs a test on a runtime of its own, within bounds.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let test = async { tokio::time::timeout(PATIENCE, test).await };
    runtime.block_on(test).expect("it takes too long")
}

/// What the origin got next. The client's connection goes on meanwhile.
pub(crate) async fn received(origin: &Origin) -> String {
    let mut got = None;
    until("the origin gets something", || {
        got = origin.next_received();
        got.is_some()
    })
    .await;
    got.unwrap_or_default()
}

/// Shakes hands as a client that asks for `name`.
pub(crate) async fn shake_hands(
    address: SocketAddr,
    name: &'static str,
    protocols: &[&str],
) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from(name).unwrap();
    let connector = TlsConnector::from(Arc::new(config(protocols)));
    connector.connect(name, stream).await.unwrap()
}

/// A client of HTTP/2.
pub(crate) struct Client {
    pub(crate) send: SendRequest<Bytes>,
    /// Runs the connection. It ends when that does.
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::tuned(address, &Builder::new()).await
    }

    pub(crate) async fn tuned(address: SocketAddr, builder: &Builder) -> Self {
        Self::over(shake_hands(address, HOSTS[0], &["h2"]).await, builder).await
    }

    pub(crate) async fn over(stream: TlsStream<TcpStream>, builder: &Builder) -> Self {
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (send, connection) = builder.handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        Self { send, connection }
    }

    /// Sends a request whose body follows.
    pub(crate) async fn begin(
        &mut self,
        request: Request<()>,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let mut send = self.send.clone().ready().await.unwrap();
        send.send_request(request, false).unwrap()
    }

    /// Sends a request without a body.
    pub(crate) async fn ask(&mut self, request: Request<()>) -> Answer {
        self.try_ask(request).await.unwrap()
    }

    pub(crate) async fn try_ask(&mut self, request: Request<()>) -> Result<Answer, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        let (response, _) = send.send_request(request, true)?;
        Answer::read(response.await?).await
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.ask(request("GET", target)).await
    }
}

pub(crate) fn request(method: &str, target: &str) -> Request<()> {
    let uri = format!("https://a.test{target}");
    let request = Request::builder().method(method).uri(uri);
    request.body(()).unwrap()
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) async fn read(response: Response<RecvStream>) -> Result<Self, h2::Error> {
        let (head, mut stream) = response.into_parts();
        let mut body = BytesMut::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        Ok(Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(body.into()).unwrap(),
            trailers: stream.trailers().await?,
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
