//! The system user as which sshd(8) lets those in who push.

use std::path::Path;

use nix::unistd::{Uid, User, geteuid};

use crate::account::{API_GROUP, Account, AccountError};

/// Why nobody can be let in; the text names what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error(
        "there is no user \"{user}\" on this machine. Create it (the Debian package does): groupadd --system {user}-ssh; \
         useradd --system --gid {user}-ssh --home-dir {home} --no-create-home --shell /bin/sh --password '*' {user}"
    )]
    Absent { user: String, home: String },
    #[error(
        "the home of the user \"{user}\" is {found}, and sshd would look for keys there: it must be {home} \
         (usermod --home {home} {user}), or name another user with ssh_user in procserver.toml"
    )]
    LivesElsewhere {
        user: String,
        found: String,
        home: String,
    },
    #[error(
        "the user \"{0}\" is root or in the group \"{API_GROUP}\", whose members may use the whole API: each ssh key would be as good as \
         root. Give it a group of its own: groupadd --system {0}-ssh; usermod --gid {0}-ssh --groups '' {0}"
    )]
    Mighty(String),
    #[error(
        "the server is not root, so it cannot let the user \"{0}\" in: name its own user with ssh_user in procserver.toml"
    )]
    Foreign(String),
    #[error("the user \"{0}\" cannot be looked up: {1}")]
    NotFound(String, String),
}

/// The ids of that user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SshUser {
    pub uid: u32,
    pub gid: u32,
}

/// Looks the user `name` up, whose home must be `home`. Blocks: NSS may ask a network.
///
/// # Errors
/// [`UserError`].
pub fn look_up(name: &str, home: &Path) -> Result<SshUser, UserError> {
    let user = name.to_owned();
    let not_found = |why: String| UserError::NotFound(name.to_owned(), why);
    let account = match Account::look_up(name, None) {
        Err(AccountError::NoUser(_)) => {
            let home = home.display().to_string();
            return Err(UserError::Absent { user, home });
        }
        account => account.map_err(|error| not_found(error.to_string()))?,
    };
    let own = geteuid();
    if !own.is_root() && Uid::from_raw(account.uid) != own {
        return Err(UserError::Foreign(user));
    }
    if own.is_root() && (account.is_not_root().is_err() || is_of_api(&account)) {
        return Err(UserError::Mighty(user));
    }
    let found = home_of(name).unwrap_or_default();
    if !is_same(&found, home) {
        return Err(UserError::LivesElsewhere {
            user,
            found: found.display().to_string(),
            home: home.display().to_string(),
        });
    }
    let Account { uid, gid, .. } = account;
    Ok(SshUser { uid, gid })
}

/// Whether this is a user of ssh, whose home is `home`: nothing else may run as it. Blocks.
#[must_use]
pub fn is_of_ssh(name: &str, home: &Path) -> bool {
    home_of(name).is_some_and(|found| is_same(&found, home))
}

fn home_of(name: &str) -> Option<std::path::PathBuf> {
    User::from_name(name).ok().flatten().map(|user| user.dir)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    one == other || real(one) == real(other)
}

fn is_of_api(account: &Account) -> bool {
    // Whoever cannot be told from a member is taken for one.
    match nix::unistd::Group::from_name(API_GROUP) {
        Ok(None) => false,
        Ok(Some(group)) => account.groups.contains(&group.gid.as_raw()),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_there_or_is_more_than_a_user_of_ssh_is_refused_with_what_to_type() {
        let home = Path::new("/var/lib/procserver/ssh");
        let absent = look_up("procserver-nobody-has-this", home).unwrap_err();
        assert!(
            absent.to_string().contains("useradd --system --gid"),
            "{absent}"
        );
        if geteuid().is_root() {
            let root = look_up("root", Path::new("/root")).unwrap_err();
            assert_eq!(root, UserError::Mighty("root".into()));
            let other = look_up("nobody", home).unwrap_err();
            assert!(other.to_string().contains("usermod --home"), "{other}");
        }
        assert!(is_of_ssh("root", Path::new("/root")));
        assert!(!is_of_ssh("root", home));
    }
}
