//! The demo on a Docker Swarm: [`Engine`] is looked at before anything is made, and left as it was.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use awc::http::Method;
use serde_json::{Value, json};

use super::repository::{self, GREETING};
use super::server::Server;
use super::steps::Steps;
use super::visits::Visits;
use super::{DemoArgs, NAME, Stage, show_ways_in, visit_all};
use crate::cli::client::{Call, Client};
use crate::cli::deploy::{self, Underway, WaitArgs};
use crate::cli::output::cell;
use crate::document::name::AppName;
use crate::swarm;
use crate::swarm::about::{About, knock};
use crate::swarm::image::bases::Bases;

/// How long processes of a swarm may take to end, with all that they leave.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Between two requests while the app is deployed again.
const BETWEEN: Duration = Duration::from_millis(5);

const HEADINGS: [&str; 5] = ["PROCESS", "STATE", "NODE", "TASK", "PORT"];

/// The engine that runs the app.
pub struct Engine {
    socket: PathBuf,
    client: swarm::Client,
    about: About,
    nodes: usize,
}

impl Engine {
    /// Looks whether the engine at `socket`, and this machine, can show an application.
    ///
    /// # Errors
    /// Why not, and what to type.
    pub async fn find(socket: &Path) -> anyhow::Result<Self> {
        knock(socket)?;
        let client = swarm::Client::new(socket.to_owned());
        let about = client.about().await?;
        if let Some(lack) = about.lack() {
            return Err(lack.into());
        }
        ensure!(
            rustix::process::geteuid().is_root(),
            "images are made by root, who alone gives files to other users: run \"sudo procserver demo --swarm\""
        );
        ensure!(
            is_installed("mmdebstrap"),
            "there is no mmdebstrap, which makes the root file system of images: type \"apt-get install mmdebstrap\""
        );
        let nodes = client.nodes().await?.len();
        Ok(Self {
            socket: socket.to_owned(),
            client,
            about,
            nodes,
        })
    }

    fn tell(&self, steps: &mut Steps) -> anyhow::Result<()> {
        let Self { about, nodes, .. } = self;
        steps.say(&format!(
            "The engine is {about}, the manager of a swarm with {}.",
            match nodes {
                1 => "one node".to_owned(),
                nodes => format!("{nodes} nodes"),
            }
        ))?;
        if *nodes > 1 {
            steps.say(
                "The app runs on this node: others fetch images from an address of the server that they reach, and this one \
                 has none (README, On a swarm).",
            )?;
        }
        Ok(())
    }

