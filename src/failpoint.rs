//! Failpoints: tests make an actor of a running server panic there, or kill the whole server as with `kill -9`. A
//! release build has none.

/// Panics if a test asked for it: if the directory `PROCSERVER_FAILPOINTS` holds a file called `name`, which is
/// removed, so that one file is one panic. If the file says `kill`, the server kills itself instead; if it says `hang`,
/// this thread does nothing any more; if `wait FILE`, until there is such a file.
#[cfg(debug_assertions)]
pub(crate) fn reach(name: &str) {
    static ARMED: std::sync::OnceLock<Option<std::path::PathBuf>> = std::sync::OnceLock::new();
    let directory = ARMED.get_or_init(|| Some(std::env::var_os("PROCSERVER_FAILPOINTS")?.into()));
    if let Some(directory) = directory {
        let path = directory.join(name);
        let says = std::fs::read_to_string(&path);
        let asked = std::fs::remove_file(path).is_ok();
        match says.as_deref() {
            // Of oneself it takes effect before it returns.
            Ok("kill") => drop(nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)),
            Ok("hang") => loop {
                std::thread::park();
            },
            Ok(text) if text.starts_with("wait ") => {
                let until = std::path::Path::new(text.trim_start_matches("wait "));
                while !until.exists() {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                return;
            }
            _ => {}
        }
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

/// The failpoint `WHEN DIRECTORY FILE` around the replacement of a file, e.g. `before releases 2.json`.
pub(crate) fn reach_file(when: &str, path: &std::path::Path) {
    if cfg!(debug_assertions) {
        let name = |path: Option<&std::path::Path>| {
            let name = path.and_then(std::path::Path::file_name);
            name.unwrap_or_default().to_string_lossy().into_owned()
        };
        reach(&format!(
            "{when} {} {}",
            name(path.parent()),
            name(Some(path))
        ));
    }
}
