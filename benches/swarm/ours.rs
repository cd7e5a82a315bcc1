//! procserver itself, with the app on the swarm.

use std::path::Path;

use serde_json::{Value, json};

use crate::engines::Engines;
use crate::free_address;
use crate::kept_base;
use crate::product::repository::Repository;
use crate::product::server::{Server, open_to_all};
use crate::visits::Door;

/// How long a call may take: the first deploy makes an image of a system.
const WAIT: &str = "wait=600";

/// The server, and what is deployed.
pub(crate) struct Ours {
    pub(crate) server: Server,
    repository: Repository,
}

impl Ours {
    /// Starts the server and deploys `program` as an app on both engines.
    pub(crate) fn start(home: &Path, engines: &Engines, program: &Path) -> Self {
        let repository = Repository::new(&home.join("app"), "web: exec ./app serve\n", 0);
        repository.add("app", program);
        repository.change_a_line();
        let data = home.join("data");
        std::fs::create_dir(&data).expect("a new directory");
        open_to_all(&data);
        kept_base::give(&data);
        let listen = free_address(engines).to_string();
        let socket = engines.socket(1).display().to_string();
        let arguments = ["--listen", &listen, "--swarm-socket", &socket];
        let workers = ["--workers", "1"];
        let server = Server::launch(&data, &[&arguments[..], &workers].concat());
        let ours = Self { server, repository };
        ours.server
            .ask("POST", "/applications", Some(&ours.document()), Some(WAIT));
        kept_base::keep(&data);
        ours
    }

    /// The root file system is that of the tests, which is kept: hence the package.
    fn document(&self) -> Value {
        json!({
            "name": "app",
            "repo": { "url": self.repository.url() },
            "engine": "swarm",
            "packages": ["python3"],
            "scale": { "web": 2 },
            "health_check": { "path": "/", "interval": "200ms", "boot_timeout": "1m" },
            "stop": { "timeout": "10s" },
        })
    }

    pub(crate) fn door(&self) -> Door {
        Door {
            address: self.server.address,
            path: "/app/",
        }
    }

    /// Deploys a change of one line, until it is done.
    pub(crate) fn redeploy(&self) {
        self.repository.change_a_line();
        self.act("redeploy");
    }

    /// Goes back to the release before, until it is done.
    pub(crate) fn roll_back(&self) {
        self.act("rollback");
    }

    fn act(&self, action: &str) {
        let target = format!("/applications/app/{action}");
        self.server.ask("POST", &target, None, Some(WAIT));
    }
}