    /// Removes what the server at `address` has left, whose files are in `scratch`.
    ///
    /// # Errors
    /// The engine does not, or not in time.
    pub async fn clear(&self, scratch: &Path, address: SocketAddr) -> anyhow::Result<()> {
        let name = scratch.join("data/swarm/server");
        let name = std::fs::read_to_string(&name)
            .with_context(|| format!("cannot read {}", name.display()))?;
        let server = name.trim();
        let repository = format!("{address}/{NAME}");
        let cleared = tokio::time::timeout(LIMIT, self.client.clear(server, &repository));
        match cleared.await {
            Ok(cleared) => Ok(cleared?),
            Err(_) => bail!(
                "something is left after {} s: \"docker service ls --filter label=procserver.server={server}\" and \
                 \"docker volume ls --filter name=procserver-{server}\" show it",
                LIMIT.as_secs()
            ),
        }
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Plays the demo up to its log.
pub(super) async fn play(
    args: &DemoArgs,
    stage: &mut Stage,
    steps: &mut Steps,
) -> anyhow::Result<()> {
    let scratch = stage.scratch.path();
    let engine = stage.engine.as_ref().context("there is no engine")?;
    steps.say(&format!(
        "procserver demo on a swarm, in {}",
        scratch.display()
    ))?;
    engine.tell(steps)?;
    let copy = steps.take("copy this program", async { stage.scratch.copy_program() });
    let binary = copy.await?;
    let make = repository::make(scratch, repository::SWARM);
    let repository = steps
        .take("make a git repository with a Procfile", make)
        .await?;
    let wanted = Some(engine.socket.as_path());
    let server = stage
        .server
        .insert(Server::spawn(&binary, scratch, wanted)?);
    steps.take("start the server", server.ready()).await?;
    // Into the directories that it has made.
    take_over(&args.base_from, scratch, steps).await?;
    let client = server.client()?;
    let document = json!({
        "name": NAME,
        "repo": {"url": repository},
        "domain": [super::domain()],
        "engine": "swarm",
        "scale": {"web": 2},
        "health_check": {"path": "/ready", "boot_timeout": "5m"},
    });
    super::deploy(&client, &document, steps).await?;
    let visits = Visits::new(server.address()?, None);
    visit_all(&visits, steps).await?;
    show_processes(&client, steps).await?;
    redeploy(&client, &visits, &repository, steps).await?;
    show_processes(&client, steps).await?;
    show_ways_in(args.once, &visits, server, steps)?;
    if !args.once {
        return super::follow(args, &client, server, steps).await;
    }
    steps.say("")?;
    let log = super::log_has_requests(&client);
    steps.take("read the log of those requests", log).await?;
    steps
        .take("delete the app", super::delete(&client, LIMIT))
        .await
}

/// Takes the root file systems of this machine's own server, if there are some: to make one takes minutes.
async fn take_over(data_dir: &Path, scratch: &Path, steps: &mut Steps) -> anyhow::Result<()> {
    let (from, to) = (data_dir.join("swarm"), scratch.join("data/swarm"));
    if !from.join("bases").is_dir() {
        return steps.say(
            "The first image takes some minutes: mmdebstrap fetches and unpacks a Debian of 80 MB.",
        );
    }
    let name = format!("take root file systems of {}", data_dir.display());
    let take = async {
        let taken = tokio::task::spawn_blocking(move || Bases::take_over(&from, &to));
        Ok(taken.await??)
    };
    steps.take(&name, take).await.map(drop)
}

/// The processes of `web`, as the status has them.
async fn processes(client: &Client) -> anyhow::Result<Vec<Value>> {
    let status: Value = client.get(&format!("/applications/{NAME}/status")).await?;
    Ok(status["processes"].as_array().cloned().unwrap_or_default())
}

async fn show_processes(client: &Client, steps: &mut Steps) -> anyhow::Result<()> {
    let processes = processes(client).await?;
    let row = |process: &Value| -> Vec<String> {
        let names = ["id", "state", "node", "task", "port"];
        names.iter().map(|name| cell(&process[name])).collect()
    };
    let rows: Vec<_> = processes.iter().map(row).collect();
    steps.say("")?;
    steps.output().table(&HEADINGS, &rows)?;
    steps.say("")
}

/// Deploys another commit while requests come: none fails, and at the end the new release answers alone.
async fn redeploy(
    client: &Client,
    visits: &Visits,
    repository: &str,
    steps: &mut Steps,
) -> anyhow::Result<()> {
    repository::change(repository, GREETING, "It works. So does another commit.\n").await?;
    let before = tasks(client).await?;
    let name = AppName::parse(NAME)?;
    let call = Call::new(Method::POST, format!("/applications/{NAME}/redeploy"));
    steps.say(&format!(
        "POST /applications/{NAME}/redeploy, while requests come"
    ))?;
    let mut count = 0;
    let begun = std::time::Instant::now();
    let (wait, underway) = (WaitArgs::default(), Underway::default());
    let deploying = async {
        let out = steps.output();
        deploy::carry_out(&name, call, wait, &[], &underway, client, out).await?;
        // The former processes end when their requests are answered.
        while tasks(client)
            .await?
            .iter()
            .any(|task| before.contains(task))
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    let deploying = async {
        let done = tokio::time::timeout(LIMIT, deploying).await;
        done.context("the former processes have not ended in time")?
    };
    tokio::select! {
        done = deploying => done?,
        failed = keep_asking(visits, &mut count) => match failed? {},
    }
    steps.note("rolling redeploy", begun.elapsed());
    steps.say(&format!(
        "  {count} requests were answered meanwhile, none failed"
    ))?;
    let visit = visits.all().next().context("there is no way in")?;
    let page = visits.check(visit).await?;
    ensure!(
        page.contains("another commit"),
        "the former release answers: {page}"
    );
    steps.say(&format!("  {}", page.trim()))
}

/// The tasks of all processes.
async fn tasks(client: &Client) -> anyhow::Result<Vec<Value>> {
    let processes = processes(client).await?.into_iter();
    Ok(processes.map(|process| process["task"].clone()).collect())
}

/// Asks until one request fails.
async fn keep_asking(visits: &Visits, count: &mut u32) -> anyhow::Result<Infallible> {
    let visit = visits.all().next().context("there is no way in")?;
    loop {
        visits
            .check(visit)
            .await
            .context("a request failed while the app was deployed again")?;
        *count += 1;
        tokio::time::sleep(BETWEEN).await;
    }
}
