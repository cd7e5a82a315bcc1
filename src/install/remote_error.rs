//! Why a remote gave us nothing, by what git and ssh print.

use super::failure;
use super::record::{Failure, Step};
use super::remote::Remote;
use super::ssh::Ssh;
use crate::exit_status::ExitStatus;

/// One reason of a remote, and the words in git's output that show it.
struct Sign {
    words: &'static [&'static str],
    kind: Kind,
    reason: &'static str,
    hint: &'static str,
}

/// Kinds whose hint needs more than a fixed text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    HostKey,
    Credentials,
    Missing,
    Other,
}

/// The first that fits counts: a server that asks for a password where nothing is prints several of these.
const SIGNS: [Sign; 13] = [
    Sign {
        words: &[
            "Could not resolve host",
            "Name or service not known",
            "Temporary failure in name resolution",
            "unable to look up",
        ],
        kind: Kind::Other,
        reason: "the host's name is not known",
        hint: "check the spelling of `repo.url`, and this machine's DNS",
    },
    Sign {
        words: &["ssh: not found", "cannot run ssh"],
        kind: Kind::Other,
        reason: "ssh is not installed on this machine",
        hint: "install it: apt-get install openssh-client, then redeploy",
    },
    Sign {
        words: &[
            "Host key verification failed",
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
        ],
        kind: Kind::HostKey,
        reason: "the host's ssh key is not the one known for it: it was set up anew, or somebody is in between",
        hint: "ask who runs the host; if its new key is right, forget the old one",
    },
    Sign {
        words: &[
            "Connection refused",
            "Failed to connect",
            "Couldn't connect",
            "Could not connect",
            "unreachable",
            "No route to host",
            "Connection timed out",
            "Connection reset",
            "Connection closed by",
            "Operation too slow",
            "timed out",
        ],
        kind: Kind::Other,
        reason: "the host cannot be reached",
        hint: "check `repo.url`, the network and firewalls on the way, then redeploy",
    },
    Sign {
        words: &["certificate", "SSL"],
        kind: Kind::Other,
        reason: "the host's certificate cannot be trusted",
        hint: "check the host's certificate, this machine's clock and its package ca-certificates",
    },
    Sign {
        words: &[
            "could not read Username",
            "could not read Password",
            "Authentication failed",
            "Permission denied (",
            "Too many authentication failures",
            "terminal prompts disabled",
            "error: 401",
            "error: 403",
            "HTTP Basic: Access denied",
        ],
        kind: Kind::Credentials,
        reason: "the repository needs credentials that it accepts (or does not exist)",
        hint: "check `repo.url`; for a private one put a token into it (https://TOKEN@host/…), or use its ssh URL: then this application has a deploy key",
    },
    Sign {
        words: &[
            "Repository not found",
            "does not appear to be a git repository",
            "could not be found",
            "' not found",
            "repository does not exist",
            "no such path",
            "repository not exported",
            "error: 404",
        ],
        kind: Kind::Missing,
        reason: "there is no such repository",
        hint: "check `repo.url`, and whether this server may read the repository",
    },
    Sign {
        words: &[
            "not valid: is this a git repository",
            "unable to update url base from redirection",
        ],
        kind: Kind::Other,
        reason: "the URL answers with a web page, not with a repository",
        hint: NO_REPOSITORY,
    },
    Sign {
        words: &["returned error: 429"],
        kind: Kind::Other,
        reason: "the server has had too many requests (429)",
        hint: "wait a while, then redeploy",
    },
    Sign {
        words: &["returned error: 5"],
        kind: Kind::Other,
        reason: "the server itself has failed (its answer is a 5xx)",
        hint: "try again: redeploy; if it stays so, look at the server's own log",
    },
    Sign {
        words: &["not allowed"],
        kind: Kind::Other,
        reason: "this kind of URL is not allowed",
        hint: "use https, http, ssh or git",
    },
    Sign {
        words: &[
            "early EOF",
            "hung up unexpectedly",
            "unexpected disconnect",
            "RPC failed",
            "Empty reply from server",
            "transfer closed",
            "packet write failed",
        ],
        kind: Kind::Other,
        reason: "the server ended the connection in the middle",
        hint: "try again: redeploy; if it stays so, look at the server's own log",
    },
    Sign {
        words: &["Could not read from remote repository"],
        kind: Kind::Other,
        reason: "the server ended the connection without an answer",
        hint: "check `repo.url`, and whether it is a git server that answers there",
    },
];

