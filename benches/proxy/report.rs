//! The table.

use crate::measure::{Sample, Samples};
use crate::rows::{ROWS, Row};
use crate::subject::Kind;

/// Prints all rows that were run, with our CPU per request as a share of each other's.
pub(crate) fn print(samples: &Samples, memory: &[(Kind, f64)]) {
    println!(
        "\nCPU microseconds per request (requests per second), medians; procserver = 1 over the others\n"
    );
    println!(
        "{:<28}{:>18}{:>18}{:>18}{:>18}   CPU ratios: nginx haproxy relay",
        "", "procserver", "nginx", "haproxy", "relay"
    );
    for row in &ROWS {
        print_row(samples, row);
    }
    for (kind, kib) in memory {
        println!(
            "memory per idle keep-alive connection: {:<10} {kib:.1} KiB",
            kind.name()
        );
    }
}

fn print_row(samples: &Samples, row: &Row) {
    let own = if row.hosts > 1 {
        Kind::ManyApps
    } else {
        Kind::Front
    };
    let Some(ours) = samples.median(row.name, own) else {
        return;
    };
    let others = [Kind::Nginx, Kind::Haproxy, Kind::Relay].map(|k| samples.median(row.name, k));
    let mut line = format!("{:<28}{:>18}", row.title, cell(Some(&ours)));
    for other in &others {
        line.push_str(&format!("{:>18}", cell(other.as_ref())));
    }
    line.push_str("   ");
    for other in &others {
        let ratio = other.map_or("-".into(), |o| format!("{:.2}", ours.cpu / o.cpu));
        line.push_str(&format!("{ratio:>7}"));
    }
    if row.hosts > 1
        && let Some(first) = samples.median(ROWS[0].name, Kind::Front)
    {
        line.push_str(&format!("   {:.3} x row one", ours.cpu / first.cpu));
    }
    println!("{line}");
}

fn cell(sample: Option<&Sample>) -> String {
    sample.map_or("-".into(), |s| {
        let errors = match s.errors {
            0 => String::new(),
            errors => format!(" {errors} errors"),
        };
        format!("{:.1} ({:.0}){errors}", s.cpu, s.rate)
    })
}
