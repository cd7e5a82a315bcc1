use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::document::policies::password_hash::PasswordHash;
use crate::document::policies::{self as document, BasicAuth};
use crate::front::policies::verifying::Attempt;
use crate::front::settings::{FrontSettings, Limits, Timeouts};
use crate::front::worker::Plan;
use crate::router::policies::Policies;
use crate::router::table::{Availability, Route, Table};

const S: Duration = Duration::from_secs(1);

/// `blog`, by path, where users have passwords.
fn routes() -> Table {
    let hash = PasswordHash::parse("$2y$04$RXgmkBVYsk8WQ8oLXcBgJuyuz0IbZuBrVqlQco1qHdOMDxxLGsOqC");
    let auth = BasicAuth {
        realm: "blog".to_owned(),
        users: [("ann".to_owned(), hash.unwrap())].into(),
    };
    let policies = document::Policies {
        auth: Some(auth),
        ..Default::default()
    };
    Table::new(vec![Arc::new(Route {
        app: "blog".into(),
        created: 1,
        hosts: Vec::new(),
        domain: Vec::new(),
        path: true,
        strip_path: true,
        port: None,
        static_files: None,
        buffer: Default::default(),
        policies: Policies::after(None, &policies, None),
        tls: Default::default(),
        has_deployed: true,
        availability: Availability::Starting,
        backends: Vec::new(),
        others: Vec::new(),
    })])
}

fn plan() -> Plan {
    let settings = FrontSettings {
        workers: 1,
        reach: Arc::default(),
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
        hold: S,
        drain: S,
        buffers: std::env::temp_dir(),
        timeouts: Timeouts {
            connect: S,
            head: S,
            response: S,
            idle: S,
            tunnel_idle: S,
            body: S,
        },
        limits: Limits {
            head: 1 << 16,
            body: 1,
            buffer: 0,
            headers: 100,
            connections: 1,
            connections_per_address: 1,
        },
    };
    Plan {
        settings: Arc::new(settings),
        table: watch::channel(Arc::new(routes())).1,
        api: Arc::new(|| Rc::new(|_| tokio::io::duplex(1).0)),
        draining: watch::channel(false).1,
        orders: watch::channel(crate::front::departure::Order::default()).1,
        load: Arc::default(),
        sockets: watch::channel(Vec::new()).1,
        connection_limit: crate::front::connection_limit::ConnectionLimit::default(),
        compressed: Default::default(),
        room: crate::front::capacity::Capacity {
            total: 1,
            per_worker: 1,
            per_address: 1,
        },
        access: None,
        traces: None,
        request_counts: Arc::default(),
        https: None,
        challenges: watch::channel(Arc::default()).1,
        own_token: crate::front::own_token::OwnToken::default(),
        verifying: Default::default(),
        calls: crate::front::upstream::asking::calls(),
        held: Default::default(),
    }
}

fn endpoints() -> Endpoints {
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    Endpoints {
        peer: address,
        local: address,
        app_port: None,
        is_trusted: false,
        is_secure: false,
        is_http2: false,
    }
}

/// The promise is at most 20 KiB a connection between requests: this, and no buffer.
#[actix::test]
async fn a_connection_between_requests_is_small() {
    let worker = Rc::new(Worker::new(&plan()));
    let (near, _far) = tokio::io::duplex(1);
    let serving = Connection::new(near, endpoints(), worker).serve();
    let size = std::mem::size_of_val(&serving);
    assert!(size <= 8 * 1024, "{size}");
}

#[actix::test]
async fn a_client_that_goes_away_while_its_password_waits_is_not_waited_for() {
    let plan = plan();
    let other = Attempt {
        address: 1,
        said: [0; 32],
    };
    let _turn = plan.verifying.enter(&"blog".into(), other).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut far = TcpStream::connect(address).await.unwrap();
    let (near, _) = listener.accept().await.unwrap();
    let head = "GET /blog/ HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YW5uOnNlc2FtZQ==\r\n\r\n";
    far.write_all(head.as_bytes()).await.unwrap();
    drop(far);
    let serving = Connection::new(near, endpoints(), Rc::new(Worker::new(&plan))).serve();
    let served = tokio::time::timeout(Duration::from_secs(20), serving).await;
    served.expect("it has ended");
}
