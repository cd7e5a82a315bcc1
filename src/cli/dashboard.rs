//! `procserver dashboard`: the pages of the server for a browser on this machine, which needs no token.
//!
//! Other users of this machine can connect to the port as well, and pages of other sites can make the browser do it. So a
//! request gets something only with the cookie that the one link gave to the one browser, and only by the very address
//! that was printed.

use std::io::IsTerminal as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use awc::http::Method;
use clap::Args;
use serde_json::json;

use super::client::{Call, Client, ClientArgs};
use super::open::has_desktop;
use super::output::Output;

mod guest;
mod relay;

use guest::Guests;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver dashboard                         until Ctrl-C, and in the browser of a desktop
  procserver dashboard --port 9000             at this port, for a tunnel (ssh -L)
  procserver dashboard --server https://admin.example.org
  procserver dashboard --json                  where it is, as JSON

The link works once, for five minutes, and for the browser that opens it first. Whoever has that browser may do what you may.")]
pub struct DashboardArgs {
    /// The port of 127.0.0.1 [default: any that is free]
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub port: u16,
    /// Only print the link
    #[arg(long)]
    pub no_open: bool,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Serves until Ctrl-C.
///
/// # Errors
/// The server cannot be reached, or the port not be had.
pub async fn run(
    args: &DashboardArgs,
    client: &Client,
    out: &mut Output,
) -> anyhow::Result<ExitCode> {
    // Before anybody is shown a link that leads nowhere.
    client.send(&Call::new(Method::GET, "/-/ui")).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))
        .with_context(|| format!("port {} of 127.0.0.1", args.port))?;
    let guests = Guests::new(listener.local_addr()?)?;
    let url = guests.link();
    let server = relay::serve(listener, guests, args.client.with_token_of_file()?)?;
    match out.is_json() {
        true => out.json(&json!({ "url": url }))?,
        false => out.line(&url)?,
    }
    if !args.no_open && out.is_terminal() && std::io::stdin().is_terminal() && has_desktop() {
        let mut browser = Command::new("xdg-open");
        let quiet = browser.arg(&url).stdin(Stdio::null()).stdout(Stdio::null());
        // It goes on after this program, as browsers do.
        quiet.stderr(Stdio::null()).spawn().context("xdg-open")?;
    }
    out.note("Ctrl-C ends it.");
    server.await?;
    Ok(ExitCode::SUCCESS)
}
