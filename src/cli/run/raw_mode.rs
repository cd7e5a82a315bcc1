//! [`RawMode`]: this program's terminal, while another terminal takes its place.

use std::io;

use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Each key goes on as it is typed, Ctrl-C as well. Dropped, it is as it was.
pub(super) struct RawMode {
    before: Termios,
}

impl RawMode {
    pub(super) fn enter() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Where it hangs, there is nothing to restore.
        let _gone = tcsetattr(stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Columns and rows of the terminal; `None`: it does not know.
pub(super) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}
