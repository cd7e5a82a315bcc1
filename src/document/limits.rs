//! [`AppLimits`] and [`Limits`]: what an app, and each of its processes, may use (pure).

use std::collections::BTreeMap;

/// Under this name stand the limits of install commands.
pub const INSTALL: &str = "install";

/// What one process and all that it starts may use together. `None`: as much as the machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Thousandths of a core.
    pub cpu: Option<u32>,
    /// Processes and threads.
    pub tasks: Option<u32>,
    /// Open files of each process, see `RLIMIT_NOFILE` in getrlimit(2).
    pub files: Option<u32>,
}

impl Limits {
    /// These, and where they say nothing those of `rest`.
    #[must_use]
    fn or(self, rest: Self) -> Self {
        Self {
            memory: self.memory.or(rest.memory),
            cpu: self.cpu.or(rest.cpu),
            tasks: self.tasks.or(rest.tasks),
            files: self.files.or(rest.files),
        }
    }
}

/// `limits` of the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppLimits {
    /// Of each process, where its type has none of its own.
    pub each: Limits,
    /// Of each process of a type.
    pub by_type: BTreeMap<String, Limits>,
    /// Bytes on disk, of the app as a whole.
    pub disk: Option<u64>,
}

impl AppLimits {
    /// The limits of a process of this type, `release` included.
    #[must_use]
    pub fn of(&self, process_type: &str) -> Limits {
        let own = self.by_type.get(process_type).copied();
        own.unwrap_or_default().or(self.each)
    }

    /// The limits of an install command. The memory of processes is none of them: compilers need more than what they
    /// make.
    #[must_use]
    pub fn of_install(&self) -> Limits {
        let own = self.by_type.get(INSTALL).copied();
        own.unwrap_or_default().or(Limits {
            memory: None,
            ..self.each
        })
    }

    /// The process types that are named.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.by_type
            .keys()
            .map(String::as_str)
            .filter(|name| *name != INSTALL)
    }

    /// Whether processes that run under `self` may go on under `other`.
    #[must_use]
    pub fn are_same_for_processes(&self, other: &Self) -> bool {
        (self.each, &self.by_type) == (other.each, &other.by_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_adds_to_what_holds_for_each() {
        let limits = AppLimits {
            each: Limits {
                memory: Some(512),
                tasks: Some(100),
                ..Limits::default()
            },
            by_type: BTreeMap::from([(
                "web".to_owned(),
                Limits {
                    memory: Some(1024),
                    cpu: Some(1500),
                    ..Limits::default()
                },
            )]),
            disk: None,
        };
        let web = limits.of("web");
        assert_eq!(
            (web.memory, web.cpu, web.tasks),
            (Some(1024), Some(1500), Some(100))
        );
        assert_eq!(limits.of("worker"), limits.each);
        assert_eq!(limits.of("release"), limits.each);
        let install = limits.of_install();
        assert_eq!((install.memory, install.tasks), (None, Some(100)));
    }
}
