//! Reads the pointer that stands for a file in Git LFS (pure):
//! <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>.

/// A pointer is shorter, bytes.
pub const MAX: u64 = 1024;

/// Versions of the text, the second from before the specification.
const VERSIONS: [&str; 2] = [
    "version https://git-lfs.github.com/spec/v1",
    "version https://hawser.github.com/spec/v1",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// SHA-256 of the content, 64 lower-case hex digits.
    pub id: String,
    /// Bytes of the content.
    pub size: u64,
}

/// `None`: this is another file, or it needs an extension, which would be a command.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Pointer> {
    if bytes.len() as u64 > MAX {
        return None;
    }
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    if !VERSIONS.contains(&lines.next()?) {
        return None;
    }
    let (mut id, mut size) = (None, None);
    for line in lines {
        match line.split_once(' ')? {
            ("oid", value) => id = value.strip_prefix("sha256:"),
            ("size", value) => size = value.parse().ok(),
            _ => return None,
        }
    }
    let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let id = id.filter(|id| id.len() == 64 && id.bytes().all(is_hex))?;
    Some(Pointer {
        id: id.to_owned(),
        size: size?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(oid: &str, rest: &str) -> String {
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 12\n{rest}")
    }

    #[test]
    fn pointers_are_read() {
        let id = "4d7a".repeat(16);
        let expected = Pointer {
            id: id.clone(),
            size: 12,
        };
        assert_eq!(parse(text(&id, "").as_bytes()), Some(expected));
    }

    #[test]
    fn other_files_and_pointers_that_would_lead_elsewhere_are_not() {
        let id = "4d7a".repeat(16);
        for other in [
            String::new(),
            "hello".into(),
            text("../../../../etc/passwd", ""),
            text(&id.to_uppercase(), ""),
            text(&id[1..], ""),
            text(&id, "ext-0-evil sha256:1\n"),
            text(&id, &"#".repeat(2000)),
            text(&id, "").replace("size 12", "size -1"),
        ] {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>, line in "(oid|size|ext-0) .{0,70}") {
            let _ = parse(&bytes);
            let _ = parse(text(&line, &line).as_bytes());
        }
    }
}
