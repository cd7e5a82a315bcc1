//! Who may push over ssh, and how sshd(8) comes to know.
//!
//! [`public_key`] reads a key, [`wish`] what somebody asks for, [`authorized_keys`] says what sshd is told, [`asked`] what a
//! client of ssh asks for (all pure). [`store::SshKeys`] is the only writer: of the keys, and of the file for sshd.
//!
//! The machine's own sshd lets the holder of a key in as one system user, whose home is `ssh` in the data directory and
//! is root's. It runs a forced command there and nothing else: `procserver ssh-serve ID`, which asks the server through
//! a socket of its own ([`crate::daemon`], `git.sock`). Only that user may connect to it, it serves git alone, and the
//! server looks the key up by its id. To the API's socket that user has no access: were it in the API's group, each key
//! would be as good as root, so the server refuses such a user ([`user`]).

pub mod asked;
pub mod authorized_keys;
pub mod error;
pub mod key;
pub mod public_key;
pub mod store;
pub mod user;
pub mod wish;

pub use key::SshKey;
pub use store::SshKeys;

/// The directory below the data directory that is the home of the user of ssh.
pub const HOME: &str = "ssh";

/// The socket below the runtime directory.
pub const SOCKET: &str = "git.sock";

/// The field by which `ssh-serve` says whose key it was.
pub const KEY_FIELD: &str = "procserver-key";
