//! [`Directories`]: where a server keeps its configuration, data and sockets.

use std::path::PathBuf;

use super::environment::Environment;
use super::error::{LONGEST_SOCKET_PATH, SettingsError};
use super::raw::RawSettings;

/// The three directories, absolute.
pub(super) struct Directories {
    pub(super) config: PathBuf,
    pub(super) data: PathBuf,
    pub(super) runtime: PathBuf,
}

impl Directories {
    /// `private` is the data directory if a flag or a variable named it. Directories that are not named are then inside
    /// it.
    pub(super) fn of(
        raw: &RawSettings,
        private: Option<PathBuf>,
        around: &Environment,
    ) -> Result<Self, SettingsError> {
        let inside = |tail: &str| private.as_ref().map(|data| data.join(tail));
        let data = match (&raw.data_dir, around.root) {
            (Some(data), _) => data.clone(),
            (None, true) => "/var/lib/procserver".into(),
            (None, false) => {
                let home = around
                    .data_home
                    .as_ref()
                    .ok_or(SettingsError::NoHome("data directory"))?;
                home.join("procserver")
            }
        };
        let config = match (
            raw.config_dir.clone().or_else(|| inside("config")),
            around.root,
        ) {
            (Some(config), _) => config,
            (None, true) => "/etc/procserver/config".into(),
            (None, false) => {
                let home = around
                    .config_home
                    .as_ref()
                    .ok_or(SettingsError::NoHome("config directory"))?;
                home.join("procserver/config")
            }
        };
        let runtime = match (
            raw.runtime_dir.clone().or_else(|| inside("run")),
            around.root,
        ) {
            (Some(runtime), _) => runtime,
            (None, true) => "/run/procserver".into(),
            (None, false) => match &around.runtime_dir {
                Some(runtime) => runtime.join("procserver"),
                // No login session, so no $XDG_RUNTIME_DIR: a cron job or a container.
                None => data.join("run"),
            },
        };
        let found = Self {
            config: absolute(config)?,
            data: absolute(data)?,
            runtime: absolute(runtime)?,
        };
        if found.data == found.runtime {
            return Err(SettingsError::OneDirectory(found.data));
        }
        let socket = found.runtime.join("procserver.sock");
        let length = socket.as_os_str().len();
        if length > LONGEST_SOCKET_PATH {
            return Err(SettingsError::SocketPath(socket, length));
        }
        Ok(found)
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, SettingsError> {
    std::path::absolute(&path).map_err(|source| SettingsError::Path { path, source })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::Settings;

    fn with_data_dir(dir: &str) -> RawSettings {
        RawSettings {
            data_dir: Some(dir.into()),
            ..RawSettings::default()
        }
    }

    #[test]
    fn a_data_dir_given_as_flag_holds_the_whole_instance() {
        let flag = Settings::resolve(
            with_data_dir("/x"),
            RawSettings::default(),
            &Environment::example(true),
        )
        .unwrap();
        assert_eq!(
            (flag.config_dir, flag.runtime_dir),
            ("/x/config".into(), "/x/run".into())
        );
        let file = Settings::resolve(
            RawSettings::default(),
            with_data_dir("/x"),
            &Environment::example(true),
        )
        .unwrap();
        assert_eq!(file.config_dir, Path::new("/etc/procserver/config"));
        assert_eq!(file.data_dir, Path::new("/x"));
    }

    #[test]
    fn one_directory_for_data_and_runtime_is_refused() {
        let raw = RawSettings {
            runtime_dir: Some("/tmp/x".into()),
            ..with_data_dir("/tmp/x")
        };
        let error = Settings::resolve(raw, RawSettings::default(), &Environment::example(true))
            .unwrap_err();
        assert!(error.to_string().contains("both /tmp/x"), "{error}");
    }

    #[test]
    fn a_socket_path_that_the_kernel_refuses_is_refused_before() {
        let long = format!("/{}", "d".repeat(100));
        let error = Settings::resolve(
            with_data_dir(&long),
            RawSettings::default(),
            &Environment::example(true),
        )
        .unwrap_err();
        assert!(error.to_string().contains("--runtime-dir"), "{error}");
    }

    #[test]
    fn without_a_home_a_data_dir_must_be_named() {
        let homeless = Environment {
            config_home: None,
            data_home: None,
            runtime_dir: None,
            ..Environment::example(false)
        };
        let nothing = Settings::resolve(RawSettings::default(), RawSettings::default(), &homeless);
        assert!(matches!(nothing, Err(SettingsError::NoHome(_))));
        assert!(Settings::resolve(with_data_dir("/x"), RawSettings::default(), &homeless).is_ok());
    }
}
