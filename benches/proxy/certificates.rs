//! Many certificates: their files, the settings that name them, and what a start with them costs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cores;
use crate::measure;
use crate::product::server::Server;
use crate::subject::free_address;

/// How many there are where there are many.
pub(crate) const MANY: usize = 1000;

/// How often a start is timed.
const STARTS: usize = 5;

/// Writes `count` certificates for `www0.tcp.example.org` and so on, and the settings that name them and a default one.
/// Returns the settings' file.
pub(crate) fn write(directory: &Path, count: usize) -> PathBuf {
    let at = directory.join("certificates");
    std::fs::create_dir_all(&at).expect("the temporary directory is ours");
    let named = (0..count).map(|n| pair(&at, &format!("www{n}.tcp.example.org")));
    let named: Vec<String> = named.collect();
    let mut settings = format!("[tls]\ncertificates = [{}]\n", named.join(", "));
    // wrk asks for no name where it is given an address.
    let default = pair(&at, "tcp.example.org");
    writeln!(settings, "default_certificate = {default}").expect("memory");
    let path = directory.join("procserver.toml");
    std::fs::write(&path, settings).expect("the temporary directory is ours");
    path
}

/// Writes a certificate and its key, as the settings name them.
fn pair(at: &Path, name: &str) -> String {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let texts = [made.cert.pem(), made.signing_key.serialize_pem()];
    let paths = ["pem", "key"].map(|kind| at.join(format!("{name}.{kind}")));
    for (path, text) in paths.iter().zip(texts) {
        std::fs::write(path, text).expect("the temporary directory is ours");
    }
    let [cert, key] = paths.map(|path| path.display().to_string());
    format!("{{ cert = \"{cert}\", key = \"{key}\" }}")
}

/// Prints how long a start takes and how much memory it leaves, with one certificate and with many.
pub(crate) fn print_starts(directory: &Path) {
    for count in [1, MANY] {
        let directory = tempfile::tempdir_in(directory).expect("a temporary directory");
        crate::product::server::open_to_all(directory.path());
        let settings = write(directory.path(), count).display().to_string();
        let mut starts: Vec<(Duration, u64)> = (0..STARTS)
            .map(|n| start(&directory.path().join(n.to_string()), &settings))
            .collect();
        starts.sort_unstable();
        let (time, kib) = starts[STARTS / 2];
        let milliseconds = time.as_secs_f64() * 1e3;
        println!("start with {count} certificates: {milliseconds:.0} ms, {kib} KiB in memory");
    }
}

fn start(data: &Path, settings: &str) -> (Duration, u64) {
    let address = free_address().to_string();
    let arguments = [
        "--workers",
        "1",
        "--tls-listen",
        &address,
        "--config",
        settings,
    ];
    cores::pin(cores::PROXY);
    let begun = Instant::now();
    let server = Server::start(data, &arguments);
    let time = begun.elapsed();
    cores::pin(cores::LOAD);
    let kib = measure::resident_of(server.child.id()).unwrap_or_default();
    (time, kib)
}
