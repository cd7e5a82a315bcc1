//! [`Report`]: one thing that happened (pure). As an OTP report it says who, why, and what is done about it.

use std::sync::Arc;

use serde::Serialize;

use super::by::By;
use crate::exit_status::ExitStatus;

/// Which OS process of which app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offender {
    pub app: Arc<str>,
    /// `web.1`.
    pub process: String,
    pub release: u64,
    /// The batch it was started with. Each batch has one process of this name.
    pub batch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event")]
pub enum Report {
    /// An OS process was spawned, or taken over from the previous daemon.
    #[serde(rename = "process.started")]
    ProcessStarted {
        #[serde(flatten)]
        who: Offender,
        port: Option<u16>,
        /// It was not spawned by this daemon.
        adopted: bool,
    },
    /// It answers. If it is routed, it gets requests from now on.
    #[serde(rename = "process.ready")]
    ProcessReady {
        #[serde(flatten)]
        who: Offender,
        /// As it is shown: `127.0.0.1:8001`.
        address: Option<String>,
    },
    /// It fails its checks: requests go to others, if there are any.
    #[serde(rename = "process.unhealthy")]
    ProcessUnhealthy {
        #[serde(flatten)]
        who: Offender,
        reason: String,
    },
    /// Its checks succeed again.
    #[serde(rename = "process.healthy")]
    ProcessHealthy {
        #[serde(flatten)]
        who: Offender,
    },
    /// It ended. Reported once for each end.
    #[serde(rename = "process.exited")]
    ProcessExited {
        #[serde(flatten)]
        who: Offender,
        exit: ExitStatus,
        /// The kernel ended it because memory ran out.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        oom: bool,
        reason: String,
        /// What is done about it.
        next: &'static str,
    },
    #[serde(rename = "process.failed")]
    ProcessFailed {
        #[serde(flatten)]
        who: Offender,
        reason: String,
        /// What is done about it.
        next: &'static str,
    },
    /// It was asked to stop.
    #[serde(rename = "process.stopping")]
    ProcessStopping {
        #[serde(flatten)]
        who: Offender,
    },
    /// It and all that it started is gone for good.
    #[serde(rename = "process.stopped")]
    ProcessStopped {
        #[serde(flatten)]
        who: Offender,
    },
    #[serde(rename = "deployment.started")]
    DeploymentStarted {
        app: Arc<str>,
        deployment: u64,
        /// Who asked for it.
        by: By,
    },
    /// A deployment goes on with another step.
    #[serde(rename = "deployment.step")]
    DeploymentStep {
        app: Arc<str>,
        deployment: u64,
        step: &'static str,
    },
    #[serde(rename = "deployment.finished")]
    DeploymentFinished {
        app: Arc<str>,
        deployment: u64,
        state: &'static str,
        /// The release that it has made, or gone back to.
        #[serde(skip_serializing_if = "Option::is_none")]
        release: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
        /// Who asked for it; `None`: it is of an older server.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<By>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Somebody has changed the application, or had it do something.
    #[serde(rename = "application.changed")]
    ApplicationChanged {
        app: Arc<str>,
        by: By,
        /// `created`, `changed`, `restarted`, `stopped` …
        change: &'static str,
        /// `scale web 1→3, env`: no value but those of the scale.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// A certificate authority has given a certificate, the first one of the name or the next.
    #[serde(rename = "certificate.issued")]
    CertificateIssued { name: String },
    /// It has not; it is asked again later.
    #[serde(rename = "certificate.failed")]
    CertificateFailed { name: String, reason: String },
    /// Requests for the application are held from now on.
    #[serde(rename = "app.paused")]
    AppPaused {
        app: Arc<str>,
        by: By,
        until: jiff::Timestamp,
    },
    /// Requests that were held go on.
    #[serde(rename = "app.resumed")]
    AppResumed {
        app: Arc<str>,
        by: By,
        why: &'static str,
    },
    /// Nobody has asked it for anything for so long that its processes are stopped.
    #[serde(rename = "app.asleep")]
    AppAsleep { app: Arc<str> },
    /// A request has come: its processes are started.
    #[serde(rename = "app.woken")]
    AppWoken { app: Arc<str> },
    /// A preview is removed by the server itself.
    #[serde(rename = "preview.removed")]
    PreviewRemoved { app: Arc<str>, why: &'static str },
    /// The volumes of an application that is removed may be left on nodes of the swarm.
    #[serde(rename = "volumes.left")]
    VolumesLeft {
        app: Arc<str>,
        /// `None`: on all that have them.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<String>,
        reason: String,
        /// What removes them.
        next: String,
    },
    /// An actor of the server ended abnormally.
    #[serde(rename = "actor.ended")]
    ActorEnded {
        /// The application it works for.
        #[serde(skip_serializing_if = "Option::is_none")]
        app: Option<Arc<str>>,
        supervisor: String,
        offender: String,
        reason: String,
        /// What is done about it.
        next: &'static str,
    },
    /// A receiver of its logs does not take them. Reported once until it does.
    #[serde(rename = "drain.failing")]
    DrainFailing {
        app: Arc<str>,
        /// Its URL without what may be secret.
        drain: String,
        reason: String,
    },
    #[serde(rename = "drain.recovered")]
    DrainRecovered { app: Arc<str>, drain: String },
    /// The log went on over lines that were not sent, or a receiver refused them.
    #[serde(rename = "drain.dropped")]
    DrainDropped {
        app: Arc<str>,
        drain: String,
        lines: u64,
    },
    /// Requests for the application go elsewhere from now on.
    #[serde(rename = "route.changed")]
    RouteChanged {
        app: Arc<str>,
        /// What requests find there while there is no backend.
        otherwise: &'static str,
        /// Their addresses, as they are shown.
        backends: Vec<String>,
    },
}

/// A report with its number and time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StampedReport {
    /// Grows, also over restarts of the daemon: microseconds since 1970, or one more than the last.
    pub id: u64,
    pub time: jiff::Timestamp,
    #[serde(flatten)]
    pub report: Report,
}

impl Report {
    /// An actor ended abnormally, and its supervisor starts a fresh one.
    #[must_use]
    pub fn actor_restarts(
        app: Option<Arc<str>>,
        supervisor: String,
        offender: String,
        reason: String,
    ) -> Self {
        Self::ActorEnded {
            app,
            supervisor,
            offender,
            reason,
            next: "a fresh one follows",
        }
    }

    /// A process that runs once was started.
    #[must_use]
    pub fn ran(app: Arc<str>, by: By, detail: String) -> Self {
        Self::ApplicationChanged {
            app,
            by,
            change: RAN,
            detail: Some(detail),
        }
    }

    /// The application it is about.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        match self {
            Self::ProcessStarted { who, .. }
            | Self::ProcessReady { who, .. }
            | Self::ProcessUnhealthy { who, .. }
            | Self::ProcessHealthy { who }
            | Self::ProcessExited { who, .. }
            | Self::ProcessFailed { who, .. }
            | Self::ProcessStopping { who }
            | Self::ProcessStopped { who } => Some(&who.app),
            Self::DeploymentStarted { app, .. }
            | Self::DeploymentStep { app, .. }
            | Self::DeploymentFinished { app, .. }
            | Self::ApplicationChanged { app, .. }
            | Self::AppPaused { app, .. }
            | Self::AppResumed { app, .. }
            | Self::AppAsleep { app }
            | Self::AppWoken { app }
            | Self::PreviewRemoved { app, .. }
            | Self::VolumesLeft { app, .. }
            | Self::DrainFailing { app, .. }
            | Self::DrainRecovered { app, .. }
            | Self::DrainDropped { app, .. }
            | Self::RouteChanged { app, .. } => Some(app),
            Self::ActorEnded { app, .. } => app.as_deref(),
            Self::CertificateIssued { .. } | Self::CertificateFailed { .. } => None,
        }
    }

