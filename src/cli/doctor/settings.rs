//! The settings file, and the directories that it names.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::DoctorArgs;
use super::report::Finding;
use crate::settings::Settings;
use crate::settings::environment::Environment;
use crate::settings::error::SettingsError;
use crate::settings::raw::RawSettings;

const AS_ROOT: &str = "run \"sudo procserver doctor\"";

/// What a file or directory is like.
#[derive(Debug)]
enum Seen {
    NotThere,
    /// This user cannot see it.
    Hidden,
    As {
        mode: u32,
        uid: u32,
        is_directory: bool,
    },
}

impl Seen {
    fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(found) => Self::As {
                mode: found.permissions().mode() & 0o7777,
                uid: found.uid(),
                is_directory: found.is_dir(),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => Self::NotThere,
            Err(_) => Self::Hidden,
        }
    }
}

/// Reads the settings as a server would. Without them nothing else can be looked at but the machine.
#[must_use]
pub fn checks(args: &DoctorArgs) -> (Option<Settings>, Vec<Finding>) {
    let file = args.config.as_deref();
    let flags = RawSettings {
        data_dir: args.data_dir.clone(),
        runtime_dir: args.runtime_dir.clone(),
        ..RawSettings::default()
    };
    let path = file
        .map(Path::to_owned)
        .or_else(|| Settings::usual_file(&Environment::detect()));
    let loaded = Settings::load(flags, file);
    let mut found = vec![of_file(path.as_deref(), &loaded)];
    if let Some(path) = &path {
        found.extend(mode(path, &Seen::of(path)));
    }
    let settings = loaded.ok();
    if let Some(settings) = &settings {
        let own = rustix::process::geteuid().as_raw();
        found.push(directory(
            "data directory",
            &settings.data_dir,
            &Seen::of(&settings.data_dir),
            own,
        ));
        found.extend(passable(&settings.data_dir, own));
        found.push(directory(
            "documents",
            &settings.config_dir,
            &Seen::of(&settings.config_dir),
            own,
        ));
    }
    (settings, found)
}

fn of_file(path: Option<&Path>, loaded: &Result<Settings, SettingsError>) -> Finding {
    const CHECK: &str = "settings";
    let shown = path.map_or_else(|| "none".into(), |path| path.display().to_string());
    match loaded {
        Ok(_) if path.is_some_and(Path::exists) => {
            Finding::good(CHECK, format!("{shown} is valid"))
        }
        Ok(_) => Finding::good(CHECK, format!("the defaults ({shown} is not there)")),
        Err(SettingsError::Read { path, source })
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Finding::unseen(CHECK, format!("{}: {source}", path.display()), AS_ROOT)
        }
        Err(error) => Finding::poor(
            CHECK,
            error.to_string(),
            format!("no server starts with them: edit {shown}"),
        ),
    }
}

/// Others who can read the settings read what is secret in them.
fn mode(path: &Path, seen: &Seen) -> Option<Finding> {
    const CHECK: &str = "mode of the settings";
    let shown = path.display();
    match seen {
        Seen::As { mode, .. } if mode & 0o022 != 0 => Some(Finding::poor(
            CHECK,
            format!("others can write to {shown} (mode {mode:04o}), and so be root"),
            format!("type \"chmod 600 {shown}\""),
        )),
        Seen::As { mode, .. } if mode & 0o044 != 0 && holds_secrets(path) => {
            Some(Finding::warning(
                CHECK,
                format!(
                    "others can read {shown} (mode {mode:04o}), which has `env` or an account's key"
                ),
                format!("type \"chmod 600 {shown}\""),
            ))
        }
        Seen::As { .. } | Seen::NotThere | Seen::Hidden => None,
    }
}

/// Whether a settings file has what is likely secret: variables of applications, or the key of an account.
fn holds_secrets(path: &Path) -> bool {
    let text = crate::regular::read(path, 1 << 20).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let table = text.parse::<toml::Table>().unwrap_or_default();
    let has_key = table
        .get("acme")
        .is_some_and(|acme| acme.get("eab").is_some());
    table.contains_key("env") || has_key
}

