//! What this machine gives for the sandbox of applications.

use super::report::Finding;
use crate::own_user::{self, OwnUserError};
use crate::process::lack::Lack;
use crate::process::{landlock, mounts};

const ROOT: &str = "run \"sudo procserver doctor\"";

/// Looks at the parts of the sandbox. It leaves this process in a mount namespace of its own.
#[must_use]
pub fn checks() -> Vec<Finding> {
    let is_root = rustix::process::geteuid().is_root();
    vec![
        users(is_root),
        landlock(landlock::level()),
        mounts(is_root, &mounts::try_here()),
    ]
}

fn users(is_root: bool) -> Finding {
    const CHECK: &str = "a user for each application";
    if !is_root {
        let found = "not as root: a server of yours runs all applications as you";
        return Finding::unseen(CHECK, found, ROOT);
    }
    match own_user::can_be_made() {
        Ok(()) => Finding::good(CHECK, "useradd is there, and /etc/passwd can be written"),
        Err(error @ OwnUserError::NotRun { .. }) => {
            Finding::poor(CHECK, error.to_string(), "type \"apt-get install passwd\"")
        }
        Err(error) => {
            let todo = "let the server write to /etc, or set default_user = \"www-data\" in procserver.toml";
            Finding::poor(CHECK, error.to_string(), todo)
        }
    }
}

/// `level`: the number of landlock's ABI, as far as it is used.
fn landlock(level: Option<u8>) -> Finding {
    const CHECK: &str = "landlock (applications write to their own directories only)";
    match level {
        Some(landlock::NEWEST) => Finding::good(CHECK, "the kernel has all that is used"),
        Some(older) => {
            let found =
                format!("ABI {older}: it does not keep them from truncating or moving files");
            Finding::poor(CHECK, found, "Linux 6.2 does")
        }
        None => {
            let todo = "add \"landlock\" to the list lsm=… on the kernel's command line (Linux 5.13 or newer)";
            Finding::poor(CHECK, "the kernel has none", todo)
        }
    }
}

fn mounts(is_root: bool, lacks: &[Lack]) -> Finding {
    const CHECK: &str =
        "a view of the machine for each application (/tmp, /proc, no other's files)";
    let container = "give the container CAP_SYS_ADMIN, or run the server on the machine itself";
    match lacks.first() {
        None => Finding::good(CHECK, "unshare and mount are allowed"),
        Some(_) if !is_root => Finding::unseen(CHECK, "only a server that is root gives one", ROOT),
        Some(Lack::Processes(why)) => {
            let found =
                format!("but for /proc ({why}): applications see which processes others have");
            Finding::poor(
                CHECK,
                found,
                "Linux 5.8 has hidepid=invisible; a container must be allowed to mount /proc",
            )
        }
        Some(Lack::Ipc(why)) => {
            let found = format!("but for shared memory, semaphores and queues ({why})");
            Finding::poor(CHECK, found, "a kernel with CONFIG_IPC_NS gives these, too")
        }
        Some(
            Lack::Mounts(why) | Lack::Landlock(why) | Lack::FixedProject(why) | Lack::Limit(_, why),
        ) => Finding::poor(CHECK, why.clone(), container),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lack_is_missing_and_says_what_to_do() {
        let eperm = || "unshare: Operation not permitted".to_owned();
        assert!(mounts(true, &[]).ok);
        for lack in [Lack::Mounts(eperm()), Lack::Processes(eperm())] {
            let found = mounts(true, &[lack]);
            assert!(!found.ok && found.found.contains("not permitted") && found.todo.is_some());
        }
        let as_user = mounts(false, &[Lack::Mounts(eperm())]);
        assert!(as_user.todo.is_some_and(|todo| todo.contains("sudo")));
        assert!(landlock(Some(landlock::NEWEST)).ok);
        assert!(!landlock(Some(1)).ok && !landlock(None).ok);
    }
}
