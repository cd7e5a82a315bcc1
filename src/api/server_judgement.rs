//! What of a server's state is a problem, and what a warning.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::server_state::{Certificate, ServerStatus};
use crate::app::status::AppState;
use crate::drains::status::DrainStatus;

/// A certificate that renews itself has been renewed long before.
const FEW_DAYS: i64 = 7;

/// A disk with less than one part in 20, or this much in bytes where that is less, is nearly full: no deploy begins.
const PART: u64 = 20;
const LITTLE: u64 = 256 << 20;

/// What is wrong, in sentences for people.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// What keeps something from working, or soon will.
    pub(super) problems: Vec<String>,
    /// What a person should look at some time.
    pub(super) warnings: Vec<String>,
}

/// Looks at what `status` says but for its own judgement.
pub(super) fn judge(status: &ServerStatus) -> Judgement {
    let mut found = Judgement::default();
    applications(status, &mut found);
    status
        .certificates
        .iter()
        .for_each(|each| certificate(each, &mut found));
    disk(status, &mut found.problems);
    if status.ports.free == 0 {
        found
            .problems
            .push("no port is free for processes: widen `ports` in procserver.toml".into());
    }
    let open = status.descriptors.open as u64;
    if let Some(limit) = status
        .descriptors
        .limit
        .filter(|limit| open > limit / 10 * 9)
    {
        found.problems.push(format!(
            "{open} of {limit} file descriptors are open: raise LimitNOFILE of the unit"
        ));
    }
    found
}

fn applications(status: &ServerStatus, found: &mut Judgement) {
    for (name, app) in &status.applications {
        let told = match app.state {
            AppState::Crashlooping => "crashes again and again",
            AppState::Degraded => "does not run all of its processes",
            AppState::Failed => "has never been deployed well",
            AppState::Deploying
            | AppState::Running
            | AppState::Stopped
            | AppState::Asleep
            | AppState::Empty => {
                if let Some(number) = app.failed_deployment {
                    found.warnings.push(format!(
                        "deployment {number} of {name} failed, the release before it goes on: \
                         \"procserver deployment {name}\" says why"
                    ));
                }
                continue;
            }
        };
        found
            .problems
            .push(format!("{name} {told}: see \"procserver ps {name}\""));
    }
}

fn certificate(certificate: &Certificate, found: &mut Judgement) {
    let names = certificate.names.join(" ");
    let why = certificate
        .error
        .as_ref()
        .map_or_else(String::new, |error| format!(": {error}"));
    match (certificate.state.as_str(), certificate.days_left) {
        ("expired", _) => found
            .problems
            .push(format!("the certificate of {names} has expired{why}")),
        // An old one that is valid for long answers on.
        ("failing", Some(days)) if days >= FEW_DAYS => found.warnings.push(format!(
            "the certificate of {names} is not renewed ({days} days are left){why}"
        )),
        ("failing", _) => found
            .problems
            .push(format!("there is no certificate for {names}{why}")),
        ("valid", Some(days)) if days < FEW_DAYS => found.problems.push(format!(
            "the certificate of {names} ends in {days} days{why}"
        )),
        _ if certificate.error.is_some() => found
            .warnings
            .push(format!("the certificate of {names}{why}")),
        _ => {}
    }
}

fn disk(status: &ServerStatus, problems: &mut Vec<String>) {
    let disk = &status.disk;
    let path = disk.path.display();
    if disk.total_bytes > 0 && disk.free_bytes < LITTLE.min(disk.total_bytes / PART) {
        problems.push(format!(
            "the disk of {path} is nearly full: {} MiB are free",
            disk.free_bytes >> 20
        ));
    }
    if disk.total_inodes > 0 && disk.free_inodes < disk.total_inodes / 100 {
        problems.push(format!(
            "the disk of {path} has nearly no inodes left: {} are free",
            disk.free_inodes
        ));
    }
}

impl Judgement {
    /// And what actors know: documents that are left out, ports of apps that cannot be listened on, names of orphans.
    pub(super) fn with(
        mut self,
        left_out: Vec<String>,
        closed: BTreeMap<u16, String>,
        orphans: Vec<String>,
    ) -> Self {
        let left_out = left_out.into_iter().map(|why| format!("left out: {why}"));
        self.problems.extend(left_out);
        let closed = closed.into_iter();
        self.problems
            .extend(closed.map(|(port, why)| format!("port {port}: {why}")));
        if !orphans.is_empty() {
            self.warnings.push(format!(
                "files of applications that have no document lie on the disk ({}): see \"procserver orphans\"",
                orphans.join(" ")
            ));
        }
        self
    }

