//! Without a terminal: bytes in and out as they are, by each way to the API.

use serde_json::json;

use super::{piped, run, start, verb};
use crate::support::command::procserver;
use crate::support::fixture::{document, web_repo};
use crate::support::setup::Setup;
use crate::tls::{certificate, pair};

/// Bytes of each value, more than any pipe on the way holds.
fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(3 << 20).collect()
}

#[test]
fn what_is_piped_in_comes_out_byte_for_byte_and_errors_apart() {
    let (server, _repo) = start();
    let noise = noise();
    let command = verb(&server, &["run", "echo", "cat; echo told >&2; exit 7"]);
    let (code, out, told) = piped(command, &noise);
    assert_eq!((code, told.as_str()), (Some(7), "told\n"));
    assert!(out == noise, "{} of {} bytes", out.len(), noise.len());

    let (code, out, _) = piped(verb(&server, &["run", "echo", "wc -c"]), &noise);
    let count = String::from_utf8(out).unwrap();
    assert_eq!(
        (code, count.trim()),
        (Some(0), noise.len().to_string().as_str())
    );
    // It reads only once all that it says is taken.
    let late = ["run", "echo", "head -c 3000000 /dev/zero; wc -c >&2"];
    let (code, out, told) = piped(verb(&server, &late), &noise);
    assert_eq!((code, out.len()), (Some(0), 3_000_000));
    assert_eq!(told.trim(), noise.len().to_string());
    // It reads nothing, and what it is sent keeps nobody.
    let (code, out, _) = piped(verb(&server, &["run", "echo", "true"]), &noise);
    assert_eq!((code, out.len()), (Some(0), 0));
}

#[test]
fn the_exit_code_is_the_commands_or_that_of_its_signal() {
    let (server, _repo) = start();
    for (command, code) in [
        ("exit 3", 3),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("nosuchprogram", 127),
    ] {
        assert_eq!(run(&server, &[command]).code, Some(code), "{command}");
    }
    let words = ["--", "printf", "%s|", "a b", "$HOME", "it's"];
    assert_eq!(run(&server, &words).success(), "a b|$HOME|it's|");
    let ended = run(&server, &["--timeout", "1s", "--", "sleep", "600"]);
    assert_eq!(ended.code, Some(143));
    assert!(
        ended.stderr.contains("its timeout was over"),
        "{}",
        ended.stderr
    );
}

#[test]
fn it_is_the_same_over_http_and_https() {
    let mut setup = Setup::new();
    let directory = setup.directory().to_owned();
    certificate(&directory, "a", "localhost");
    let port = setup.spare_port();
    setup.set_flag("--tls-listen", &format!("127.0.0.1:{port}"));
    setup.set_flag("--tls-certificate", &pair(&directory, "a"));
    setup.set_flag("--api-hosts", "localhost");
    let (server, repo) = (setup.start(), web_repo("1"));
    server.deploy(&document("echo", &repo));
    let noise = noise();
    for url in [server.url(), format!("https://localhost:{port}")] {
        let mut program = procserver();
        program
            .args(["run", "echo", "cat; exit 9"])
            .env("PROCSERVER_URL", &url)
            .env("PROCSERVER_CA", directory.join("a.pem"))
            .env("PROCSERVER_TOKEN_FILE", directory.join("token"));
        let (code, out, told) = piped(program, &noise);
        assert_eq!(code, Some(9), "{url}: {told}");
        assert!(
            out == noise,
            "{url}: {} of {} bytes",
            out.len(),
            noise.len()
        );
    }
}

#[test]
fn it_runs_as_a_process_of_the_application_does() {
    let (server, _repo) = start();
    let printed = run(
        &server,
        &["echo $PS $PROCSERVER_RELEASE ${PORT-none}; id -un; pwd"],
    );
    let printed = printed.success();
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines[0], "run.1 1 none");
    let user = server.status("echo")["user"].clone();
    if user.is_string() {
        assert_eq!(json!(lines[1]), user);
    }
    assert!(lines[2].ends_with("/apps/echo/releases/1"), "{}", lines[2]);
    let of_command = run(&server, &["-e", "A=of the command", "echo $A"]);
    assert_eq!(of_command.success(), "of the command\n");
    // The file is root's, and nobody may make another.
    let written = run(&server, &["echo x > VERSION"]);
    assert_ne!(written.code, Some(0));
    let reopened = run(&server, &["echo a > /dev/stdout; echo b > /dev/stderr"]);
    assert_eq!(
        (reopened.stdout.as_str(), reopened.stderr.as_str()),
        ("a\n", "b\n")
    );
}
