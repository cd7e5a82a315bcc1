//! [`Rlimits`]: limits of a process that setrlimit(2) enforces, and those that are left to it where no control group can.

use std::io;

use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};

use super::lack::{Lack, Limited};
use crate::document::limits::Limits;

/// What systemd gives services: programs that use select(2) break above it.
const OPEN_FILES: u64 = 1024;

/// What the helper sets before it becomes the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rlimits {
    /// Most open files; `None`: the usual, which a program may raise itself.
    files: Option<u64>,
    /// Bytes of private memory of each process, as far as it may be written to: what is only reserved, as node and Java
    /// do by the gigabyte, does not count, unlike with RLIMIT_AS.
    data: Option<u64>,
}

impl Rlimits {
    /// Those for `limits`, of which control groups do not enforce what is among `lacks`. A lack that is made up for in
    /// part is told as that.
    pub(super) fn of(limits: &Limits, lacks: &mut [Lack]) -> Self {
        let mut data = None;
        for lack in lacks {
            if let Lack::Limit(limited @ Limited::Memory, _) = lack {
                *limited = Limited::MemoryTogether;
                data = limits.memory;
            }
        }
        Self {
            files: limits.files.map(u64::from),
            data,
        }
    }

    /// Limits the calling process and all that it starts; says what it may not be given.
    pub(super) fn apply(self) -> io::Result<Vec<Lack>> {
        let mut lacks = Vec::new();
        let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
        let wanted = self.files.unwrap_or(OPEN_FILES);
        let most = hard.map_or(wanted, |hard| hard.min(wanted));
        let exactly = |files| Rlimit {
            current: Some(files),
            maximum: Some(files),
        };
        match self.files {
            // Only root may go above the hard limit.
            Some(files) => {
                if let Err(error) = rustix::process::setrlimit(Resource::Nofile, exactly(files)) {
                    rustix::process::setrlimit(Resource::Nofile, exactly(most))?;
                    let why = format!("the server may give {most} at most: {error}");
                    lacks.push(Lack::Limit(Limited::Files, why));
                }
            }
            None => {
                let usual = Rlimit {
                    current: Some(most),
                    maximum: hard,
                };
                rustix::process::setrlimit(Resource::Nofile, usual)?;
            }
        }
        if let Some(data) = self.data {
            let hard = rustix::process::getrlimit(Resource::Data).maximum;
            let most = hard.map_or(data, |hard| hard.min(data));
            rustix::process::setrlimit(Resource::Data, exactly(most))?;
        }
        Ok(lacks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_group_enforces_is_left_to_setrlimit_where_it_can() {
        let limits = Limits {
            memory: Some(1 << 30),
            tasks: Some(100),
            files: Some(2000),
            ..Limits::default()
        };
        let lack = |limited| Lack::Limit(limited, String::new());
        let mut lacks = [lack(Limited::Memory), lack(Limited::Tasks)];
        let rlimits = Rlimits::of(&limits, &mut lacks);
        assert_eq!((rlimits.files, rlimits.data), (Some(2000), Some(1 << 30)));
        assert_eq!(lacks, [lack(Limited::MemoryTogether), lack(Limited::Tasks)]);
        assert_eq!(Rlimits::of(&limits, &mut []).data, None);
    }
}
