//! The addresses that the server listens on, and who has them.

use std::collections::BTreeSet;

use super::report::Finding;
use super::running::Running;
use crate::process::port_holder;
use crate::settings::Settings;

/// Who has a port.
#[derive(Debug)]
enum Held {
    Nobody,
    ByServer,
    /// In words.
    By(String),
}

#[must_use]
pub fn checks(settings: &Settings, running: Option<&Running>) -> Vec<Finding> {
    let listen = settings.listen.iter().chain(&settings.tls_listen);
    let listen = listen.chain(&settings.metrics_listen);
    let ports: BTreeSet<u16> = listen
        .map(|address| address.port())
        .filter(|port| *port != 0)
        .collect();
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first = first
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024);
    let is_root = rustix::process::geteuid().is_root();
    let check = |port: u16| judge(port, &held(port, running), is_root || port >= first);
    ports.into_iter().map(check).collect()
}

fn held(port: u16, running: Option<&Running>) -> Held {
    let Some(holder) = port_holder::find(port) else {
        return Held::Nobody;
    };
    match (holder.pid(), running) {
        (Some(pid), Some(running)) if running.pid() == Some(pid) => Held::ByServer,
        // One that this user cannot see, where a server runs whose settings these are, is most likely that.
        (None, Some(Running::Closed)) => Held::ByServer,
        _ => Held::By(holder.to_string()),
    }
}

fn judge(port: u16, held: &Held, may_listen: bool) -> Finding {
    let check = format!("port {port}");
    match held {
        Held::ByServer => Finding::good(check, "the server listens on it"),
        Held::By(holder) => Finding::poor(
            check,
            format!("{holder} listens on it"),
            "stop that (systemctl disable --now ITS-UNIT), or let `listen`, `tls_listen` or `metrics_listen` in procserver.toml name others",
        ),
        Held::Nobody if may_listen => Finding::good(check, "it is free"),
        Held::Nobody => Finding::poor(
            check,
            "it is free, and only root may listen on it",
            "run the server as root, or let `listen` in procserver.toml name a port from 1024 on",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn a_port_of_another_program_is_missing_and_names_it() {
        let found = judge(80, &Held::By("pid 7 (nginx) of user root".into()), true);
        assert_eq!(found.level, Level::Missing);
        assert!(
            found.line().contains("port 80: pid 7 (nginx) of user root"),
            "{found:?}"
        );
        assert_eq!(judge(80, &Held::ByServer, true).level, Level::Ok);
        assert_eq!(judge(80, &Held::Nobody, true).level, Level::Ok);
        assert_eq!(judge(80, &Held::Nobody, false).level, Level::Missing);
    }
}
