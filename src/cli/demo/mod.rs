//! `procserver demo`: makes a small git repository with a Procfile, starts a server of its own in a temporary directory,
//! deploys through the real API, shows the ways in, follows the logs, and cleans up.
//!
//! [`scratch`] is the directory, [`repository`] the app, [`server`] the child process, [`visits`] the requests through the
//! proxy, [`steps`] what is shown of it all. [`swarm`] is the same where a Docker Swarm runs the app. Whatever happens, the
//! server is stopped and the directory removed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use actix_rt::signal::unix::{SignalKind, signal};
use anyhow::{Context, bail, ensure};
use awc::http::Method;
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

pub mod repository;
pub mod scratch;
pub mod server;
pub mod steps;
pub mod swarm;
pub mod visits;

use super::client::{Call, Client, ClientArgs};
use super::deploy::{self, Underway, WaitArgs};
use super::output::Output;
use crate::document::name::AppName;
use scratch::Scratch;
use server::Server;
use steps::Steps;
use swarm::Engine;
use visits::Visits;

/// The demo app's name.
const NAME: &str = "demo";
/// How long what should happen at once may take on a slow machine.
const SOON: Duration = Duration::from_secs(20);

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  procserver demo                              deploys a small app and follows its logs until Ctrl-C
  procserver demo --once                       checks itself through the proxy, cleans up and exits
  procserver demo --once --json
  sudo procserver demo --swarm                 the same, on the Docker Swarm of this machine

It needs git, and nothing else. It listens on a free port of 127.0.0.1 and keeps all its files in one temporary directory.

On a swarm it also needs root, mmdebstrap and an engine that is a manager (apt-get install docker.io mmdebstrap; docker swarm \
init). The app runs on this machine's node. Its services, volumes and images are removed at the end; all else of the engine \
is left as it is.")]
pub struct DemoArgs {
    /// Check each way in, kill a process and see it return, then clean up and exit
    #[arg(long)]
    pub once: bool,
    /// Print JSON and nothing else: the address, the token and the steps with their seconds
    #[arg(long)]
    pub json: bool,
    /// Run the app on a Docker Swarm
    #[arg(long)]
    pub swarm: bool,
    /// Socket of the swarm's engine, on this machine
    #[arg(
        long,
        requires = "swarm",
        value_name = "PATH",
        default_value = "/var/run/docker.sock"
    )]
    pub socket: PathBuf,
    /// Data directory of a server whose root file systems images take, if it has one that fits
    #[arg(
        long,
        requires = "swarm",
        value_name = "DIR",
        default_value = "/var/lib/procserver"
    )]
    pub base_from: PathBuf,
}

/// What has to be cleaned up.
struct Stage {
    scratch: Scratch,
    server: Option<Server>,
    engine: Option<Engine>,
}

