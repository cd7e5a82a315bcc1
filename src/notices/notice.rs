//! [`Notice`]: what is told (pure).

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::document::mask::Mask;
use crate::events::Report;
use crate::events::report::KEEPS_CRASHING;
use crate::terminal::is_control;

/// The subject of lines that were dropped.
pub(super) const DROPPED: &str = "dropped";

/// Of a text that an application chose.
const LONGEST: usize = 500;

/// A process that came up again is well when it has stayed so.
const UP: Duration = Duration::from_secs(90);

/// A receiver of logs may be away for a while without anybody being told.
const AWAY: Duration = Duration::from_mins(5);

/// Something is wrong, or well again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// What kind it is of (`document::notify::EVENTS`).
    pub event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<Arc<str>>,
    /// `web.1`, a name of a certificate: what of the application, or of the server.
    pub subject: String,
    pub state: State,
    /// One line, for a person.
    pub text: String,
    pub time: jiff::Timestamp,
    /// It is told when it has stayed so for as long.
    #[serde(skip)]
    pub settles: Duration,
    /// Which of those that have had this name, one after the other: a process is of a batch. Grows.
    #[serde(skip)]
    pub batch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Failing,
    Recovered,
    /// Somebody wants to see whether it arrives.
    Test,
    /// It is not there any more: nobody is told.
    #[serde(skip)]
    Gone,
}

/// Event, application and what of it.
pub type Key = (&'static str, Option<Arc<str>>, String);

impl Notice {
    /// What it is about.
    #[must_use]
    pub fn key(&self) -> Key {
        (self.event, self.app.clone(), self.subject.clone())
    }

    /// One of the server itself.
    #[must_use]
    pub fn of_server(
        event: &'static str,
        subject: &str,
        state: State,
        text: String,
        time: jiff::Timestamp,
    ) -> Self {
        Self {
            event,
            app: None,
            subject: subject.to_owned(),
            state,
            text,
            time,
            settles: Duration::ZERO,
            batch: 0,
        }
    }

    /// What a report is worth telling of, if it is.
    #[must_use]
    pub fn of_report(report: &Report, time: jiff::Timestamp) -> Option<Self> {
        let (event, subject, state, text, settles) = match report {
            Report::DeploymentFinished {
                deployment,
                state,
                reason,
                ..
            } => {
                let reason = reason.as_deref().unwrap_or("no reason was told");
                let (state, text) = match *state {
                    "failed" => (
                        State::Failing,
                        format!("deploy {deployment} failed: {reason}"),
                    ),
                    "succeeded" => (State::Recovered, format!("deploy {deployment} succeeded")),
                    _ => return None,
                };
                ("deploy", "deploy", state, text, Duration::ZERO)
            }
            Report::ProcessExited {
                who, reason, next, ..
            } if *next == KEEPS_CRASHING => {
                let text = format!("{} keeps crashing: {reason}", who.process);
                ("crash", &*who.process, State::Failing, text, Duration::ZERO)
            }
            Report::ProcessReady { who, .. } => {
                let text = format!("{} runs again", who.process);
                ("crash", &*who.process, State::Recovered, text, UP)
            }
            Report::ProcessStopped { who } => (
                "crash",
                &*who.process,
                State::Gone,
                String::new(),
                Duration::ZERO,
            ),
            Report::DrainFailing { drain, reason, .. } => {
                let text = format!("{drain} takes no lines: {reason}");
                ("drain", &**drain, State::Failing, text, AWAY)
            }
            Report::DrainRecovered { drain, .. } => {
                let text = format!("{drain} takes lines again");
                ("drain", &**drain, State::Recovered, text, Duration::ZERO)
            }
            Report::DrainDropped { drain, lines, .. } => {
                let text = format!("{lines} lines for {drain} were dropped");
                ("drain", DROPPED, State::Failing, text, Duration::ZERO)
            }
            _ => return None,
        };
        Some(Self {
            event,
            app: report.app().map(Into::into),
            subject: subject.to_owned(),
            state,
            text,
            time,
            settles,
            batch: match report {
                Report::ProcessExited { who, .. }
                | Report::ProcessReady { who, .. }
                | Report::ProcessStopped { who } => who.batch,
                _ => 0,
            },
        })
    }

    /// Whether something is to be seen to see whether it arrives.
    #[must_use]
    pub fn test(app: Option<Arc<str>>, time: jiff::Timestamp) -> Self {
        Self {
            event: "test",
            app,
            subject: "test".to_owned(),
            state: State::Test,
            text: "notices of this server arrive here".to_owned(),
            time,
            settles: Duration::ZERO,
            batch: 0,
        }
    }

    /// As others may read it: one line of some length, without the secrets of its application. These are looked for in
    /// the text as it was written: none is found any more that was cut in two.
    #[must_use]
    pub fn masked(mut self, mask: &Mask) -> Self {
        self.text = plain(&mask.text(&self.text));
        self
    }

    /// `HOST: blog: deploy 12 failed: …`.
    #[must_use]
    pub fn line(&self, host: &str) -> String {
        match &self.app {
            Some(app) => format!("{host}: {app}: {}", self.text),
            None => format!("{host}: {}", self.text),
        }
    }
}

/// One line that steers nothing.
fn plain(text: &str) -> String {
    let mut plain: String = text
        .chars()
        .map(|c| if is_control(c) { ' ' } else { c })
        .take(LONGEST)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::report::Offender;

    #[test]
    fn a_deploy_that_failed_is_told_in_one_line() {
        let finished = |state, reason: Option<&str>| Report::DeploymentFinished {
            app: "blog".into(),
            deployment: 12,
            state,
            release: None,
            commit: None,
            by: None,
            reason: reason.map(str::to_owned),
        };
        let notice = |report| Notice::of_report(&report, jiff::Timestamp::UNIX_EPOCH);
        let told = |reason: &str, mask: &Mask| {
            let failed = notice(finished("failed", Some(reason))).unwrap();
            failed.masked(mask).line("h")
        };
        assert_eq!(
            told("a\u{1b}[31m\nsesame! ", &Mask::default()),
            "h: blog: deploy 12 failed: a [31m sesame! "
        );
        let mask = Mask::new(["ses\tame!".to_owned()]);
        for before in 0..LONGEST + 20 {
            let told = told(&format!("{}ses\tame!", "x".repeat(before)), &mask);
            assert!(!told.contains("ses"), "{before}: {told}");
        }
        assert_eq!(
            notice(finished("succeeded", None)).unwrap().state,
            State::Recovered
        );
        assert_eq!(notice(finished("cancelled", None)), None);
        let ready = Report::ProcessReady {
            who: Offender {
                app: "blog".into(),
                process: "web.1".to_owned(),
                release: 3,
                batch: 7,
                pid: None,
            },
            address: None,
        };
        assert_eq!(notice(ready).unwrap().batch, 7);
        let long = notice(finished("failed", Some(&"x".repeat(9999)))).unwrap();
        assert!(long.masked(&Mask::default()).text.len() < 600);
    }
}
