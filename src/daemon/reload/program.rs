//! The program that takes over: the one that lies where the running one came from.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Its path. proc_pid_exe(5): once another file lies there, the kernel appends a word to the path of the one that runs.
/// Blocks.
///
/// # Errors
/// Others may write to it, or to a directory above it.
pub(super) fn installed() -> Result<PathBuf, String> {
    let path = path().map_err(|e| format!("/proc/self/exe: {e}"))?;
    let real = path
        .canonicalize()
        .map_err(|e| format!("{}: {e}", path.display()))?;
    for part in real.ancestors() {
        is_safe(part)?;
    }
    Ok(path)
}

/// As [`installed`], whoever may write to it. Blocks.
///
/// # Errors
/// There is no /proc.
pub(in crate::daemon) fn path() -> std::io::Result<PathBuf> {
    Ok(named(&std::fs::read_link("/proc/self/exe")?))
}

fn named(running: &Path) -> PathBuf {
    let text = running.as_os_str().as_encoded_bytes();
    let named = text.strip_suffix(b" (deleted)").unwrap_or(text);
    PathBuf::from(std::os::unix::ffi::OsStrExt::from_bytes(named) as &std::ffi::OsStr)
}

/// Root, or the server's own user, owns it, and nobody else may write to it. In a directory with the sticky bit nobody
/// replaces what is not theirs.
fn is_safe(path: &Path) -> Result<(), String> {
    let found = path
        .metadata()
        .map_err(|e| format!("{}: {e}", path.display()))?;
    let own = nix::unistd::geteuid().as_raw();
    let is_sticky = found.is_dir() && found.mode() & 0o1000 != 0;
    // A user's own group is theirs.
    let others = if own == 0 { 0o022 } else { 0o002 };
    let is_open = found.mode() & others != 0 && !is_sticky;
    match (found.uid() == 0 || found.uid() == own) && !is_open {
        true => Ok(()),
        false => Err(format!(
            "{} could be changed by another user, so it is not run: chown root and chmod go-w it",
            path.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_replaced_program_is_known_by_its_former_path() {
        let path = Path::new("/usr/bin/procserver");
        assert_eq!(named(path), path);
        assert_eq!(named(Path::new("/usr/bin/procserver (deleted)")), path);
    }

    #[test]
    fn what_others_may_write_to_is_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        std::fs::write(&program, "").unwrap();
        for (mode, is_well) in [(0o755, true), (0o757, false)] {
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_safe(&program).is_ok(), is_well, "{mode:o}");
        }
        is_safe(Path::new("/tmp")).unwrap();
    }
}
