//! Failpoints: where tests make an actor of a running server panic. A release build has none.

/// Panics if a test asked for it: if the directory `PROCSERVER_FAILPOINTS` holds a file called `name`, which is
/// removed, so that one file is one panic.
#[cfg(debug_assertions)]
pub(crate) fn reach(name: &str) {
    static ARMED: std::sync::OnceLock<Option<std::path::PathBuf>> = std::sync::OnceLock::new();
    let directory = ARMED.get_or_init(|| Some(std::env::var_os("PROCSERVER_FAILPOINTS")?.into()));
    if let Some(directory) = directory {
        let asked = std::fs::remove_file(directory.join(name)).is_ok();
        assert!(!asked, "failpoint {name}");
    }
}

/// Does nothing in this build.
#[cfg(not(debug_assertions))]
pub(crate) fn reach(_: &str) {}

/// The failpoint that every poll of an actor of type `A` reaches is called as the type, without its path.
pub(crate) fn reach_actor<A>() {
    let path = std::any::type_name::<A>();
    reach(path.rsplit("::").next().unwrap_or(path));
}
