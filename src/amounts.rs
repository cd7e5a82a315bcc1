//! Sizes and times as people read them, on the command line and on pages (pure).

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// From here on it would be `1024K`.
const ALMOST_MIB: u64 = MIB - KIB + 1;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// An amount of memory or disk, in the units of documents: `512K`, `19M`, `1.5G`, `2.0T`. What is there is no `0K`.
#[must_use]
pub fn size(bytes: u64) -> String {
    match bytes {
        0..ALMOST_MIB => format!("{}K", bytes.div_ceil(KIB)),
        ALMOST_MIB..GIB => format!("{}M", bytes.max(MIB) / MIB),
        GIB..TIB => format!("{:.1}G", bytes as f64 / GIB as f64),
        _ => format!("{:.1}T", bytes as f64 / TIB as f64),
    }
}

/// How long something took, in seconds: `12 ms`, `3.4 s`, `2 min 5 s`, `1 h 1 min`.
#[must_use]
pub fn took(seconds: f64) -> String {
    match seconds {
        ..0.9995 => format!("{:.0} ms", seconds * 1000.0),
        ..59.95 => format!("{seconds:.1} s"),
        ..60.0 => "1 min 0 s".to_owned(),
        ..3600.0 => format!(
            "{:.0} min {:.0} s",
            (seconds / 60.0).floor(),
            (seconds % 60.0).floor()
        ),
        _ => span(seconds as u64),
    }
}

/// A number of seconds, roughly: `12 s`, `5 min`, `4 h 5 min`, `3 d 4 h`.
#[must_use]
pub fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well_and_are_in_the_units_of_documents() {
        for (bytes, text) in [
            (0, "0K"),
            (1, "1K"),
            (1536, "2K"),
            (MIB - KIB, "1023K"),
            (MIB - 1, "1M"),
            (50 << 20, "50M"),
            (3 << 29, "1.5G"),
            (1 << 41, "2.0T"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_read_well_at_every_size() {
        for (seconds, text) in [
            (0.0124, "12 ms"),
            (0.9999, "1.0 s"),
            (3.44, "3.4 s"),
            (125.0, "2 min 5 s"),
            (3700.0, "1 h 1 min"),
        ] {
            assert_eq!(took(seconds), text);
        }
        let wanted = ["12 s", "5 min", "1 h 1 min", "1 d 1 h"];
        assert_eq!([12, 300, 3700, 90_000].map(span), wanted);
    }
}