fn directory(check: &str, path: &Path, seen: &Seen, own: u32) -> Finding {
    let shown = path.display();
    match seen {
        Seen::NotThere => Finding::good(check, format!("{shown} is made at the first start")),
        Seen::Hidden => Finding::unseen(check, format!("{shown} is not for this user"), AS_ROOT),
        Seen::As {
            is_directory: false,
            ..
        } => Finding::poor(check, format!("{shown} is no directory"), "move it away"),
        Seen::As { mode, .. } if mode & 0o022 != 0 => Finding::poor(
            check,
            format!("others can write to {shown} (mode {mode:04o}), and so be root"),
            format!("type \"chmod go-w {shown}\""),
        ),
        Seen::As { mode, .. } if mode & 0o044 != 0 => Finding::warning(
            check,
            format!("others can list {shown} (mode {mode:04o})"),
            format!("type \"chmod go-r {shown}\""),
        ),
        Seen::As { uid, .. } if *uid != own && own == 0 => Finding::warning(
            check,
            format!("{shown} belongs to user {uid}, not to root"),
            format!("type \"chown root {shown}\", if a server of root uses it"),
        ),
        Seen::As { .. } => Finding::good(check, shown.to_string()),
    }
}

/// Where applications have users of their own, these pass through to their files.
fn passable(data_dir: &Path, own: u32) -> Option<Finding> {
    if own != 0 {
        return None;
    }
    let real: PathBuf = data_dir.canonicalize().ok()?;
    let closed = real.ancestors().find(|path| {
        let seen = Seen::of(path);
        matches!(seen, Seen::As { mode, .. } if mode & 0o001 == 0)
    })?;
    Some(Finding::warning(
        "way to the data directory",
        format!(
            "users of applications cannot pass through {}",
            closed.display()
        ),
        format!("type \"chmod o+x {}\"", closed.display()),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    fn seen(mode: u32) -> Seen {
        Seen::As {
            mode,
            uid: 0,
            is_directory: true,
        }
    }

    #[test]
    fn a_directory_that_others_write_to_is_missing_and_one_they_list_a_warning() {
        let level = |seen: &Seen| directory("data directory", Path::new("/d"), seen, 0).level;
        assert_eq!(level(&seen(0o711)), Level::Ok);
        assert_eq!(level(&seen(0o755)), Level::Warning);
        assert_eq!(level(&seen(0o777)), Level::Missing);
        assert_eq!(level(&Seen::NotThere), Level::Ok);
        assert_eq!(level(&Seen::Hidden), Level::Unseen);
    }

    #[test]
    fn settings_with_secrets_that_others_read_are_told() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("p.toml");
        let level = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            super::mode(&path, &Seen::of(&path)).map(|finding| finding.level)
        };
        assert_eq!(level("workers = 1", 0o644), None);
        assert_eq!(
            level("[env]\nKEY = \"secret\"", 0o644),
            Some(Level::Warning)
        );
        assert_eq!(level("[env]\nKEY = \"secret\"", 0o600), None);
        assert_eq!(level("workers = 1", 0o666), Some(Level::Missing));
    }

    #[test]
    fn settings_that_are_wrong_say_where() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("p.toml");
        std::fs::write(&path, "lisen = []\n").unwrap();
        let look = || {
            checks(&DoctorArgs {
                config: Some(path.clone()),
                data_dir: Some(home.path().to_owned()),
                runtime_dir: Some("/run/elsewhere".into()),
                json: false,
            })
        };
        let (settings, found) = look();
        assert!(settings.is_none());
        assert_eq!(found[0].level, Level::Missing);
        assert!(found[0].found.contains("line 1"), "{found:?}");
        std::fs::write(&path, "workers = 1\n").unwrap();
        let settings = look().0.unwrap();
        assert_eq!(settings.runtime_dir, Path::new("/run/elsewhere"));
    }
}
