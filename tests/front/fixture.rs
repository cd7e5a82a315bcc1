//! A front end in this process, with a hand-made routing table.

use std::io::{Read, Write};
use std::net::{Shutdown as Half, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix::prelude::*;
use actix_http::HttpService;
use actix_service::{Service, ServiceFactory, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, HttpRequest, HttpResponse, web};
use procserver::document::buffering::Buffering;
use procserver::front::access::recorder;
use procserver::front::access::recorder::{Sink, Source};
use procserver::front::front::Front;
use procserver::front::listener::Bound;
use procserver::front::own_token::OwnToken;
use procserver::front::settings::{FrontSettings, Limits, Timeouts};
use procserver::front::upstream::in_process::{Connector, ConnectorFactory};
use procserver::router::backend::{Backend, Load};
use procserver::router::reach::Reach;
use procserver::router::table::{Availability, Route, Table};
use procserver::supervision::{ExitReason, Shutdown};
use procserver::tls::server_config::Tls;
use tokio::sync::{oneshot, watch};

use super::origin::{Origin, PATIENCE, read_message};

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A running front end; it is drained when dropped.
pub(crate) struct Fixture {
    pub(crate) address: SocketAddr,
    table: watch::Sender<Arc<Table>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fixture {
    /// With this routing table.
    pub(crate) fn new(routes: Vec<Route>) -> Self {
        Self::tuned(routes, |_| {})
    }

    /// With the app `blog` at `origin` for all hosts.
    pub(crate) fn before(origin: &Origin) -> Self {
        Self::new(vec![route("blog", &[origin])])
    }

    pub(crate) fn tuned(routes: Vec<Route>, tune: impl FnOnce(&mut FrontSettings)) -> Self {
        Self::start(routes, tune, None, OwnToken::default())
    }

    /// That speaks TLS.
    pub(crate) fn secure(
        routes: Vec<Route>,
        tls: Tls,
        tune: impl FnOnce(&mut FrontSettings),
    ) -> (Self, Source) {
        let (sink, source) = recorder::channel(&Default::default());
        let own_token = OwnToken::default();
        let front = Self::begin(routes, Some(tls), tune, Some(sink), own_token);
        (front, source)
    }

    /// With an access log, too.
    pub(crate) fn logging(
        routes: Vec<Route>,
        tune: impl FnOnce(&mut FrontSettings),
    ) -> (Self, Source) {
        let (sink, source) = recorder::channel(&Default::default());
        let front = Self::start(routes, tune, Some(sink), OwnToken::default());
        (front, source)
    }

    /// That sends this token to no app.
    pub(crate) fn withholding(routes: Vec<Route>, own_token: OwnToken) -> Self {
        Self::start(routes, |_| {}, None, own_token)
    }

    fn start(
        routes: Vec<Route>,
        tune: impl FnOnce(&mut FrontSettings),
        access: Option<Sink>,
        own_token: OwnToken,
    ) -> Self {
        Self::begin(routes, None, tune, access, own_token)
    }

    fn begin(
        routes: Vec<Route>,
        tls: Option<Tls>,
        tune: impl FnOnce(&mut FrontSettings),
        access: Option<Sink>,
        own_token: OwnToken,
    ) -> Self {
        let mut settings = settings();
        tune(&mut settings);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (table, receiver) = watch::channel(Arc::new(Table::new(
            routes.into_iter().map(Arc::new).collect(),
        )));
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            System::new().block_on(async move {
                let listeners = vec![Bound {
                    address,
                    socket: listener,
                    tls,
                }];
                let settings = Arc::new(settings);
                let front = Front::new(listeners, settings, receiver, api(), ExitReason::default());
                let front = front.that_withholds(own_token);
                let front = match access {
                    Some(sink) => front.with_access_log(sink).start(),
                    None => front.start(),
                };
                ready.send(()).unwrap();
                let _ = stopped.await;
                let _ = front.send(Shutdown).await;
                while front.connected() {
                    tokio::task::yield_now().await;
                }
            });
        });
        started.recv_timeout(PATIENCE).unwrap();
        Self {
            address,
            table,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn publish(&self, route: Route) {
        let next = self.table.borrow().with(route);
        self.table.send_replace(Arc::new(next));
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Sends bytes on a new connection and reads what comes until it is closed.
    pub(crate) fn talk(&self, bytes: &str) -> String {
        let mut client = self.connect();
        client.send(bytes);
        client.rest()
    }

    /// Asks it to stop and does not wait.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has stopped.
    pub(crate) fn join(&mut self) {
        self.begin_stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.join();
    }
}

fn settings() -> FrontSettings {
    FrontSettings {
        workers: 1,
        reach: Arc::new(Reach {
            api_hosts: vec!["api.local".into()],
            ..Reach::default()
        }),
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
        hold: Duration::from_secs(5),
        drain: Duration::from_millis(500),
        buffers: std::env::temp_dir(),
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            head: Duration::from_secs(5),
            response: Duration::from_secs(5),
            idle: Duration::from_secs(5),
            tunnel_idle: Duration::from_secs(5),
            body: Duration::from_secs(5),
        },
        limits: Limits {
            head: 32 * 1024,
            body: 1 << 20,
            buffer: 1 << 30,
            headers: 100,
            connections: 1000,
            connections_per_address: 1000,
        },
    }
}

/// An actix-web API that answers each request with what it got.
fn api() -> ConnectorFactory {
    Arc::new(|| -> Connector {
        Rc::new(|peer| {
            let (near, far) = tokio::io::duplex(16 * 1024);
            actix_rt::spawn(async move {
                let app = App::new().default_service(web::to(echo));
                let app = map_config(app, |_| AppConfig::default());
                let service = HttpService::build().h1(app).new_service(()).await.unwrap();
                let _ = service.call((far, Some(peer))).await;
            });
            near
        })
    })
}

/// Asked with `?late` it takes its time.
pub(crate) const LATE: Duration = Duration::from_millis(400);

async fn echo(request: HttpRequest, body: web::Bytes) -> HttpResponse {
    if request.query_string() == "late" {
        actix_rt::time::sleep(LATE).await;
    }
    let mut got = format!("api: {} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        got.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    got.push_str(&String::from_utf8_lossy(&body));
    HttpResponse::Ok().body(got)
}

/// An app for all hosts.
pub(crate) fn route(app: &str, origins: &[&Origin]) -> Route {
    Route {
        app: app.into(),
        created: 1,
        hosts: Vec::new(),
        domain: vec![".".into()],
        path: true,
        strip_path: true,
        port: None,
        static_files: None,
        buffer: Default::default(),
        policies: None,
        tls: Default::default(),
        has_deployed: true,
        availability: Availability::Starting,
        backends: origins.iter().map(|o| backend(o.address)).collect(),
        others: Vec::new(),
    }
}

/// An app for all hosts, with each piece passed on at once.
pub(crate) fn passing(app: &str, origins: &[&Origin]) -> Route {
    Route {
        buffer: Buffering {
            requests: false,
            responses: false,
        },
        ..route(app, origins)
    }
}

/// An app for its path only.
pub(crate) fn path_route(app: &str, origin: &Origin) -> Route {
    Route {
        hosts: Vec::new(),
        domain: Vec::new(),
        ..route(app, &[origin])
    }
}

pub(crate) fn backend(address: SocketAddr) -> Backend {
    Backend {
        process: "web.1".into(),
        release: 1,
        address: address.into(),
        load: Arc::new(Load::default()),
    }
}

/// A client's end.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// From this address of the loopback network.
    pub(crate) fn from(address: [u8; 4], to: SocketAddr) -> Self {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let own = SocketAddr::from((address, 0));
        socket.bind(&own.into()).unwrap();
        socket.connect(&to.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    pub(crate) fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).unwrap();
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// A response with its body.
    pub(crate) fn response(&mut self) -> String {
        read_message(&mut self.stream, false)
    }

    /// A response that has no body, whatever its fields say.
    pub(crate) fn head(&mut self) -> String {
        read_message(&mut self.stream, true)
    }

    /// Exactly these bytes come.
    pub(crate) fn expect(&mut self, bytes: &str) {
        let mut came = vec![0; bytes.len()];
        self.stream.read_exact(&mut came).unwrap();
        assert_eq!(String::from_utf8_lossy(&came), bytes);
    }

    /// All until the connection is closed.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let ended = self.stream.read_to_end(&mut rest);
        let rest = String::from_utf8_lossy(&rest).into_owned();
        if let Err(error) = ended {
            let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
            assert!(reset, "not closed: {error}, after {rest:?}");
        }
        rest
    }

    /// The connection is closed in good order, without another byte.
    #[track_caller]
    pub(crate) fn ends_well(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("no reset");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    pub(crate) fn close_sending(&self) {
        self.stream.shutdown(Half::Write).unwrap();
    }
}

/// Waits until `condition` holds.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}