    #[must_use]
    pub fn level(&self) -> log::Level {
        match self {
            Self::ActorEnded { .. } => log::Level::Error,
            Self::ProcessFailed { .. }
            | Self::ProcessUnhealthy { .. }
            | Self::CertificateFailed { .. }
            | Self::VolumesLeft { .. }
            | Self::DrainFailing { .. }
            | Self::DrainDropped { .. } => log::Level::Warn,
            Self::ProcessExited { next, .. } if *next != STAYS_DOWN => log::Level::Warn,
            Self::DeploymentFinished {
                reason: Some(_), ..
            } => log::Level::Warn,
            _ => log::Level::Info,
        }
    }

    /// One line of `name=value`, the name of the event first.
    #[must_use]
    pub fn line(&self) -> String {
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::to_value(self) else {
            return format!("{self:?}");
        };
        let event = fields.shift_remove("event");
        let mut line = event
            .as_ref()
            .and_then(|e| e.as_str())
            .unwrap_or_default()
            .to_owned();
        for (name, value) in fields {
            // JSON's quoting keeps any value, also one that an app chose, on this line.
            let value = match value.as_str().filter(|text| is_plain(text)) {
                Some(text) => text.to_owned(),
                None => value.to_string(),
            };
            line.push_str(&format!(" {name}={value}"));
        }
        line
    }
}

/// A process that runs once was started: nothing was changed by it, and a job does so each minute.
pub const RAN: &str = "ran";

/// An application is removed.
pub const REMOVED: &str = "removed";

/// What is done about a process that ended because it was asked to.
pub const STAYS_DOWN: &str = "it stays down";

/// What is done about a process that crashed too often.
pub const KEEPS_CRASHING: &str = "it is restarted after a delay: it keeps crashing";

fn is_plain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    !text.is_empty() && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who() -> Offender {
        Offender {
            app: "echo".into(),
            process: "web.1".to_owned(),
            release: 3,
            batch: 4,
            pid: Some(77),
        }
    }

    #[test]
    fn an_exit_is_one_line_that_says_who_why_and_what_next() {
        let report = Report::ProcessExited {
            who: who(),
            exit: ExitStatus::Code(127),
            oom: false,
            reason: "command not found: ./web \"x\"\n".to_owned(),
            next: "it is restarted",
        };
        assert_eq!(
            report.line(),
            "process.exited app=echo process=web.1 release=3 batch=4 pid=77 exit={\"code\":127} \
             reason=\"command not found: ./web \\\"x\\\"\\n\" next=\"it is restarted\""
        );
        assert_eq!(report.level(), log::Level::Warn);
        assert_eq!(report.app(), Some("echo"));
    }

    #[test]
    fn a_report_is_a_flat_object_that_names_its_event() {
        let report = Report::ProcessStopped { who: who() };
        let json = serde_json::to_string(&report).expect("JSON");
        assert_eq!(
            json,
            r#"{"event":"process.stopped","app":"echo","process":"web.1","release":3,"batch":4,"pid":77}"#
        );
    }
}
