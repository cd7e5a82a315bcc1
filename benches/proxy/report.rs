//! The table.

use crate::measure::{Sample, Samples};
use crate::rows::{ROWS, Row};
use crate::subject::Kind;

/// Prints all rows that were run with one load, with our CPU per request as a share of each other's: user time, and all.
pub(crate) fn print(load: &str, samples: &Samples, memory: &[(Kind, f64)]) {
    println!(
        "\n{load}\nCPU microseconds per request, user + system (requests per second), medians\n"
    );
    println!(
        "{:<30}{:>22}{:>22}{:>22}{:>22}   user, all: nginx    haproxy      relay",
        "", "procserver", "nginx", "haproxy", "relay"
    );
    for row in &ROWS {
        print_row(samples, row);
    }
    for (kind, kib) in memory {
        let name = kind.name();
        println!("memory per idle keep-alive connection: {name:<10} {kib:.1} KiB");
    }
}

fn print_row(samples: &Samples, row: &Row) {
    let own = if row.hosts > 1 {
        Kind::ManyApps
    } else {
        Kind::Ours
    };
    let Some(ours) = samples.median(row.name, own) else {
        return;
    };
    let others = [Kind::Nginx, Kind::Haproxy, Kind::Relay].map(|k| samples.median(row.name, k));
    let mut line = format!("{:<30}{:>22}", row.title, cell(Some(&ours)));
    for other in &others {
        line.push_str(&format!("{:>22}", cell(other.as_ref())));
    }
    line.push_str("       ");
    for other in &others {
        let ratios = other.map_or("-".into(), |o| {
            format!("{:.2} {:.2}", ours.user / o.user, ours.total() / o.total())
        });
        line.push_str(&format!("{ratios:>11}"));
    }
    if row.hosts > 1
        && let Some(first) = samples.median(ROWS[0].name, Kind::Ours)
    {
        line.push_str(&format!("   {:.3} x row one", ours.total() / first.total()));
    }
    println!("{line}");
}

fn cell(sample: Option<&Sample>) -> String {
    sample.map_or("-".into(), |s| {
        let errors = match s.errors {
            0 => String::new(),
            errors => format!(" {errors} errors"),
        };
        format!("{:.1}+{:.1} ({:.0}){errors}", s.user, s.system, s.rate)
    })
}
