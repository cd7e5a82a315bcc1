//! The tables, in Markdown, as `src/lib.rs` has them.

use crate::http2;
use crate::measure::{Sample, Samples};
use crate::rows::{ROWS, Row};
use crate::subject::Kind;

/// Prints all rows that were run with one load, with our CPU per request as a share of each other's: user time, and all.
pub(crate) fn print(load: &str, samples: &Samples) {
    println!(
        "\nCPU microseconds per request, user + system (requests per second), medians; {load}:\n"
    );
    println!(
        "| | procserver | nginx | haproxy | relay | of nginx's: user, all | of haproxy's | of the relay's |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for row in ROWS.iter().chain(&http2::ROWS) {
        print_row(samples, row);
    }
    println!();
}

/// Prints what an idle connection takes.
pub(crate) fn print_memory(how: &str, memory: &[(Kind, f64)]) {
    for (kind, kib) in memory {
        println!(
            "memory of an idle keep-alive connection{how}: {} {kib:.1} KiB",
            kind.name()
        );
    }
}

fn print_row(samples: &Samples, row: &Row) {
    let Some(ours) = samples.median(row.name, row.own_kind()) else {
        return;
    };
    let others = [Kind::Nginx, Kind::Haproxy, Kind::Relay].map(|k| samples.median(row.name, k));
    let mut cells = vec![row.title.to_owned(), cell(Some(&ours))];
    cells.extend(others.iter().map(|other| cell(other.as_ref())));
    cells.extend(others.iter().map(|other| {
        other.map_or(String::new(), |o| {
            format!("{:.2}, {:.2}", ours.user / o.user, ours.total() / o.total())
        })
    }));
    println!("| {} |", cells.join(" | "));
    let one = match (row.name, row.own_kind()) {
        ("policies", _) | (_, Kind::ManyApps) => ROWS[0].name,
        (_, Kind::ManyCertificates) => "handshakes",
        _ => return,
    };
    if let Some(one) = samples.median(one, Kind::Ours) {
        let times = ours.total() / one.total();
        println!(
            "| {}, as a multiple of the row of one, or without | {times:.2} |",
            row.title
        );
    }
}

fn cell(sample: Option<&Sample>) -> String {
    sample.map_or(String::new(), |s| {
        let errors = match s.errors {
            0 => String::new(),
            errors => format!(" {errors} errors"),
        };
        format!("{:.1} + {:.1} ({:.0}){errors}", s.user, s.system, s.rate)
    })
}
