//! [`Asked`]: what a client of ssh wants to be run, of which only git's two services are something (pure).

use crate::document::name::AppName;
use crate::install::git_request::Service;

/// A service of git's for an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub service: Service,
    pub app: AppName,
}

/// Why it is refused; the text is for the person at the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("only git push, git fetch and git clone work here: there is no shell")]
    NotGit,
    #[error(
        "that is no repository of this server: its URL ends in SERVER/NAME.git, and NAME is an application's"
    )]
    NoRepository,
}

/// Longer commands are not looked at; bytes.
const LONGEST: usize = 300;

impl Asked {
    /// Reads `git-receive-pack 'NAME.git'`, as git(1) and other clients of git send it. Nothing runs it, whatever it is.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn parse(command: &str) -> Result<Self, Refused> {
        if command.len() > LONGEST || command.contains(char::is_control) {
            return Err(Refused::NotGit);
        }
        let (service, path) = [Service::Upload, Service::Receive]
            .into_iter()
            .find_map(|service| Some((service, behind(command, service)?)))
            .ok_or(Refused::NotGit)?;
        let app = app(path).ok_or(Refused::NoRepository)?;
        Ok(Self { service, app })
    }
}

/// What stands behind the name of the service, which has a hyphen or a space in it.
fn behind(command: &str, service: Service) -> Option<&str> {
    let name = service.name();
    let other = name.replacen('-', " ", 1);
    let rest = command.strip_prefix(name);
    let rest = rest.or_else(|| command.strip_prefix(other.as_str()))?;
    rest.strip_prefix(' ').map(str::trim)
}

/// The application of a path, which is in quotes or not. Names have no quotes, so there is nothing to be unquoted.
fn app(path: &str) -> Option<AppName> {
    let within = |quote: char| path.strip_prefix(quote)?.strip_suffix(quote);
    let path = within('\'').or_else(|| within('"')).unwrap_or(path);
    let path = path.strip_prefix('/').unwrap_or(path);
    // As in the URL of HTTPS.
    let path = path.strip_prefix("git/").unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let name = path.strip_suffix(".git").unwrap_or(path);
    AppName::parse(name).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_clients_of_git_send_is_read() {
        for (command, service) in [
            ("git-receive-pack 'site.git'", Service::Receive),
            ("git-receive-pack '/site.git'", Service::Receive),
            ("git receive-pack '/site'", Service::Receive),
            ("git-upload-pack '/git/site.git/'", Service::Upload),
            ("git-upload-pack \"site.git\"", Service::Upload),
            ("git upload-pack site.git", Service::Upload),
        ] {
            let asked = Asked::parse(command).expect(command);
            assert_eq!((asked.service, asked.app.as_str()), (service, "site"));
        }
    }

    #[test]
    fn all_else_is_refused() {
        for command in [
            "",
            "sh",
            "ls -la",
            "git-shell",
            "git-upload-archive 'site.git'",
            "git-lfs-authenticate site.git upload",
            "internal-sftp",
            "scp -t /",
            "git-receive-packs 'site.git'",
            "git-receive-pack",
            "GIT-RECEIVE-PACK 'site.git'",
            "git-receive-pack 'site.git'\nsh",
            " git-receive-pack 'site.git'",
        ] {
            assert_eq!(Asked::parse(command), Err(Refused::NotGit), "{command}");
        }
        for path in [
            "''",
            "'../site.git'",
            "'/etc/passwd'",
            "'site.git' --upload-pack=sh",
            "'site.git'; sh",
            "'site.git' 'other.git'",
            "$(id)",
            "`id`",
            "'site'\\''.git'",
            "--help",
            "'~/site.git'",
            "'SITE.git'",
            "'a/b.git'",
            "'//site.git'",
        ] {
            let command = format!("git-receive-pack {path}");
            assert_eq!(Asked::parse(&command), Err(Refused::NoRepository), "{path}");
        }
        let long = format!("git-receive-pack '{}'", "a".repeat(400));
        assert_eq!(Asked::parse(&long), Err(Refused::NotGit));
    }

    proptest! {
        #[test]
        fn no_command_leads_out_of_the_names_of_applications(rest in "[ -~]{0,40}") {
            if let Ok(asked) = Asked::parse(&format!("git-receive-pack {rest}")) {
                let name = asked.app.as_str();
                prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{}", name);
            }
        }
    }
}