    /// And whose logs are not taken.
    pub(super) fn of_drains(mut self, drains: &BTreeMap<Arc<str>, Vec<DrainStatus>>) -> Self {
        for (name, drains) in drains {
            let is_failing = |drain: &&DrainStatus| drain.failing_since.is_some();
            let told = match drains.iter().filter(is_failing).count() {
                0 => continue,
                1 => format!("a drain of {name} takes no lines"),
                failing => format!("{failing} drains of {name} take no lines"),
            };
            self.warnings
                .push(format!("{told}: \"procserver drains {name}\" says why"));
        }
        self
    }

    /// And what is known of the program and the kernel.
    pub(super) fn of_program(mut self, is_replaced: bool, has_landlock: bool) -> Self {
        if is_replaced {
            self.warnings.push(format!(
                "another program lies where the one that runs (version {}) came from: it takes effect with \"procserver reload\"",
                env!("CARGO_PKG_VERSION")
            ));
        }
        if !has_landlock {
            self.warnings.push(
                "the kernel has no landlock: \"sudo procserver doctor\" says what is missing"
                    .into(),
            );
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::server_state::{App, Descriptors, Disk, PortCount};
    use super::*;

    fn healthy() -> ServerStatus {
        let running = App {
            state: AppState::Running,
            failed_deployment: None,
            disk_bytes: None,
        };
        ServerStatus {
            ports: PortCount {
                free: 3,
                ..PortCount::default()
            },
            descriptors: Descriptors {
                open: 50,
                limit: Some(1000),
            },
            disk: Disk {
                total_bytes: 100 << 30,
                free_bytes: 50 << 30,
                ..Disk::default()
            },
            applications: [("a".to_owned(), running)].into(),
            ..ServerStatus::default()
        }
    }

    fn with_certificate(state: &str, days_left: Option<i64>) -> ServerStatus {
        let certificate = Certificate {
            names: vec!["a.b".into()],
            state: state.into(),
            days_left,
            error: None,
        };
        ServerStatus {
            certificates: vec![certificate],
            ..healthy()
        }
    }

    #[test]
    fn a_healthy_server_has_nothing_to_tell() {
        assert_eq!(judge(&healthy()), Judgement::default());
        assert_eq!(
            judge(&with_certificate("valid", Some(60))),
            Judgement::default()
        );
        assert_eq!(
            judge(&with_certificate("pending", None)),
            Judgement::default()
        );
    }

    #[test]
    fn each_shortage_is_a_problem_of_its_own() {
        let mut poor = healthy();
        poor.ports.free = 0;
        poor.descriptors.open = 950;
        poor.disk.free_bytes = 1 << 20;
        (poor.disk.total_inodes, poor.disk.free_inodes) = (1000, 3);
        poor.applications.insert(
            "b".into(),
            App {
                state: AppState::Crashlooping,
                failed_deployment: None,
                disk_bytes: None,
            },
        );
        let told = judge(&poor);
        assert_eq!(
            (told.problems.len(), told.warnings.len()),
            (5, 0),
            "{told:?}"
        );
        assert!(told.problems[0].starts_with("b crashes"), "{told:?}");
    }

    #[test]
    fn a_certificate_is_a_problem_when_it_ends_soon_or_is_missing() {
        for (state, days, problems, warnings) in [
            ("expired", Some(-1), 1, 0),
            ("failing", None, 1, 0),
            ("failing", Some(30), 0, 1),
            ("failing", Some(2), 1, 0),
            ("valid", Some(6), 1, 0),
            ("valid", Some(7), 0, 0),
        ] {
            let told = judge(&with_certificate(state, days));
            let counted = (told.problems.len(), told.warnings.len());
            assert_eq!(counted, (problems, warnings), "{state} {days:?}: {told:?}");
        }
    }

    #[test]
    fn a_failed_deployment_beside_a_running_release_is_a_warning() {
        let mut status = healthy();
        if let Some(app) = status.applications.get_mut("a") {
            app.failed_deployment = Some(4);
        }
        let told = judge(&status);
        assert_eq!((told.problems.len(), told.warnings.len()), (0, 1));
        assert!(told.warnings[0].contains("deployment 4 of a"), "{told:?}");
    }

    #[test]
    fn logs_that_are_not_taken_are_a_warning() {
        let drain = |failing_since| DrainStatus {
            url: "https://h".to_owned(),
            key: String::new(),
            of_server: false,
            state: Default::default(),
            sent: 0,
            dropped: 0,
            waiting: 0,
            last_sent: None,
            last_dropped: None,
            failing_since,
            error: None,
        };
        let since = Some(jiff::Timestamp::UNIX_EPOCH);
        let told = |drains| Judgement::default().of_drains(&[("a".into(), drains)].into());
        assert_eq!(told(vec![drain(None)]), Judgement::default());
        let one = told(vec![drain(None), drain(since)]).warnings;
        assert!(one[0].starts_with("a drain of a takes"), "{one:?}");
        let two = told(vec![drain(since), drain(since)]).warnings;
        assert!(two[0].contains("\"procserver drains a\""), "{two:?}");
        assert_eq!((one.len(), two.len()), (1, 1));
    }
}
