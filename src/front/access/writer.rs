//! [`AccessLog`]: writes the workers' lines to a file of the whole server and to the logs of their apps.
//!
//! It is one task on the arbiter of the logs, not an actor; [`keep_writing`] supervises it. Workers drop what it cannot
//! write in time, and it reports how much.

use std::io;
use std::path::Path;

use super::recorder::{AppLine, Lines, Source};
use crate::events::Feed;
use crate::failpoint;
use crate::logs::app_logs::AppLogs;
use crate::logs::log::Append;
use crate::logs::record::{Stream, now};
use crate::logs::restarts::Restarts;
use crate::logs::rotating_file::RotatingFile;

/// The process that an app's log names where none was asked.
const NO_PROCESS: &str = "router";

#[derive(Debug)]
pub struct AccessLog {
    file: RotatingFile,
    apps: AppLogs,
    /// The number of lines that are in no file and were not reported yet.
    lost: u64,
    failing: bool,
}

impl AccessLog {
    /// Writes below `directory`, in files of `size` bytes, `files` in all.
    #[must_use]
    pub fn new(directory: &Path, (size, files): (u64, usize), apps: AppLogs) -> Self {
        Self {
            file: RotatingFile::new(directory.join("access.log"), size, files),
            apps,
            lost: 0,
            failing: false,
        }
    }

    /// Writes until no worker is left.
    async fn run(&mut self, source: &mut Source) {
        while let Some(lines) = source.next().await {
            self.lost += source.dropped();
            failpoint::reach("AccessLog");
            match self.write(&lines) {
                true => source.settled(),
                false => source.settled_as_lost(),
            }
            for append in by_process(lines) {
                let (app, append) = append;
                // An app without a log has just come or gone. The server's own file has the lines.
                if let Some(log) = self.apps.get(&app) {
                    let _gone = log.send(append).await;
                }
            }
        }
    }

    /// Writes them; whether that could be done.
    fn write(&mut self, lines: &Lines) -> bool {
        let written = self
            .tell_lost()
            .and_then(|()| self.file.append(&lines.text));
        match written {
            Ok(()) => {
                self.failing = false;
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    log::error!("the access log cannot be written, dropping lines: {error}");
                }
                self.lost += lines.count;
                false
            }
        }
    }

    fn tell_lost(&mut self) -> io::Result<()> {
        if self.lost == 0 {
            return Ok(());
        }
        let line = format!("{{\"time\":\"{:.6}\",\"lost\":{}}}\n", now(), self.lost);
        self.file.append(line.as_bytes())?;
        log::warn!("{} lines of the access log are lost", self.lost);
        self.lost = 0;
        Ok(())
    }
}

/// Writes until no worker is left. After a panic it goes on with a fresh log, at growing intervals; as many lines as
/// have room wait meanwhile, and the others are counted as lost.
pub async fn keep_writing(fresh: impl Fn() -> AccessLog, mut source: Source, events: Feed) {
    let (mut log, mut restarts) = (fresh(), Restarts::new("AccessLog", events));
    while let Some(delay) = restarts.run(log.run(&mut source)).await {
        source.fail();
        log = AccessLog {
            lost: log.lost,
            ..fresh()
        };
        tokio::time::sleep(delay).await;
    }
}

/// Groups the lines by process. Within a batch, which spans a tenth of a second, that gives up their order for one
/// write per process instead of one per line.
fn by_process(lines: Lines) -> Vec<(std::sync::Arc<str>, Append)> {
    let mut appends: Vec<(AppLine, Vec<u8>)> = Vec::new();
    for line in lines.of_apps {
        let text = &lines.text[line.place.clone()];
        let same =
            |(other, _): &&mut (AppLine, _)| other.app == line.app && other.process == line.process;
        match appends.iter_mut().find(same) {
            Some((_, texts)) => texts.extend_from_slice(text),
            None => {
                let text = text.to_vec();
                appends.push((line, text));
            }
        }
    }
    let append = |(line, text): (AppLine, _)| {
        let (process, release) = match &line.process {
            Some((process, release)) => (&**process, *release),
            None => (NO_PROCESS, 0),
        };
        let append = Append {
            stream: Stream::Access,
            process: process.to_owned(),
            release,
            text,
        };
        (line.app, append)
    };
    appends.into_iter().map(append).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(of: &[(&str, Option<&str>)]) -> Lines {
        let mut lines = Lines::default();
        for (number, (app, process)) in of.iter().enumerate() {
            let start = lines.text.len();
            lines.text.extend(format!("{number}\n").into_bytes());
            lines.count += 1;
            lines.of_apps.push(AppLine {
                app: (*app).into(),
                process: process.map(|p| (p.into(), 7)),
                place: start..lines.text.len(),
            });
        }
        lines
    }

    #[test]
    fn lines_of_one_process_are_appended_together_and_in_order() {
        let web = Some("web.1");
        let appends = by_process(lines(&[("a", web), ("b", web), ("a", None), ("a", web)]));
        let shown: Vec<_> = appends
            .iter()
            .map(|(app, a)| (&**app, a.process.as_str(), a.release, a.text.clone()))
            .collect();
        assert_eq!(
            shown,
            [
                ("a", "web.1", 7, b"0\n3\n".to_vec()),
                ("b", "web.1", 7, b"1\n".to_vec()),
                ("a", "router", 0, b"2\n".to_vec()),
            ]
        );
    }

    #[test]
    fn lines_that_cannot_be_written_are_told_once_there_is_room() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("logs");
        std::fs::write(&directory, "in the way").unwrap();
        let mut log = AccessLog::new(&directory, (1000, 2), AppLogs::default());
        log.write(&lines(&[("a", None), ("a", None)]));
        log.write(&lines(&[("a", None)]));
        std::fs::remove_file(&directory).unwrap();
        log.write(&lines(&[("a", None)]));
        let text = std::fs::read_to_string(directory.join("access.log")).unwrap();
        assert!(
            text.contains("\"lost\":3}\n") && text.ends_with("}\n0\n"),
            "{text}"
        );
        log.write(&lines(&[("a", None)]));
        let text = std::fs::read_to_string(directory.join("access.log")).unwrap();
        assert_eq!(text.matches("lost").count(), 1);
    }
}
