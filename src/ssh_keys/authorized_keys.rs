//! What sshd(8) is told: the file of authorized keys, with a forced command for each (pure).

use std::path::Path;
use std::sync::Arc;

use super::key::SshKey;

/// What a forced command consists of.
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// This program.
    pub program: &'a Path,
    pub socket: &'a Path,
}

/// The file, a line for each key. `None`: a path cannot be written in it.
#[must_use]
pub fn text(keys: &[Arc<SshKey>], command: &Command) -> Option<String> {
    let (program, socket) = (word(command.program)?, word(command.socket)?);
    let mut text = String::from(
        "# Written by procserver, which writes it again with every change: procserver ssh-key add\n",
    );
    for key in keys {
        // No shell, no terminal, no forwarding of anything, no ~/.ssh/rc: sshd(8), "restrict".
        text.push_str(&format!(
            "restrict,command=\"{program} ssh-serve --socket {socket} {}\" {}\n",
            key.id,
            key.public.line()
        ));
    }
    Some(text)
}

/// A path that is one word to a shell and means nothing within the quotes of sshd.
fn word(path: &Path) -> Option<&str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@%:,=".contains(&b);
    let path = path.to_str()?;
    path.bytes().all(is_plain).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::super::public_key::PublicKey;
    use super::*;

    #[test]
    fn each_key_has_a_forced_command_and_nothing_of_its_comment() {
        let line =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        let public = PublicKey::parse(&format!("{line} a\" b,command=\"sh")).unwrap();
        let key = SshKey::new(
            "k1".into(),
            "a".into(),
            None,
            public,
            jiff::Timestamp::UNIX_EPOCH,
            None,
        );
        let command = Command {
            program: Path::new("/usr/bin/procserver"),
            socket: Path::new("/run/procserver/git.sock"),
        };
        let text = text(&[Arc::new(key)], &command).unwrap();
        let wanted = "restrict,command=\"/usr/bin/procserver ssh-serve --socket /run/procserver/git.sock k1\" ";
        assert_eq!(text.lines().nth(1).unwrap(), format!("{wanted}{line}"));
        assert_eq!(text.lines().count(), 2);
        for path in ["/a b", "/a\"", "/a'", "/a\nb", "/$a", "/a;b", "/ä"] {
            let command = Command {
                program: Path::new(path),
                ..command
            };
            assert!(super::text(&[], &command).is_none(), "{path}");
        }
    }
}
