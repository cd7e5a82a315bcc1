//! [`Measured`]: what the first process of a container tells of the container's control group, in lines among what it
//! prints: no engine tells of containers on other nodes.
//!
//! Such a line ends with the [`Mark`] of its service and numbers. The mark keeps lines of an app from being taken for
//! these by accident. It is no secret: other processes of the container can read it in `/proc/1/cmdline`. One that
//! writes such lines lies about itself alone, and nothing is decided by what they say but how its end is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::process::usage::Usage;

/// Of a shell: `measured MARK up|end` prints a line, by builtin commands alone: where an app has used up its processes,
/// or its memory, nothing else could be started. It is written at once, and so in one piece.
///
/// Memory is without what the kernel only keeps of files that nobody used lately, as `docker stats` counts it.
pub(super) const MEASURE: &str = r#"
measured() {
  memory=0 cached=0 cpu=0 kills=0
  {
    own=/sys/fs/cgroup
    if [ -r $own/memory.current ]; then
      read -r memory <$own/memory.current
      while read -r name value; do
        case $name in usage_usec) cpu=$value;; esac
      done <$own/cpu.stat
      counted=$own/memory.events
    else
      read -r cpu <$own/cpuacct/cpuacct.usage
      cpu=$((cpu / 1000)) own=$own/memory
      read -r memory <$own/memory.usage_in_bytes
      counted=$own/memory.oom_control
    fi
    while read -r name value; do
      case $name in inactive_file|total_inactive_file) cached=$value;; esac
    done <$own/memory.stat
    while read -r name value; do
      case $name in oom_kill) kills=$value;; esac
    done <$counted
  } 2>/dev/null
  printf '%s\n' "$1 $2 $memory $cached $cpu $kills" >&2
}
"#;

/// No machine has more; bytes, microseconds, or processes.
const MOST: u64 = 1 << 50;

/// What lines of one service that are not an app's have in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark(String);

/// What one line says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    pub usage: Usage,
    /// The container ends.
    pub is_last: bool,
}

impl Mark {
    /// That of a service of this server. The next server knows it too.
    #[must_use]
    pub fn of(server: &str, service: &str) -> Self {
        let mut hash = Sha256::new();
        for text in ["mark", server, service] {
            hash.update(text);
            hash.update([0]);
        }
        let digest = hash.finalize();
        let digest: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
        Self(format!("ps-{digest}"))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What an app has printed of a line, and what was measured. An app may have begun a line when it was measured:
    /// that part comes before the mark.
    #[must_use]
    pub fn take<'l>(&self, line: &'l [u8]) -> (&'l [u8], Option<Measured>) {
        let found = memchr::memmem::rfind(line, self.0.as_bytes());
        let measured = found.and_then(|at| Some((at, numbers(&line[at + self.0.len()..])?)));
        match measured {
            Some((at, measured)) => (&line[..at], Some(measured)),
            None => (line, None),
        }
    }
}

/// ` up|end MEMORY CACHED CPU KILLS`, and nothing else.
fn numbers(text: &[u8]) -> Option<Measured> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_prefix(' ')?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let fields: Vec<&str> = text.split(' ').collect();
    let [kind, numbers @ ..] = &fields[..] else {
        return None;
    };
    let is_last = match *kind {
        "up" => false,
        "end" => true,
        _ => return None,
    };
    let numbers: Option<Vec<u64>> = numbers.iter().map(|text| number(text)).collect();
    let [memory, cached, cpu, kills] = numbers?[..] else {
        return None;
    };
    Some(Measured {
        usage: Usage {
            memory_bytes: memory.saturating_sub(cached),
            cpu_seconds: cpu as f64 / 1e6,
            oom_kills: kills,
        },
        is_last,
    })
}

fn number(text: &str) -> Option<u64> {
    // parse() would take a sign.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits)?;
    (number <= MOST).then_some(number)
}

/// What tasks used last, as far as they have told. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    of_tasks: Arc<Mutex<HashMap<String, Usage>>>,
}

impl Meters {
    pub(super) fn set(&self, task: &str, usage: Usage) {
        self.lock().insert(task.to_owned(), usage);
    }

    pub(super) fn forget(&self, task: &str) {
        self.lock().remove(task);
    }

    /// What a task used last.
    #[must_use]
    pub fn of(&self, task: &str) -> Option<Usage> {
        self.lock().get(task).copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Usage>> {
        self.of_tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn mark() -> Mark {
        Mark::of("0123", "ps-shop-web-7-89")
    }

    fn line(rest: &str) -> Vec<u8> {
        format!("{}{rest}", mark().as_str()).into_bytes()
    }

    #[test]
    fn a_line_of_a_shell_is_understood() {
        let script = format!("{MEASURE}\nmeasured {} end", mark().as_str());
        let printed = Command::new("/bin/sh").args(["-c", &script]).output();
        let printed = printed.unwrap();
        assert_eq!(printed.stdout, b"");
        let (rest, measured) = mark().take(&printed.stderr);
        assert_eq!(rest, b"", "{printed:?}");
        assert!(measured.unwrap().is_last);
    }

    #[test]
    fn what_was_measured_is_taken_out_of_what_an_app_prints() {
        let measured = Measured {
            usage: Usage {
                memory_bytes: 70,
                cpu_seconds: 1.5,
                oom_kills: 2,
            },
            is_last: false,
        };
        let told = line(" up 100 30 1500000 2\n");
        assert_eq!(mark().take(&told), (&b""[..], Some(measured)));
        let begun = [b"half a l", &told[..]].concat();
        assert_eq!(mark().take(&begun), (&b"half a l"[..], Some(measured)));
    }

    #[test]
    fn what_only_looks_so_stays_in_the_log() {
        let others = Mark::of("0123", "ps-shop-web-8-89");
        assert_ne!(mark(), others);
        let told = line(" up 100 30 1500000 2\n");
        assert_eq!(others.take(&told), (&told[..], None));
        for rest in [
            "",
            "\n",
            " up 1 2 3\n",
            " up 1 2 3 4 5\n",
            " up 1 2 3 +4\n",
            " up 1 2 3 -4\n",
            " up 1 2  4\n",
            " up 1 2 3 4 \n",
            " up 1 2 3 4\n\n",
            " down 1 2 3 4\n",
            " up 1 2 3 99999999999999999999\n",
            " up 1125899906842625 2 3 4\n",
            " up 1 2 3 4 and more\n",
        ] {
            let told = line(rest);
            assert_eq!(mark().take(&told), (&told[..], None), "{rest}");
        }
    }
}
