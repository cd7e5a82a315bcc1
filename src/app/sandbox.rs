//! What all that runs for an App on this machine may reach of it.

use crate::account::Account;
use crate::app_dirs::AppDirs;
use crate::document::config::AppConfig;
use crate::process::landlock::Landlock;
use crate::process::mounts::Mounts;
use crate::settings::Settings;

/// Lets the app write to its own places only: to no release, not even its own, and to nothing else of the server.
#[must_use]
pub fn landlock(
    settings: &Settings,
    dirs: &AppDirs,
    account: Option<&Account>,
) -> Option<Landlock> {
    let server = [settings.data_dir.as_path(), &settings.runtime_dir];
    Landlock::of_app(account, server, dirs)
}

/// Shows the app its own places of the server's directories only, if its document does not say otherwise.
#[must_use]
pub fn mounts(
    settings: &Settings,
    dirs: &AppDirs,
    config: &AppConfig,
    account: Option<&Account>,
) -> Option<Mounts> {
    let account = account.filter(|_| config.sandbox);
    let server = [
        settings.data_dir.as_path(),
        &settings.runtime_dir,
        &settings.config_dir,
    ];
    Mounts::of_app(account, &server, dirs)
}
