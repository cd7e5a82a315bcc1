//! [`InstallLog`]: writes what a deploy does and prints to the `install` log of its app.

use std::time::Duration;

use actix::Recipient;

use super::lines::Mask;
use super::record::Step;
use crate::logs::log::Append;
use crate::logs::record::Stream;

/// The install log for one step of one deployment.
#[derive(Clone)]
pub struct InstallLog {
    /// `None`: nobody reads it.
    log: Option<Recipient<Append>>,
    deployment: u64,
    step: Step,
    mask: Mask,
}

impl std::fmt::Debug for InstallLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstallLog")
            .field("deployment", &self.deployment)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

impl InstallLog {
    /// Writes what `deployment` does to `log`, without what `mask` hides.
    #[must_use]
    pub fn new(log: Recipient<Append>, deployment: u64, mask: Mask) -> Self {
        Self {
            log: Some(log),
            deployment,
            step: Step::Packages,
            mask,
        }
    }

    /// For what belongs to no deployment, and while there is no log.
    #[must_use]
    pub fn nowhere() -> Self {
        Self {
            log: None,
            deployment: 0,
            step: Step::Packages,
            mask: Mask::new::<String>([]),
        }
    }

    /// The same log for `step`.
    #[must_use]
    pub fn at(&self, step: Step) -> Self {
        Self {
            step,
            ..self.clone()
        }
    }

    /// The same log, which hides `secrets` too.
    #[must_use]
    pub fn hiding(&self, secrets: Vec<String>) -> Self {
        Self {
            mask: self.mask.and(secrets),
            ..self.clone()
        }
    }

    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    #[must_use]
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    pub async fn line(&self, text: impl AsRef<str>) {
        let text = self.mask.text(text.as_ref());
        self.write(text.lines().map(|l| l.as_bytes().to_vec()).collect())
            .await;
    }

    /// Writes lines that are masked already, and waits until the log has taken them. So a command that prints faster
    /// than the log writes is slowed down and fills no memory.
    pub async fn write(&self, lines: Vec<Vec<u8>>) {
        let (Some(log), false) = (&self.log, lines.is_empty()) else {
            return;
        };
        let mut text = lines.join(&b'\n');
        text.push(b'\n');
        let append = Append {
            stream: Stream::Install,
            process: self.step.name().to_owned(),
            release: self.deployment,
            text,
        };
        // A log that is being restarted loses lines; a deploy does not fail for that.
        let _ = log.send(append).await;
    }
}

/// A time as people read it: `0.4s`, `12.3s`, `2m 5s`.
#[must_use]
pub fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1}s", time.as_secs_f64())
    } else {
        format!("{}m {}s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(elapsed(Duration::from_millis(440)), "0.4s");
        assert_eq!(elapsed(Duration::from_secs(125)), "2m 5s");
    }
}