/// Plays the demo, and cleans up in any case.
///
/// # Errors
/// Whatever did not work as it should.
pub fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    actix_rt::System::new().block_on(async {
        let mut steps = Steps::new(args.json);
        // Before there is anything to clean up.
        let engine = match args.swarm {
            true => Some(Engine::find(&args.socket).await?),
            false => None,
        };
        let mut stage = Stage {
            scratch: Scratch::new()?,
            server: None,
            engine,
        };
        let playing = async {
            match args.swarm {
                true => swarm::play(&args, &mut stage, &mut steps).await,
                false => play(&args, &mut stage, &mut steps).await,
            }
        };
        let played = tokio::select! {
            played = playing => played,
            signalled = interrupted() => signalled.and_then(|()| {
                ensure!(!args.once, "interrupted before all was checked");
                Ok(())
            }),
        };
        let cleaned = stage.clear(&mut steps).await;
        played.and(cleaned)?;
        steps.total()?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn play(args: &DemoArgs, stage: &mut Stage, steps: &mut Steps) -> anyhow::Result<()> {
    steps.say(&format!(
        "procserver demo, in {}",
        stage.scratch.path().display()
    ))?;
    let binary = steps
        .take("copy this program", async { stage.scratch.copy_program() })
        .await?;
    let repository = steps
        .take(
            "make a git repository with a Procfile",
            repository::make(stage.scratch.path(), repository::LOCAL),
        )
        .await?;
    let server = stage
        .server
        .insert(Server::spawn(&binary, stage.scratch.path(), None)?);
    steps.take("start the server", server.ready()).await?;
    let client = server.client()?;
    let document = json!({
        "name": NAME,
        "repo": {"url": repository},
        "domain": [domain()],
        "env": {"DEMO_BIN": binary, "GREETING": "It works."},
    });
    deploy(&client, &document, steps).await?;

    let direct = web(&client).await?["port"]
        .as_u64()
        .context("web.1 has no port")?;
    let visits = Visits::new(server.address()?, Some(u16::try_from(direct)?));
    visit_all(&visits, steps).await?;
    show_ways_in(args.once, &visits, server, steps)?;
    if args.once {
        return check_the_rest(&client, &visits, steps).await;
    }
    follow(args, &client, server, steps).await
}

async fn visit_all(visits: &Visits, steps: &mut Steps) -> anyhow::Result<()> {
    for visit in visits.all() {
        steps
            .take(&format!("GET {}", visit.by), visits.check(visit))
            .await?;
    }
    Ok(())
}

/// Shows the app's log until somebody interrupts.
async fn follow(
    args: &DemoArgs,
    client: &Client,
    server: &Server,
    steps: &mut Steps,
) -> anyhow::Result<()> {
    if args.json {
        steps.document(server.url()?, server.token())?;
    }
    steps.say("\nThe log follows; Ctrl-C stops the server and removes everything.\n")?;
    let log = format!("/applications/{NAME}/logs/stdout?follow=true&tail=20");
    client
        .stream(&log, "text/plain", |piece| steps.bytes(piece))
        .await?;
    bail!("the server closed the log")
}

/// The hosts of the app, as a document has them.
fn domain() -> String {
    format!("^{NAME}\\.localhost$")
}

/// Creates the app over TCP with the token, as any client would.
async fn deploy(client: &Client, document: &Value, steps: &mut Steps) -> anyhow::Result<()> {
    steps.say(&format!("POST /applications {document}"))?;
    let name = AppName::parse(NAME)?;
    let call = Call::new(Method::POST, "/applications").body(document.to_string());
    let begun = Instant::now();
    let (wait, underway) = (WaitArgs::default(), Underway::default());
    deploy::carry_out(&name, call, wait, &[], &underway, client, steps.output()).await?;
    steps.note("deploy", begun.elapsed());
    Ok(())
}

/// The status of `web.1`.
async fn web(client: &Client) -> anyhow::Result<Value> {
    let status: Value = client.get(&format!("/applications/{NAME}/status")).await?;
    let processes = status["processes"].as_array();
    let web = processes.and_then(|all| all.iter().find(|process| process["id"] == "web.1"));
    web.cloned().context("the app has no process web.1")
}

fn show_ways_in(
    once: bool,
    visits: &Visits,
    server: &Server,
    steps: &mut Steps,
) -> anyhow::Result<()> {
    let (url, token) = (server.url()?, server.token());
    steps.say(if once {
        "\nIt was reached by:"
    } else {
        "\nTry:"
    })?;
    // No comments behind them: zsh takes those for words of the command.
    for visit in visits.all() {
        steps.say(&format!("  {:<27} {}", visit.by, visit.command()))?;
    }
    steps.say(&format!(
        "  {:<27} http://{NAME}.localhost:{}/",
        "in a browser",
        server.address()?.port()
    ))?;
    if once {
        // The server is gone before anybody can type.
        return Ok(());
    }
    steps.say("The API and the command line, by the server's socket, which needs no token:")?;
    for command in server.commands() {
        steps.say(&format!("  {command}"))?;
    }
    steps.say(&format!(
        "Over TCP the API is at {url}, with the token {token}"
    ))
}

/// What `--once` checks beyond what is always shown.
async fn check_the_rest(client: &Client, visits: &Visits, steps: &mut Steps) -> anyhow::Result<()> {
    steps.say("")?;
    steps
        .take("read the log of those requests", log_has_requests(client))
        .await?;
    steps
        .take(
            "kill -9 web.1 and see it return",
            returns_after_kill(client),
        )
        .await?;
    for visit in visits.all().take(1) {
        steps
            .take(&format!("GET {} once more", visit.by), visits.check(visit))
            .await?;
    }
    steps.take("delete the app", delete(client, SOON)).await
}

async fn log_has_requests(client: &Client) -> anyhow::Result<()> {
    let path = format!("/applications/{NAME}/logs/stdout?tail=100");
    eventually("the log has the requests", async || {
        let mut text = Vec::new();
        client
            .stream(&path, "text/plain", |piece| {
                text.extend_from_slice(piece);
                anyhow::Ok(())
            })
            .await?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().any(|line| line.ends_with("web.1 | GET /")))
    })
    .await
}

async fn returns_after_kill(client: &Client) -> anyhow::Result<()> {
    let before = web(client).await?;
    let pid = before["pid"].as_i64().context("web.1 has no pid")?;
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
    eventually("web.1 is ready again", async || {
        let now = web(client).await?;
        Ok(now["state"] == "ready" && now["pid"].is_u64() && now["pid"] != before["pid"])
    })
    .await
}

async fn delete(client: &Client, limit: Duration) -> anyhow::Result<()> {
    let call = Call::new(Method::DELETE, format!("/applications/{NAME}")).wait(limit);
    let answer = client.send(&call).await?;
    ensure!(
        answer.status != 202,
        "the app is not gone after {} s",
        limit.as_secs()
    );
    Ok(())
}

/// Asks `holds` until it does, for [`SOON`] at most.
async fn eventually(
    what: &str,
    holds: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let asked = async {
        while !holds().await? {
            actix_rt::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    let outcome = actix_rt::time::timeout(SOON, asked).await;
    outcome.with_context(|| format!("{what}: not within {} s", SOON.as_secs()))?
}

impl Stage {
    /// Stops the server, which stops its apps, and removes the directory.
    async fn clear(mut self, steps: &mut Steps) -> anyhow::Result<()> {
        if let Some(server) = &mut self.server {
            // With the user that was made for it.
            if let Ok(client) = server.client() {
                let limit = self.engine.as_ref().map_or(SOON, |_| swarm::LIMIT);
                let _gone_or_never_there = delete(&client, limit).await;
            }
            let stopped = steps.take("stop the server", server.stop()).await;
            if let (Some(engine), Ok(address)) = (&self.engine, server.address()) {
                let cleared = engine.clear(self.scratch.path(), address);
                steps
                    .take("remove what it left on the engine", cleared)
                    .await?;
            }
            stopped?;
        }
        steps
            .take("remove its files", async { self.scratch.remove() })
            .await
    }
}

/// The arguments of a client of the demo's server.
fn client_args(url: String, token: &str) -> ClientArgs {
    ClientArgs {
        server: Some(url),
        token: Some(token.to_owned()),
        ca: None,
        token_file: None,
        json: false,
    }
}

/// Where the story goes.
fn output(json: bool) -> Output {
    if json {
        Output::discard()
    } else {
        Output::stdout(false)
    }
}
