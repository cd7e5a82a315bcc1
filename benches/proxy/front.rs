//! procserver's front end in a process of its own, with a routing table made by hand.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use procserver::events::Feed;
use procserver::front::access_log;
use procserver::front::front::Front;
use procserver::front::in_process::{Connector, ConnectorFactory};
use procserver::logs::access::{AccessLog, keep_writing};
use procserver::logs::app_logs::AppLogs;
use procserver::router::backend::{Backend, Load};
use procserver::router::table::{Availability, Route, Table};
use procserver::settings::Settings;
use procserver::settings::raw::RawSettings;
use procserver::settings::surroundings::Surroundings;
use procserver::supervision::ExitReason;
use tokio::sync::watch;

/// `LISTEN ORIGIN APPS DIRECTORY`, until it is killed; an empty DIRECTORY is for no access log.
pub(crate) fn serve(words: &[String]) {
    let [listen, origin, apps, directory] = words else {
        panic!("serve-front LISTEN ORIGIN APPS DIRECTORY")
    };
    let listen: SocketAddr = listen.parse().expect("an address");
    let origin: SocketAddr = origin.parse().expect("an address");
    let apps: u64 = apps.parse().expect("a number");
    let listener = TcpListener::bind(listen).expect("the port is free");
    let (_sender, table) = watch::channel(Arc::new(table(apps, origin)));
    System::new().block_on(async move {
        let settings = settings();
        let mut tuned = (*settings.front).clone();
        tuned.workers = 1;
        let front = Front::new(
            vec![(listen, listener)],
            Arc::new(tuned),
            table,
            no_api(),
            ExitReason::default(),
        );
        let _front = if directory.is_empty() {
            front.start()
        } else {
            std::fs::create_dir_all(directory).expect("the temporary directory is ours");
            let bounds = (settings.log_size, settings.log_files);
            let path = Path::new(directory).to_owned();
            let log = move || AccessLog::new(&path, bounds, AppLogs::default());
            let (sink, source) = access_log::channel();
            Arbiter::new().spawn(keep_writing(log, source, Feed::default()));
            front.with_access_log(sink).start()
        };
        std::future::pending::<()>().await;
    });
}

/// The defaults, as they are for root.
fn settings() -> Settings {
    let around = Surroundings {
        root: true,
        config_home: None,
        data_home: None,
        runtime_dir: None,
        default_user: "nobody".into(),
        cores: 1,
    };
    Settings::resolve(RawSettings::default(), RawSettings::default(), &around)
        .expect("the defaults are valid")
}

/// So many apps with two patterns each, all of them at `origin`.
fn table(apps: u64, origin: SocketAddr) -> Table {
    let routes = (0..apps).map(|n| {
        Arc::new(Route {
            app: format!("app{n}").into(),
            created: n,
            domain: vec![
                format!("^app{n}\\.example\\.org$"),
                format!("^www[0-9]*\\.app{n}\\.(com|net)$"),
            ],
            path: true,
            strip_path: true,
            port: None,
            static_files: None,
            buffer: Default::default(),
            availability: Availability::Starting,
            backends: vec![Backend {
                process: "web.1".into(),
                release: 1,
                address: origin.into(),
                load: Arc::new(Load::default()),
            }],
        })
    });
    Table::new(routes.collect())
}

/// Nothing asks the API here.
fn no_api() -> ConnectorFactory {
    Arc::new(|| -> Connector { Rc::new(|_| tokio::io::duplex(1).0) })
}
