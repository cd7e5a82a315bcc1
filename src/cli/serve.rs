//! `procserver serve`: run the server.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::daemon::{self, Ready};
use crate::settings::Settings;
use crate::settings::raw::RawSettings;

/// How the lines begin that say where it listens, one for each address; scripts wait for them.
pub const LISTENING: &str = "listening on http://";
const LISTENING_TLS: &str = "listening on https://";

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver serve                             as root: port 80, files in /var/lib/procserver
  procserver serve --data-dir ~/try --listen 127.0.0.1:8080
                                               a private instance, all of it in one directory
  procserver serve --config ./procserver.toml
  procserver serve --tls-certificate /etc/ssl/example.pem,/etc/ssl/example.key
                                               HTTPS on port 443 beside HTTP
  PROCSERVER_LOG=debug procserver serve

Every setting can be a flag, a variable (shown in brackets), or a key of the file: listen, and in the tables [tls], [acme], \
[timeouts], [limits] and [step_timeouts] the last part of the flag's name. A flag wins over its variable, that over the \
file. Durations are written \"30s\", \"2m\"; sizes \"512M\". PROCSERVER_LOG (or RUST_LOG) sets what is logged.")]
pub struct ServeArgs {
    /// Settings file [default: /etc/procserver/procserver.toml as root, else ~/.config/procserver/procserver.toml]
    #[arg(long, env = "PROCSERVER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say where it listens as a line of JSON
    #[arg(long)]
    pub json: bool,
    /// Say whether it could serve, and end (a running server tries the next one so)
    #[arg(long, hide = true)]
    pub trial: bool,
    /// The settings as flags.
    #[command(flatten, next_help_heading = "Settings")]
    pub settings: RawSettings,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Settings that are wrong, before anything is bound; whatever ends the daemon other than by request.
pub fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let (file, as_json) = (args.config, args.json);
    let settings = || Settings::load(args.settings, file.as_deref());
    if args.trial {
        let could = daemon::try_out(settings)?;
        writeln!(io::stdout(), "{could}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(ended) = daemon::init::run()? {
        return Ok(ended);
    }
    start_logging();
    daemon::run(settings, |ready| announce(ready, as_json))?;
    Ok(ExitCode::SUCCESS)
}

/// What is logged where nobody says. Of actix-server, which tells of each worker, only warnings; of rustls and h2, which
/// warn of what any client does, not even these.
const LOGGED: &str = "info,actix_server=warn,rustls=error,h2=error";

/// Logs to stderr: what `PROCSERVER_LOG` says, else `RUST_LOG`, else [`LOGGED`].
fn start_logging() {
    let filter = std::env::var("PROCSERVER_LOG").or_else(|_| std::env::var("RUST_LOG"));
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(filter.as_deref().unwrap_or(LOGGED));
    // The journal has its own times; systemd.exec(5) sets this where stderr is connected to it.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.format_timestamp(None);
    }
    builder.init();
}

/// Says on stdout that it serves, and where. The token is not said: output ends up in journals.
fn announce(ready: &Ready, as_json: bool) {
    let text = if as_json {
        json!({
            "listen": ready.listen,
            "tls_listen": ready.tls_listen,
            "metrics_listen": ready.metrics_listen,
            "socket": ready.socket,
        })
        .to_string()
    } else {
        let mut lines: Vec<String> = ready
            .listen
            .iter()
            .map(|address| format!("{LISTENING}{address}"))
            .collect();
        let secure = ready.tls_listen.iter();
        lines.extend(secure.map(|address| format!("{LISTENING_TLS}{address}")));
        let metrics = ready.metrics_listen.iter();
        lines.extend(metrics.map(|address| format!("metrics at http://{address}/metrics")));
        lines.push(format!("API socket {}", ready.socket.display()));
        lines.join("\n")
    };
    // Nobody may be listening to us; the server serves all the same.
    let _ = writeln!(io::stdout(), "{text}").and_then(|()| io::stdout().flush());
}

#[cfg(test)]
mod tests {
    use log::{Level, Record};

    use super::*;

    #[test]
    fn no_client_writes_the_log_through_a_library() {
        let logger = env_logger::Builder::new().parse_filters(LOGGED).build();
        let is_logged = |target, level| {
            let record = Record::builder().target(target).level(level).build();
            logger.matches(&record)
        };
        assert!(!is_logged("h2::proto::streams::recv", Level::Warn));
        assert!(is_logged("h2::proto::streams::recv", Level::Error));
        assert!(is_logged("procserver::front::worker", Level::Info));
    }
}
