//! The `procserver` binary: parses arguments, dispatches, turns errors into exit codes.

fn main() {}