const NO_REPOSITORY: &str = "check `repo.url` (it is the one that git clone takes): a page to log in, or of a host that knows no such repository, may be what answers";

/// The failure where something of the media type `kind` answers in place of a repository.
#[must_use]
pub fn no_repository(step: Step, shown: &str, kind: &str) -> Failure {
    let what = match kind {
        "text/html" => "a web page",
        _ => "something",
    };
    let reason = format!("{shown} answers with {what} ({kind}), not with a repository");
    Failure::new(step, reason).hint(NO_REPOSITORY)
}

/// The media type of the last answer in a trace of git's. `None` where git servers send it, or a web server that
/// serves the files of a repository as text or bytes.
#[must_use]
pub fn foreign_type(trace: &str) -> Option<String> {
    const OWN: [&str; 3] = [
        "application/x-git",
        "text/plain",
        "application/octet-stream",
    ];
    let fields = trace
        .lines()
        .filter_map(|line| line.split_once("<= Recv header: "));
    let mut types = fields.filter_map(|(_, field)| {
        let (name, value) = field.split_once(':')?;
        name.eq_ignore_ascii_case("content-type").then_some(value)
    });
    let last = types
        .next_back()?
        .split(';')
        .next()?
        .trim()
        .to_ascii_lowercase();
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"/+-.".contains(&b);
    let is_known = OWN.iter().any(|own| last.starts_with(own));
    (!is_known && last.len() < 80 && last.bytes().all(is_token)).then_some(last)
}

/// What git prints about objects of its own that it cannot read.
const DAMAGE: [&str; 6] = [
    "objects/",
    "bad object",
    "is corrupt",
    "inflate: ",
    "missing blob",
    "did not send all necessary objects",
];

/// Why the remote gave us nothing, when its side is to blame. `None`: ours may be (a damaged mirror). `public_key` is
/// the app's, if it has one.
#[must_use]
pub fn refusal(
    step: Step,
    remote: &Remote,
    ssh: &Ssh,
    public_key: Option<&str>,
    status: ExitStatus,
    tail: &[String],
) -> Option<Failure> {
    let signal = match status {
        ExitStatus::Signal(signal) => Some(signal),
        _ => None,
    };
    if failure::disk_is_full(tail) || failure::limit(signal, tail).is_some() {
        return Some(failure::exited(step, "git fetch", status, tail.to_vec()));
    }
    let errors: Vec<_> = tail
        .iter()
        .filter(|line| !line.starts_with("hint:"))
        .collect();
    let says = |words: &[&str]| {
        let mut words = words.iter();
        words.any(|word| errors.iter().any(|line| line.contains(word)))
    };
    let sign = SIGNS.iter().find(|sign| says(sign.words))?;
    // Our own git also ends the connection when it fails.
    if sign.kind == Kind::Other && sign.words.contains(&"early EOF") && own_damage(tail) {
        return None;
    }
    let (mut reason, mut hint) = (sign.reason.to_owned(), sign.hint.to_owned());
    if let Some(host) = remote.ssh_host() {
        match sign.kind {
            Kind::HostKey => hint = format!("{hint}: {}", ssh.forget(&host)),
            Kind::Credentials => {
                reason = "the server does not accept this application's deploy key".to_owned();
                hint = add(public_key);
            }
            Kind::Missing => hint = format!("{hint}: {}", add(public_key)),
            Kind::Other => {}
        }
    }
    let reason = format!("cannot fetch {}: {reason}", remote.shown());
    let failure = Failure::new(step, reason).hint(hint).status(status);
    Some(failure.tail(tail.to_vec()))
}

fn own_damage(tail: &[String]) -> bool {
    let ours = tail.iter().filter(|line| !line.starts_with("remote:"));
    ours.into_iter()
        .any(|line| DAMAGE.iter().any(|word| line.contains(word)))
}

