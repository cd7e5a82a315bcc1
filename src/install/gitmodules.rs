//! Reads `.gitmodules`, which anybody who may push has written (pure).

use std::collections::BTreeMap;

use crate::document::repository_url::Parts;

/// An entry of `.gitmodules`, as it is written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is checked out, relative to the repository's own directory.
    pub path: String,
    /// May be relative to the repository's own URL.
    pub url: String,
}

/// Reads the output of `git config -z --get-regexp`: `KEY\nVALUE\0`. The last value of a key counts. Entries without
/// path or URL are left out, and so are all other keys (`update` could be a command).
#[must_use]
pub fn entries(output: &str) -> Vec<Entry> {
    let mut found: BTreeMap<&str, (Option<&str>, Option<&str>)> = BTreeMap::new();
    for item in output.split('\0') {
        let Some((key, value)) = item.split_once('\n') else {
            continue;
        };
        let Some((name, field)) = key
            .strip_prefix("submodule.")
            .and_then(|k| k.rsplit_once('.'))
        else {
            continue;
        };
        let entry = found.entry(name).or_default();
        match field {
            "path" => entry.0 = Some(value),
            "url" => entry.1 = Some(value),
            _ => {}
        }
    }
    let complete = |(path, url): (Option<&str>, Option<&str>)| {
        Some(Entry {
            path: path?.trim_end_matches('/').to_owned(),
            url: url?.to_owned(),
        })
    };
    found.into_values().filter_map(complete).collect()
}

/// Reads the output of `git ls-tree -r -d -z`: path and commit of every submodule.
#[must_use]
pub fn links(output: &str) -> Vec<(String, String)> {
    let link = |item: &str| {
        let (head, path) = item.split_once('\t')?;
        let commit = head.strip_prefix("160000 commit ")?;
        Some((path.to_owned(), commit.trim().to_owned()))
    };
    output.split('\0').filter_map(link).collect()
}

/// Whether `path` stays below the directory that it is joined to, and outside of git's own directories.
#[must_use]
pub fn is_inside(path: &str) -> bool {
    let is_plain = |part: &str| {
        let lower = part.to_ascii_lowercase();
        !matches!(lower.as_str(), "" | "." | ".." | ".git" | "git~1") && !part.contains('\0')
    };
    path.split('/').all(is_plain)
}

/// Makes `url` absolute: one that begins with `./` or `../` is relative to `parent`, the repository's URL
/// (git-submodule(1), `add`). `None`: it leads out of the parent's server.
#[must_use]
pub fn resolved(url: &str, parent: &str) -> Option<String> {
    if !url.starts_with("./") && !url.starts_with("../") {
        return Some(url.to_owned());
    }
    let parent = parent.split(['?', '#']).next().unwrap_or_default();
    let (server, path) = split(parent)?;
    let mut parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    let mut rest = url;
    loop {
        if let Some(after) = rest.strip_prefix("../") {
            parts.pop()?;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else {
            break;
        }
    }
    parts.extend(rest.split('/').filter(|p| !p.is_empty()));
    // Nobody needs a relative URL that goes up again in its middle.
    let is_plain = !parts.iter().any(|p| matches!(*p, "." | ".."));
    let slash = if path.starts_with('/') { "/" } else { "" };
    (is_plain && !parts.is_empty()).then(|| format!("{server}{slash}{}", parts.join("/")))
}

/// A URL's server (`https://host`, `user@host:`, nothing) and its path.
fn split(url: &str) -> Option<(&str, &str)> {
    let path = match Parts::of(url)? {
        Parts::Path(path) | Parts::ScpLike { path, .. } => path,
        Parts::Url { path: "", .. } => return None,
        Parts::Url { path, .. } => path,
    };
    Some(url.split_at(url.len() - path.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_a_path_and_a_url() {
        let output = "submodule.a.path\nlib/a/\0submodule.a.url\n../a\0submodule.a.update\n!id\0\
                      submodule.x.y.path\np\0submodule.x.y.url\nold\0submodule.x.y.url\nnew\0submodule.b.path\nb\0";
        let entry = |path: &str, url: &str| Entry {
            path: path.into(),
            url: url.into(),
        };
        assert_eq!(entries(output), [entry("lib/a", "../a"), entry("p", "new")]);
    }

    #[test]
    fn links_are_told_from_directories() {
        let output = "040000 tree 11\tlib\x00160000 commit 22\tlib/a b\0";
        assert_eq!(links(output), [("lib/a b".to_owned(), "22".to_owned())]);
    }

    #[test]
    fn paths_stay_inside() {
        for good in ["a", "a/b", "a b/..c", ".github"] {
            assert!(is_inside(good), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a//b",
            "../a",
            "a/../b",
            "a/.git",
            ".GIT",
            "a/.Git/hooks",
            ".",
            "git~1",
        ] {
            assert!(!is_inside(bad), "{bad}");
        }
    }

    #[test]
    fn relative_urls_are_beside_the_parent() {
        for (url, parent, expected) in [
            ("../b.git", "https://h/x/a.git", Some("https://h/x/b.git")),
            ("./b", "https://h/x/a.git/", Some("https://h/x/a.git/b")),
            ("../../y/b", "ssh://g@h:22/x/a", Some("ssh://g@h:22/y/b")),
            ("../b", "git@h:x/a.git", Some("git@h:x/b")),
            ("../b", "git@h:a.git", Some("git@h:b")),
            ("../b", "git@[::1]:x/a", Some("git@[::1]:x/b")),
            ("../b", "/srv/a", Some("/srv/b")),
            ("../b", "file:///srv/a", Some("file:///srv/b")),
            ("../b", "https://h/a?token=1", Some("https://h/b")),
            ("../../b", "https://h/a", None),
            ("../../../evil/b", "https://h/x/a", None),
            ("../x/../../b", "https://h/x/a", None),
            ("..", "https://h/x/a", Some("..")),
            ("https://o/b", "https://h/a", Some("https://o/b")),
        ] {
            assert_eq!(resolved(url, parent).as_deref(), expected, "{url} {parent}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics_and_no_relative_url_leaves_its_server(url in "[./a-z@:\\[\\]?#-]{0,20}", output: String) {
            let _ = entries(&output);
            let _ = links(&output);
            if url.starts_with("./") || url.starts_with("../") {
                let found = resolved(&url, "https://h/x/y/z");
                proptest::prop_assert!(found.is_none_or(|f| f.starts_with("https://h/")));
            }
        }
    }
}
