//! [`Printer`]: writes lines of logs as text, as JSON, or coloured for a terminal.

use std::collections::HashMap;
use std::io;

use super::feed::Line;
use crate::cli::output::Output;
use crate::document::name::AppName;
use crate::terminal::Shown;

/// foreman's colours in foreman's order: cyan, yellow, green, magenta, blue, and these brightly.
const COLOURS: [u8; 10] = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94];

/// Processes whose colours are remembered; commands that run once have ever new names.
const MOST_LABELS: usize = 1000;

/// No process moves the text of others further to the right.
const WIDEST: usize = 32;

/// What is written at once, in bytes.
const PIECE: usize = 32 << 10;

/// Which colours are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    /// Each process has one, and text those that it came with.
    OfProcesses,
    /// Those of the text.
    OfText,
    None,
}

/// Writes lines of logs.
pub(super) struct Printer {
    is_json: bool,
    /// Each line names its application.
    names_apps: bool,
    /// For a terminal: what an application prints is shown, not obeyed.
    shown: Option<Shown>,
    is_coloured: bool,
    colours: HashMap<String, u8>,
    width: usize,
    unwritten: Vec<u8>,
    /// Whether any line came.
    pub(super) is_empty: bool,
}

impl Printer {
    /// For `out`; `names_apps` where lines of several applications come.
    pub(super) fn new(out: &Output, colours: Colours, names_apps: bool) -> Self {
        let is_coloured = colours == Colours::OfProcesses;
        let is_shown = (out.is_terminal() || is_coloured) && !out.is_json();
        Self {
            is_json: out.is_json(),
            names_apps,
            shown: is_shown.then(|| Shown::new(colours != Colours::None)),
            is_coloured: is_coloured && is_shown,
            colours: HashMap::new(),
            width: 0,
            unwritten: Vec::new(),
            is_empty: true,
        }
    }

    /// A line of `app`. It is written with others, or by [`Printer::flush`].
    pub(super) fn line(&mut self, app: &AppName, line: &Line, out: &mut Output) -> io::Result<()> {
        self.is_empty = false;
        if self.is_json {
            self.json(app, &line.json);
        } else {
            self.text(app, line);
        }
        match self.unwritten.len() >= PIECE {
            true => self.flush(out),
            false => Ok(()),
        }
    }

    /// Says that lines of `app` are missing.
    pub(super) fn lost(&mut self, app: &AppName, lines: u64) {
        if self.is_json {
            self.json(app, &format!("{{\"lost\":{lines}}}"));
        } else {
            let text = format!("-- {lines} lines of {app} are left out: they are gone --\n");
            self.unwritten.extend_from_slice(text.as_bytes());
        }
    }

    /// Writes what is not written yet.
    pub(super) fn flush(&mut self, out: &mut Output) -> io::Result<()> {
        match self.unwritten.is_empty() {
            true => Ok(()),
            false => out.bytes(&std::mem::take(&mut self.unwritten)),
        }
    }

    fn json(&mut self, app: &AppName, object: &str) {
        let object = match (self.names_apps, object.strip_prefix('{')) {
            (true, Some(rest)) => format!("{{\"app\":\"{app}\",{rest}\n"),
            _ => format!("{object}\n"),
        };
        self.unwritten.extend_from_slice(object.as_bytes());
    }

    fn text(&mut self, app: &AppName, line: &Line) {
        let mut label = match self.names_apps {
            true => format!("{app}/{}", line.process),
            false => line.process.clone(),
        };
        let colour = self.is_coloured.then(|| self.colour(&label));
        let Some(shown) = &mut self.shown else {
            let text = format!("{} {label} | {}\n", line.time, line.text);
            return self.unwritten.extend_from_slice(text.as_bytes());
        };
        self.width = self.width.max(label.len().min(WIDEST));
        while label.len() < self.width {
            label.push(' ');
        }
        let head = shown.piece(format!("{} {label} | ", line.time).as_bytes());
        let to = &mut self.unwritten;
        if let Some(colour) = colour {
            to.extend_from_slice(format!("\x1b[{colour}m").as_bytes());
        }
        to.extend(head);
        if colour.is_some() {
            to.extend_from_slice(b"\x1b[0m");
        }
        to.extend(shown.piece(line.text.as_bytes()));
        to.extend(shown.piece(b"\n"));
    }

    /// The colour of a process, which it keeps.
    fn colour(&mut self, label: &str) -> u8 {
        if let Some(colour) = self.colours.get(label) {
            return *colour;
        }
        if self.colours.len() >= MOST_LABELS {
            self.colours.clear();
        }
        let colour = COLOURS[self.colours.len() % COLOURS.len()];
        self.colours.insert(label.to_owned(), colour);
        colour
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(colours: Colours, names_apps: bool, lines: &[(&str, &str, &str)]) -> String {
        let out = Output::discard();
        let mut printer = Printer::new(&out, colours, names_apps);
        for (app, process, text) in lines {
            let line = Line {
                time: "T".into(),
                process: (*process).into(),
                text: (*text).into(),
                json: String::new(),
            };
            let app = AppName::parse(app).unwrap();
            printer.line(&app, &line, &mut Output::discard()).unwrap();
        }
        String::from_utf8(printer.unwritten).unwrap()
    }

    #[test]
    fn each_process_has_a_colour_and_text_can_do_nothing_to_a_terminal() {
        assert_eq!(
            printed(
                Colours::OfProcesses,
                true,
                &[
                    ("a", "web.1", "\x1b[2Jx\x1b[31mred"),
                    ("b", "clock.1", "y"),
                    ("a", "web.1", "z"),
                ]
            ),
            "\x1b[36mT a/web.1 | \x1b[0m\\x1b[2Jx\x1b[31mred\x1b[0m\n\
             \x1b[33mT b/clock.1 | \x1b[0my\n\
             \x1b[36mT a/web.1   | \x1b[0mz\n"
        );
    }

    #[test]
    fn elsewhere_text_is_as_it_is() {
        let lines = [("a", "web.1", "\x1b[2Jx")];
        assert_eq!(
            printed(Colours::OfText, false, &lines),
            "T web.1 | \x1b[2Jx\n"
        );
        assert_eq!(
            printed(Colours::None, true, &lines),
            "T a/web.1 | \x1b[2Jx\n"
        );
    }

    #[test]
    fn names_without_end_have_colours_without_much_memory() {
        let mut printer = Printer::new(&Output::discard(), Colours::OfProcesses, false);
        for number in 0..3 * MOST_LABELS {
            printer.colour(&format!("run.{number}"));
        }
        assert!(printer.colours.len() <= MOST_LABELS);
    }
}
