//! [`Account`]: the Unix user and group that an application runs as.

use std::path::PathBuf;

/// In documents and in the setting `default_user`, in the place of a user's name: one that the app has for itself.
pub const PER_APP: &str = "per-app";

/// Members of this group may use the API's Unix socket, which is as good as being root.
pub const API_GROUP: &str = "procserver";

/// A user and group that exist on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's name, for `USER` and `LOGNAME`.
    pub user: String,
    pub group: String,
    pub uid: u32,
    /// Numeric id of the primary group.
    pub gid: u32,
    /// Numeric ids of all its groups when it was looked up. NSS is not asked again at each start of a process: that
    /// would take longer than all the rest of a start.
    pub groups: Vec<u32>,
    /// The login shell of the passwd entry, for `SHELL`.
    pub shell: PathBuf,
}

/// Why an account cannot be used; the text is for the person who wrote the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// No such user in passwd.
    #[error(
        "there is no user \"{0}\" on this machine: create it (useradd --system {0}) or name another"
    )]
    NoUser(String),
    #[error(
        "there is no group \"{0}\" on this machine: create it (groupadd --system {0}) or name another"
    )]
    NoGroup(String),
    /// It is root, under whatever name, or has root's group.
    #[error(
        "\"{0}\" is root or has root's group: name another, or set allow_root_apps = true in procserver.toml"
    )]
    Root(String),
    #[error(
        "\"{0}\" is the user as which sshd lets in who pushes: what runs as it could push as everybody. Name another"
    )]
    OfSsh(String),
    #[error("cannot look up \"{0}\": {1}")]
    Lookup(String, String),
    /// The app's own user cannot be made: why, and what to do.
    #[error("{0}")]
    NotMade(String),
}

impl Account {
    /// Looks `user` (and `group`, else the user's primary group) up. Blocks: it may ask NSS modules over a network,
    /// so call it from a blocking thread.
    ///
    /// # Errors
    /// [`AccountError`] when one of them does not exist.
    pub fn look_up(user: &str, group: Option<&str>) -> Result<Self, AccountError> {
        use nix::unistd::{Gid, Group, User, getgrouplist};
        let found = User::from_name(user)
            .map_err(|e| AccountError::Lookup(user.into(), e.to_string()))?
            .ok_or_else(|| AccountError::NoUser(user.into()))?;
        let primary = match group {
            Some(name) => Group::from_name(name)
                .map_err(|e| AccountError::Lookup(name.into(), e.to_string()))?
                .ok_or_else(|| AccountError::NoGroup(name.into()))?,
            None => Self::group_of(found.gid)?,
        };
        let groups = std::ffi::CString::new(found.name.as_str())
            .map_err(|e| e.to_string())
            .and_then(|name| getgrouplist(&name, primary.gid).map_err(|e| e.to_string()))
            .map_err(|e| AccountError::Lookup(user.into(), e))?;
        Ok(Self {
            user: found.name,
            group: primary.name,
            uid: found.uid.as_raw(),
            gid: Gid::as_raw(primary.gid),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
            shell: found.shell,
        })
    }

    /// The account this process itself runs as. Ids that passwd does not have, as in a container, are named by their
    /// numbers.
    ///
    /// # Errors
    /// [`AccountError`] when passwd cannot be read.
    pub fn current() -> Result<Self, AccountError> {
        use nix::unistd::{Group, User, getegid, geteuid};
        let (uid, gid) = (geteuid(), getegid());
        let user = User::from_uid(uid)
            .map_err(|e| AccountError::Lookup(uid.to_string(), e.to_string()))?;
        let group = Group::from_gid(gid)
            .map_err(|e| AccountError::Lookup(gid.to_string(), e.to_string()))?;
        let (user, shell) = user.map_or_else(
            || (uid.to_string(), PathBuf::from("/bin/sh")),
            |user| (user.name, user.shell),
        );
        Ok(Self {
            user,
            group: group.map_or_else(|| gid.to_string(), |group| group.name),
            uid: uid.as_raw(),
            gid: gid.as_raw(),
            // Nothing is switched to it.
            groups: vec![gid.as_raw()],
            shell,
        })
    }

    /// Checks that there is a group of this name, and that it is not root's. Blocks, as [`Self::look_up`].
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn check_group(name: &str, allow_root: bool) -> Result<(), AccountError> {
        let group = nix::unistd::Group::from_name(name)
            .map_err(|e| AccountError::Lookup(name.into(), e.to_string()))?
            .ok_or_else(|| AccountError::NoGroup(name.into()))?;
        match group.gid.as_raw() == 0 && !allow_root {
            true => Err(AccountError::Root(name.into())),
            false => Ok(()),
        }
    }

    fn group_of(gid: nix::unistd::Gid) -> Result<nix::unistd::Group, AccountError> {
        nix::unistd::Group::from_gid(gid)
            .map_err(|e| AccountError::Lookup(gid.to_string(), e.to_string()))?
            .ok_or_else(|| AccountError::NoGroup(gid.to_string()))
    }

    /// Refuses root and members of root's group, whatever their names are.
    ///
    /// # Errors
    /// [`AccountError::Root`].
    pub fn is_not_root(&self) -> Result<(), AccountError> {
        match self.uid == 0 || self.gid == 0 || self.groups.contains(&0) {
            true => Err(AccountError::Root(self.user.clone())),
            false => Ok(()),
        }
    }

    /// Whether this is root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }
}
