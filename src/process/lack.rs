//! [`Lack`]: a part of an app's sandbox, or a limit, that this machine does not give, and why.

use std::fmt;
use std::sync::Once;

use serde::{Deserialize, Serialize};

/// A part of the sandbox, or a limit, that a process does without. The text is why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// [`super::landlock`].
    Landlock(String),
    /// [`super::mounts::Mounts`].
    Mounts(String),
    /// A `/proc` with the app's processes only.
    Processes(String),
    /// Shared memory, semaphores and queues (sysvipc(7), mq_overview(7)) of its own.
    Ipc(String),
    /// [`super::fixed_project`].
    FixedProject(String),
    /// A limit of the document.
    Limit(Limited, String),
}

/// What a process may use without a limit, though its document has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limited {
    Memory,
    /// All processes of it together: each alone is limited, by setrlimit(2).
    MemoryTogether,
    Cpu,
    Tasks,
    Files,
}

impl Lack {
    /// What follows from it.
    #[must_use]
    pub fn effect(&self) -> &'static str {
        match self {
            Self::Landlock(_) => {
                "only their users keep it from writing to releases and other apps' files"
            }
            Self::Mounts(_) => {
                "it has /tmp and /dev/shm in common with other apps, and sees where their files and the server's are"
            }
            Self::Processes(_) => "it sees which processes others have",
            Self::Limit(Limited::MemoryTogether, _) => {
                "each of its processes alone may have as much, counting all that it has asked for"
            }
            Self::FixedProject(_) => {
                "it could take its files out of what limits.disk counts, if it tried"
            }
            Self::Limit(..) => "it may use as much as the machine has",
            Self::Ipc(_) => {
                "what others keep in shared memory, semaphores and queues is closed to it by its mode only"
            }
        }
    }
}

impl Limited {
    /// The part of the document that has no effect.
    fn field(self) -> &'static str {
        match self {
            Self::Memory => "limits.memory",
            Self::MemoryTogether => "limits.memory of all its processes together",
            Self::Cpu => "limits.cpu",
            Self::Tasks => "limits.tasks",
            Self::Files => "limits.files",
        }
    }
}

/// `it runs without …`.
impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, why) = match self {
            Self::Landlock(why) => ("landlock", why),
            Self::Mounts(why) => ("a view of the disk of its own", why),
            Self::Processes(why) => ("a /proc of its own", why),
            Self::Ipc(why) => ("IPC of its own", why),
            Self::FixedProject(why) => ("a project that it cannot leave", why),
            Self::Limit(limited, why) => (limited.field(), why),
        };
        write!(f, "it runs without {what} ({why})")
    }
}

/// Says in the log, once in the life of the daemon, that a process does without a part of its sandbox.
pub(super) fn warn(process: &str, why: &str) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        log::warn!(
            "{process}: {why} (said once; `warnings` of an app's status has it for each process)"
        );
    });
}