fn add(public_key: Option<&str>) -> String {
    let what = "add this public key to the repository as a read-only deploy key, then redeploy";
    format!(
        "{what}: {}",
        public_key.unwrap_or("(procserver key NAME shows it)")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAA procserver-a@h";

    fn told(url: &str, lines: &[&str]) -> Option<(String, String)> {
        let tail: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        let ssh = Ssh {
            key: "/k".into(),
            known_hosts: "/data/known_hosts".into(),
        };
        let (remote, status) = (Remote::parse(url), ExitStatus::Code(128));
        let failure = refusal(Step::Fetch, &remote, &ssh, Some(KEY), status, &tail)?;
        assert!(
            failure
                .reason
                .starts_with(&format!("cannot fetch {}: ", remote.shown()))
        );
        Some((failure.reason, failure.hint.unwrap()))
    }

    fn reason(lines: &[&str]) -> Option<String> {
        let (reason, hint) = told("https://x:secret@h/r.git", lines)?;
        assert!(!reason.contains("secret") && !hint.contains("secret"));
        Some(reason)
    }

    #[test]
    fn what_git_says_is_told_apart() {
        for (line, words) in [
            (
                "fatal: unable to access 'https://h/': Could not resolve host: h",
                "name is not known",
            ),
            (
                "ssh: connect to host h port 22: Connection refused",
                "cannot be reached",
            ),
            (
                "fatal: could not read Username for 'https://h': terminal prompts disabled",
                "needs credentials",
            ),
            (
                "fatal: '/srv/x' does not appear to be a git repository",
                "no such repository",
            ),
            (
                "fatal: repository 'https://h/r.git/' not found",
                "no such repository",
            ),
            (
                "fatal: https://h/r.git/info/refs not valid: is this a git repository?",
                "a web page",
            ),
            (
                "fatal: unable to access 'https://h/': The requested URL returned error: 429",
                "too many requests",
            ),
            (
                "fatal: unable to access 'https://h/': The requested URL returned error: 503",
                "failed",
            ),
            ("fatal: early EOF", "ended the connection"),
            (
                "fatal: packet write failed: Broken pipe",
                "ended the connection",
            ),
            (
                "error: cannot run ssh: No such file or directory",
                "ssh is not installed",
            ),
        ] {
            assert!(reason(&[line]).is_some_and(|r| r.contains(words)), "{line}");
        }
    }

    #[test]
    fn a_web_page_is_known_by_its_type() {
        let trace = |kind: &str| {
            format!(
                "1 http.c:845 <= Recv header: HTTP/1.1 200 OK\n\
                 1 http.c:845 <= Recv header: content-Type: {kind}\n\
                 1 http.c:845 <= Recv header:\n"
            )
        };
        let found = |kind| foreign_type(&trace(kind));
        assert_eq!(
            found("text/HTML; charset=utf-8").as_deref(),
            Some("text/html")
        );
        assert_eq!(
            found("application/json").as_deref(),
            Some("application/json")
        );
        for own in [
            "application/x-git-upload-pack-advertisement",
            "text/plain",
            "x y",
            "",
        ] {
            assert_eq!(found(own).filter(|kind| !kind.is_empty()), None, "{own}");
        }
        assert_eq!(foreign_type("nothing"), None);
    }

    #[test]
    fn what_is_not_known_may_be_our_own_damage() {
        for lines in [
            &["error: object file x is empty", "fatal: bad object HEAD"][..],
            &["error: inflate: data stream error", "fatal: early EOF"],
            &[
                "error: file ./objects/pack/x.pack is far too short",
                "fatal: early EOF",
            ],
        ] {
            assert_eq!(reason(lines), None, "{lines:?}");
        }
        // Theirs, not ours.
        assert!(reason(&["remote: fatal: bad object 1", "fatal: early EOF"]).is_some());
    }

    #[test]
    fn an_ssh_server_that_refuses_is_given_the_key() {
        let url = "git@h:a/b.git";
        let (reason, hint) = told(url, &["git@h: Permission denied (publickey)."]).unwrap();
        assert!(reason.ends_with("does not accept this application's deploy key"));
        assert!(hint.contains("read-only deploy key") && hint.ends_with(KEY));
        let (_, hint) = told(url, &["ERROR: Repository not found."]).unwrap();
        assert!(hint.ends_with(KEY));
    }

    #[test]
    fn a_changed_host_key_says_what_to_type() {
        let lines = [
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @",
            "Host key verification failed.",
        ];
        let (reason, hint) = told("ssh://git@h:2222/a", &lines).unwrap();
        assert!(reason.contains("not the one known for it"));
        assert!(
            hint.ends_with("ssh-keygen -f /data/known_hosts -R '[h]:2222'"),
            "{hint}"
        );
    }
}
