//! What is supervised: this program in one of two small parts.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of a line that is written, its end included.
pub(crate) const LINE: usize = 100;

/// Plays the part that `words` name, if they do.
pub(crate) fn run(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["stamp", file] => stamp(Path::new(file)),
        ["lines", count, lines_per_write, go] => {
            let numbers = (count.parse(), lines_per_write.parse());
            let (Ok(count), Ok(lines_per_write)) = numbers else {
                panic!("lines COUNT LINES-PER-WRITE GO")
            };
            write_lines(count, lines_per_write, Path::new(go)).expect("there is a reader");
        }
        _ => return false,
    }
    true
}

/// Nanoseconds since 1970: a clock that two processes agree on.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.expect("it is later").as_nanos()).expect("it is not that late")
}

/// Says when it ran first, and goes on doing nothing.
fn stamp(file: &Path) {
    let line = format!("{} {}\n", std::process::id(), now());
    let file = File::options().append(true).open(file);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("the file of stamps is there");
    loop {
        std::thread::park();
    }
}

/// Once there is the file `go`, writes numbered lines as fast as they are taken, and goes on doing nothing.
fn write_lines(count: u64, lines_per_write: u64, go: &Path) -> io::Result<()> {
    while !go.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut stdout = File::from(rustix::io::dup(rustix::stdio::stdout())?);
    let mut buffer = Vec::new();
    for number in 0..count {
        // The line, a blank, nine digits, a blank, the rest, its end.
        writeln!(buffer, "line {number:09} {:x>1$}", "", LINE - 16)?;
        if (number + 1) % lines_per_write == 0 || number + 1 == count {
            stdout.write_all(&buffer)?;
            buffer.clear();
        }
    }
    loop {
        std::thread::park();
    }
}
