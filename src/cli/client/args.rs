//! [`ClientArgs`]: what of a command line says how to reach the server.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{https, input};

/// How to reach the server: the same for every client verb.
#[derive(Args, Clone, Debug, Default)]
pub struct ClientArgs {
    /// Server: https://HOST, http://HOST:PORT, or unix:/path/of/procserver.sock [default: the socket of this machine's
    /// server]
    #[arg(
        long,
        env = "PROCSERVER_URL",
        value_name = "URL",
        help_heading = "Connection"
    )]
    pub server: Option<String>,
    /// Token of the API; the Unix socket needs none
    #[arg(
        long,
        env = "PROCSERVER_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        help_heading = "Connection"
    )]
    pub token: Option<String>,
    /// File with the token: on a command line, every user of the machine can read it
    #[arg(
        long,
        env = "PROCSERVER_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "token",
        help_heading = "Connection"
    )]
    pub token_file: Option<String>,
    /// Certificate to trust in place of those that this machine trusts, for https://; a PEM file
    #[arg(
        long,
        env = "PROCSERVER_CA",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub ca: Option<PathBuf>,
    /// Print JSON and nothing else
    #[arg(long)]
    pub json: bool,
}

impl ClientArgs {
    /// With the token that is in `--token-file`; one on the command line gets a note.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn with_token_of_file(&self) -> anyhow::Result<Self> {
        let mut args = self.clone();
        if let Some(file) = &args.token_file {
            args.token = Some(input::value("the token", file)?.trim().to_owned());
        } else if args.token.is_some() && std::env::args().any(|word| is_token_option(&word)) {
            input::warn(
                "every user of this machine can read a token on the command line. Safer: --token-file FILE, or the \
                 variable PROCSERVER_TOKEN",
            );
        }
        let server = args.server.as_deref().unwrap_or_default();
        if args.token.is_some() && https::is_in_the_clear(server) {
            input::warn(
                "everybody on the way to this server can read the token, which opens all of its applications. Safer: \
                 https://, or a tunnel (ssh -L 8080:localhost:80 HOST)",
            );
        }
        Ok(args)
    }
}

fn is_token_option(word: &str) -> bool {
    word == "--token" || word.starts_with("--token=")
}
