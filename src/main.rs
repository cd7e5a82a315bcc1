//! The `procserver` binary: parses arguments, dispatches, turns errors into exit codes.

fn main() {
    if std::env::args().nth(1).as_deref() == Some(procserver::process::exec::VERB) {
        procserver::process::exec::run();
    }
}
