//! `procserver dashboard`: the pages of the server for a browser on this machine, which needs no token.
//!
//! Other users of this machine can connect to the port as well, and pages of other sites can make the browser do it. So a
//! request gets something only with the cookie that the one link gave to the one browser, and only by the very host name
//! that was printed. Nobody else knows that name: a browser sends a cookie to every port of its host, so one of
//! `127.0.0.1` would come to any server of another user that a page leads to.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use anyhow::Context as _;
use awc::http::Method;
use clap::Args;
use nix::errno::Errno;
use serde_json::json;

use super::client::{Call, Client, ClientArgs};
use super::open::{has_desktop, open};
use super::output::Output;

mod guest;
mod link_file;
mod reader;
mod relay;

use guest::Guests;
use link_file::LinkFile;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver dashboard                         until Ctrl-C, and in the browser of a desktop
  procserver dashboard --port 9000             at this port, for a tunnel (ssh -L)
  procserver dashboard --server https://admin.example.org
  procserver dashboard --json                  where it is, as JSON

The link works once, for five minutes, and for the browser that opens it first. Whoever has that browser may do what you may.

Its host name is a random one under \"localhost\", which Chromium and Firefox find by themselves. Safari does not: use another browser. A browser that may not read files of /tmp (from a snap) says so: give it the link that is printed.")]
pub struct DashboardArgs {
    /// The port of localhost [default: any that is free]
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

/// Serves until Ctrl-C, or until nobody reads any more what it prints.
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
    let (port, listeners) =
        listen(args.port).with_context(|| format!("port {} of 127.0.0.1 and ::1", args.port))?;
    let guests = Guests::new(port)?;
    let url = guests.link();
    let server = relay::serve(listeners, guests, args.client.with_token_of_file()?)?;
    match out.is_json() {
        true => out.json(&json!({ "url": url }))?,
        false => out.line(&url)?,
    }
    // The browser may look at it at any time.
    let _link_file = match !args.no_open && has_desktop(out) {
        true => Some(opened(&url)?),
        false => None,
    };
    out.note("Ctrl-C ends it.");
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    tokio::select! {
        ended = server => ended?,
        () = reader::gone(stdout) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Has the desktop open the link.
fn opened(url: &str) -> anyhow::Result<LinkFile> {
    let file = LinkFile::new(url).context("a file for the browser cannot be written")?;
    open(file.path())?;
    Ok(file)
}

/// Listens at the port, or where that is 0, at one that is free.
fn listen(port: u16) -> io::Result<(u16, Vec<TcpListener>)> {
    // One that is free at one of the addresses need not be so at the other.
    let tries = if port == 0 { 20 } else { 1 };
    let mut bound = bind(port);
    for _ in 1..tries {
        if bound.is_ok() {
            break;
        }
        bound = bind(port);
    }
    bound
}

/// At both addresses of `*.localhost`, or not at all: browsers try `::1` too, where the server of another user would get
/// the link.
fn bind(port: u16) -> io::Result<(u16, Vec<TcpListener>)> {
    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let port = v4.local_addr()?.port();
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
        Ok(v6) => Ok((port, vec![v4, v6])),
        Err(error) if is_without_ipv6(&error) => Ok((port, vec![v4])),
        Err(error) => Err(error),
    }
}

/// Whether the machine has no `::1`, for anybody.
fn is_without_ipv6(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_server_has_the_port_at_the_other_address() {
        let (port, listeners) = listen(0).unwrap();
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err());
        assert!(TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_err());
        drop(listeners);
        // Where there is IPv6.
        if let Ok(squatter) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
            let port = squatter.local_addr().unwrap().port();
            assert!(listen(port).is_err());
        }
    }
}
