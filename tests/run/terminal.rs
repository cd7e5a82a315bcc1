//! A terminal of its own: keys, size, job control, and this side's terminal as it was.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use super::{only, pid_of, start, verb};
use crate::support::machine::{is_alive, send_signal};
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// The program with a terminal, and what it shows.
struct Terminal {
    child: Child,
    master: File,
    own: OwnedFd,
    shown: mpsc::Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn start(server: &Server, words: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let own = ioctl_tiocgptpeer(&master, flags).unwrap();
        resize(&master, 100, 30);
        let stream = || Stdio::from(own.try_clone().unwrap());
        let child = verb(server, &[&["run", "echo"], words].concat())
            .env("TERM", "xterm-test")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        let master = File::from(master);
        let (sender, shown) = mpsc::channel();
        let mut reader = master.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // EIO: nobody has the other side any more.
            while let Ok(read) = reader.read(&mut piece) {
                if read == 0 || sender.send(piece[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            master,
            own,
            shown,
            seen: String::new(),
        }
    }

    fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until it shows this, behind what was seen before.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        assert!(
            self.shows(text, SOON),
            "not shown: {text:?}; but {:?}",
            self.seen
        );
    }

    /// Presses a key until this is shown.
    #[track_caller]
    fn press_until(&mut self, key: &str, text: &str) {
        let deadline = Instant::now() + SOON;
        self.type_in(key);
        while !self.shows(text, Duration::from_millis(500)) {
            assert!(
                Instant::now() < deadline,
                "not shown: {text:?}; but {:?}",
                self.seen
            );
            self.type_in(key);
        }
    }

    /// Whether it shows this in time.
    fn shows(&mut self, text: &str, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left.max(Duration::from_millis(1))) {
                Ok(piece) => self.seen.push_str(&String::from_utf8_lossy(&piece)),
                Err(_) => return false,
            }
        }
    }

    #[track_caller]
    fn exit_code(&mut self) -> Option<i32> {
        eventually("it has ended", SOON, || self.child.try_wait().unwrap()).code()
    }

    /// Whether it echoes what is typed and waits for the end of a line: as it was before.
    fn is_as_before(&self) -> bool {
        let now = tcgetattr(self.own.as_fd()).unwrap();
        let modes = rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO;
        now.local_modes.contains(modes)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _over = self.child.kill();
        let _over = self.child.wait();
    }
}

fn resize(master: impl std::os::fd::AsFd, columns: u16, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).unwrap();
}

#[test]
fn a_console_has_size_keys_and_jobs_and_its_exit_code_is_told() {
    let (server, _repo) = start();
    let mut terminal = Terminal::start(&server, &["--", "bash", "--norc", "--noprofile", "-i"]);
    terminal.expect("$ ");
    assert!(!terminal.is_as_before());
    // In two parts: what is typed is shown as well.
    terminal.type_in("stty size; tty; echo T'ERM' is $TERM\r");
    terminal.expect("30 100");
    terminal.expect("/dev/pts/");
    terminal.expect("TERM is xterm-test");
    resize(&terminal.master, 120, 40);
    let client = i32::try_from(terminal.child.id()).unwrap();
    send_signal(client, Signal::SIGWINCH);
    terminal.type_in("until [ \"$(stty size)\" = '40 120' ]; do :; done; echo res'ized'\r");
    terminal.expect("resized");
    terminal.type_in("echo beg'un'; sleep 600\r");
    terminal.expect("begun");
    // A key counts for who has the terminal by then, which is the shell for a moment.
    terminal.press_until("\u{1a}", "Stopped");
    terminal.expect("$ ");
    terminal.type_in("fg\r");
    terminal.expect("sleep 600");
    terminal.press_until("\u{3}", "$ ");
    terminal.type_in("echo co'de' $?\r");
    terminal.expect("code 130");
    terminal.type_in("exit 9\r");
    assert_eq!(terminal.exit_code(), Some(9));
    assert!(terminal.is_as_before());
}

#[test]
fn the_prompt_of_a_language_takes_ctrl_c_for_itself() {
    let (server, _repo) = start();
    let mut terminal = Terminal::start(&server, &["--", "python3", "-q"]);
    terminal.expect(">>> ");
    terminal.type_in("6 * 7\r");
    terminal.expect("42");
    terminal.type_in("\u{3}");
    terminal.expect("KeyboardInterrupt");
    terminal.type_in("raise SystemExit(5)\r");
    assert_eq!(terminal.exit_code(), Some(5));
    assert!(terminal.is_as_before());
}

#[test]
fn who_hangs_up_ends_the_command_and_whoever_ends_the_client_gets_the_terminal_back() {
    let (server, _repo) = start();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut terminal = Terminal::start(&server, &["echo up; exec sleep 600"]);
        terminal.expect("up");
        let pid = pid_of(&server, &only(&server));
        let client = i32::try_from(terminal.child.id()).unwrap();
        send_signal(client, signal);
        eventually("the command is ended", SOON, || {
            (!is_alive(pid)).then_some(())
        });
        if signal == Signal::SIGTERM {
            assert_eq!(terminal.exit_code(), Some(143));
            assert!(terminal.is_as_before());
        }
    }
}

#[test]
fn a_server_that_is_killed_hangs_up_says_so_and_leaves_the_terminal_as_it_was() {
    let (mut server, _repo) = start();
    // It minds no signal but the last.
    let stubborn = "trap '' HUP TERM; echo up; while :; do sleep 1; done";
    let mut terminal = Terminal::start(&server, &[stubborn]);
    terminal.expect("up");
    let id = only(&server);
    let pid = pid_of(&server, &id);
    server.kill();
    terminal.expect("the server was stopped, killed or replaced");
    assert_eq!(terminal.exit_code(), Some(1));
    assert!(terminal.is_as_before());
    server.start_again();
    eventually("it is ended", SOON, || (!is_alive(pid)).then_some(()));
    let one = super::listed(&server, &id, super::is_over);
    assert!(
        one["last_exit"]["reason"]
            .as_str()
            .unwrap()
            .contains("server ended"),
        "{one}"
    );
}
