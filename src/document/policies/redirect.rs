//! [`Redirect`]: an entry of the field `redirects` (pure).

use std::collections::{HashMap, HashSet};

/// No request has a longer target: what grows beyond it by redirects never ends.
const LONGEST: usize = 16 * 1024;

/// Statuses that send a client elsewhere (RFC 9110 §15.4).
pub const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// A path, or all below one, and where its clients are sent. Paths are those that the application would see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The path, or with [`Self::is_prefix`] what stands before the `*`, which ends with a slash.
    from: String,
    is_prefix: bool,
    /// A path, or a URL; with [`Self::takes_rest`] the part before the `*`.
    to: String,
    /// What stood in place of `*` is put behind [`Self::to`].
    takes_rest: bool,
    pub status: u16,
}

impl Redirect {
    /// Reads what a document says.
    ///
    /// # Errors
    /// The field that is wrong, `from` or `to`, and a sentence that says what is allowed.
    pub fn parse(from: &str, to: &str, status: u16) -> Result<Self, (&'static str, String)> {
        let (path, is_prefix) = split(from);
        if !is_path(path) || path.contains('?') || is_prefix && !path.ends_with('/') {
            return Err((
                "from",
                "must be a path, \"/old\", or all below one, \"/old/*\"; without a query, and other characters than \
                 visible ASCII as %20"
                    .to_owned(),
            ));
        }
        let (target, takes_rest) = split(to);
        if takes_rest && !is_prefix {
            return Err((
                "to",
                "ends with \"*\", and \"from\" does not: there is nothing to put there".to_owned(),
            ));
        }
        let is_target = is_path(target) && !leads_out(target) || is_url(target);
        if !is_target || takes_rest && (!target.ends_with('/') || target.contains('?')) {
            return Err((
                "to",
                "must be a path, \"/new\", or a URL, \"https://www.example.org/new\"; \"/*\" at its end stands for what \
                 \"*\" of \"from\" was"
                    .to_owned(),
            ));
        }
        Ok(Self {
            from: path.to_owned(),
            is_prefix,
            to: target.to_owned(),
            takes_rest,
            status,
        })
    }

    /// Returns where a request with this path and query is sent, if it is one of those: a URL, or a path. The request's
    /// query goes along.
    fn location(&self, path: &str, query: Option<&str>) -> Option<String> {
        let rest = match self.is_prefix {
            true => path.strip_prefix(&*self.from)?,
            false => (path == self.from).then_some("")?,
        };
        let mut location = self.to.clone();
        if self.takes_rest {
            // "//host" and "/\host" are other hosts to a browser.
            location.push_str(rest.trim_start_matches(['/', '\\']));
        }
        if let Some(query) = query {
            location.push(if location.contains('?') { '&' } else { '?' });
            location.push_str(query);
        }
        // The head was parsed, so there is nothing else in a target. A line end here would be a field of the client's.
        location
            .bytes()
            .all(|b| b.is_ascii_graphic() || b >= 0x80)
            .then_some(location)
    }

    /// Its `from`, as a document has it.
    #[must_use]
    pub fn from(&self) -> String {
        match self.is_prefix {
            true => format!("{}*", self.from),
            false => self.from.clone(),
        }
    }

    /// An example of a path that it is for.
    fn example(&self) -> String {
        match self.is_prefix {
            true => format!("{}x", self.from),
            false => self.from.clone(),
        }
    }
}

/// Returns where the first of `redirects` that is for a request with this target sends it, with its status.
#[must_use]
pub fn first(redirects: &[Redirect], target: &str) -> Option<(String, u16)> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut all = redirects.iter();
    all.find_map(|redirect| Some((redirect.location(path, query)?, redirect.status)))
}

/// Returns the first of `redirects` whose clients are sent on and on without end, as far as paths alone tell.
#[must_use]
pub fn circle(redirects: &[Redirect]) -> Option<usize> {
    Walk::new(redirects).circle()
}

/// Follows redirects, each target once: a chain of a thousand is no more than a thousand steps.
struct Walk<'r> {
    redirects: &'r [Redirect],
    /// Targets from which nobody is sent on without end.
    good: HashSet<String>,
    /// How often it may still ask where a target leads. Many redirects that take each other's rest could lead to more
    /// targets than anybody would look at: then circles go unnoticed.
    steps: usize,
}

impl<'r> Walk<'r> {
    fn new(redirects: &'r [Redirect]) -> Self {
        Self {
            redirects,
            good: HashSet::new(),
            steps: 4 * redirects.len() + 64,
        }
    }

    fn circle(&mut self) -> Option<usize> {
        let redirects = self.redirects;
        redirects
            .iter()
            .position(|redirect| self.is_endless(redirect.example()))
    }

    fn is_endless(&mut self, mut at: String) -> bool {
        let mut passed = HashSet::new();
        // What is for all below a path may be met more than once on a way that ends.
        let most = 2 * self.redirects.len() + 16;
        while !self.good.contains(&at) && self.steps > 0 {
            if passed.len() > most || at.len() > LONGEST || passed.contains(&at) {
                return true;
            }
            self.steps -= 1;
            let next = first(self.redirects, &at);
            passed.insert(at);
            match next {
                Some((next, _)) => at = next,
                None => break,
            }
        }
        self.good.extend(passed);
        false
    }
}

/// The entries that no request ever meets, each with the earlier one that takes all of its paths.
pub fn shadowed(redirects: &[Redirect]) -> impl Iterator<Item = (&Redirect, &Redirect)> {
    // The first entry of each path, and for all below it.
    let (mut exact, mut below) = (HashMap::new(), HashMap::new());
    redirects.iter().filter_map(move |later| {
        let from = &*later.from;
        let mut ends = from.match_indices('/').map(|(at, _)| &from[..=at]);
        let same = exact.get(from).copied().filter(|_| !later.is_prefix);
        let earlier = same.or_else(|| ends.find_map(|path| below.get(path).copied()));
        let known = match later.is_prefix {
            true => &mut below,
            false => &mut exact,
        };
        known.entry(from).or_insert(later);
        Some((later, earlier?))
    })
}

fn split(text: &str) -> (&str, bool) {
    match text.strip_suffix('*') {
        Some(before) => (before, true),
        None => (text, false),
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && is_plain(text)
}

fn is_plain(text: &str) -> bool {
    text.len() <= 1024
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !text.contains(['#', '*', '"', '<', '>', '\\'])
}

/// Whether a browser takes the path for a URL of another host.
fn leads_out(path: &str) -> bool {
    path.starts_with("//")
}

fn is_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    is_plain(text) && host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redirect(from: &str, to: &str) -> Redirect {
        Redirect::parse(from, to, 301).unwrap()
    }

    #[test]
    fn a_path_or_all_below_one_is_sent_elsewhere_with_its_query() {
        for (from, to, target, location) in [
            ("/old", "/new", "/old", Some("/new")),
            ("/old", "/new", "/old?a=1", Some("/new?a=1")),
            ("/old", "/new?b", "/old?a=1", Some("/new?b&a=1")),
            ("/old", "/new", "/old/", None),
            ("/old", "/new", "/older", None),
            ("/old/*", "/new/*", "/old/a/b?c", Some("/new/a/b?c")),
            ("/old/*", "/new/*", "/old/", Some("/new/")),
            ("/old/*", "/new/*", "/old", None),
            ("/old/*", "/new", "/old/a", Some("/new")),
            ("/*", "https://h/*", "/a?b", Some("https://h/a?b")),
            ("/*", "https://h/x/*", "/a", Some("https://h/x/a")),
            // Never to a host of the client's choice.
            (
                "/old/*",
                "/*",
                "/old//evil.example/",
                Some("/evil.example/"),
            ),
            (
                "/old/*",
                "/*",
                "/old/\\/evil.example",
                Some("/evil.example"),
            ),
            ("/*", "/*", "//evil.example", Some("/evil.example")),
        ] {
            let is = first(&[redirect(from, to)], target).map(|(location, _)| location);
            assert_eq!(is.as_deref(), location, "{from} {to} {target}");
        }
    }

    #[test]
    fn what_is_no_redirect_is_refused_with_its_field() {
        for (from, to, field) in [
            ("old", "/new", "from"),
            ("", "/new", "from"),
            ("/old*", "/new", "from"),
            ("/o*d", "/new", "from"),
            ("/old?a", "/new", "from"),
            ("/old\r\n", "/new", "from"),
            ("/old", "", "to"),
            ("/old", "new", "to"),
            ("/old", "//evil.example", "to"),
            ("/old", "/\\evil.example", "to"),
            ("/old", "ftp://h/", "to"),
            ("/old", "https://", "to"),
            ("/old", "https:///x", "to"),
            ("/old", "https://good@evil/", "to"),
            ("/old", "/new/*", "to"),
            ("/old/*", "/new*", "to"),
            ("/old/*", "https://h*", "to"),
            ("/old/*", "/new?to=/*", "to"),
            ("/old", "/new\r\nSet-Cookie: a", "to"),
            ("/old", "/n\u{fc}", "to"),
        ] {
            let refused = Redirect::parse(from, to, 301).map_err(|(field, _)| field);
            assert_eq!(refused.unwrap_err(), field, "{from} {to}");
        }
    }

    #[test]
    fn circles_are_found() {
        let all = |pairs: &[(&str, &str)]| -> Vec<Redirect> {
            pairs.iter().map(|(from, to)| redirect(from, to)).collect()
        };
        assert_eq!(circle(&all(&[("/a", "/b"), ("/b", "/c")])), None);
        assert_eq!(circle(&all(&[("/a", "/a")])), Some(0));
        assert_eq!(
            circle(&all(&[("/x", "/y"), ("/a", "/b"), ("/b", "/a")])),
            Some(1)
        );
        assert_eq!(circle(&all(&[("/*", "/en/*")])), Some(0));
        assert_eq!(circle(&all(&[("/a/*", "/a/b")])), Some(0));
        assert_eq!(circle(&all(&[("/*", "https://h/*")])), None);
        // Its targets grow, and no request has one that long.
        let pad = format!("/{}/*", "a".repeat(1000));
        let mut many: Vec<_> = (0..100)
            .map(|n| redirect(&format!("/q/{n}"), "https://h/"))
            .collect();
        many.push(redirect("/*", &pad));
        assert_eq!(circle(&many), Some(100));
    }

    #[test]
    fn a_thousand_redirects_one_behind_the_other_are_each_followed_once() {
        let link = |n: usize| redirect(&format!("/{n}"), &format!("/{}", n + 1));
        let chain: Vec<_> = (0..1000).map(link).collect();
        let backwards: Vec<_> = (0..1000).rev().map(link).collect();
        for all in [&chain, &backwards] {
            let mut walk = Walk::new(all);
            let before = walk.steps;
            assert_eq!(walk.circle(), None);
            assert_eq!(before - walk.steps, 1001);
        }
        let closed = [chain, vec![redirect("/1000", "/0")]].concat();
        assert_eq!(circle(&closed), Some(0));
        let closed = [backwards, vec![redirect("/1000", "/0")]].concat();
        assert_eq!(circle(&closed), Some(0));
    }

    #[test]
    fn a_way_that_meets_an_entry_again_and_ends_is_no_circle() {
        let shortens = redirect("/a/*", "/*");
        let ends = [redirect("/s", "/a/a/a/a"), shortens.clone()];
        assert_eq!(circle(&ends), None);
        assert_eq!(circle(&[redirect("/*", "/en/*")]), Some(0));
        assert_eq!(circle(&[redirect("/s", "/a/s"), shortens]), Some(0));
    }

    #[test]
    fn what_leads_to_ever_other_targets_is_looked_at_so_long() {
        let mut all: Vec<_> = (0..500)
            .map(|n| redirect(&format!("/s{n}"), &format!("/a0/{n}")))
            .collect();
        all.extend((0..500).map(|n| redirect(&format!("/a{n}/*"), &format!("/a{}/*", n + 1))));
        let mut walk = Walk::new(&all);
        assert_eq!(walk.circle(), None);
        assert_eq!(walk.steps, 0);
    }

    #[test]
    fn what_an_earlier_one_takes_is_found() {
        let all = |from: &[&str]| -> Vec<Redirect> {
            from.iter().map(|from| redirect(from, "/new")).collect()
        };
        let found = |from: &[&str]| -> Vec<(String, String)> {
            let all = all(from);
            let found = shadowed(&all).map(|(later, earlier)| (later.from(), earlier.from()));
            found.collect()
        };
        let pair = |later: &str, earlier: &str| (later.to_owned(), earlier.to_owned());
        assert_eq!(found(&["/a", "/a/*", "/b/c", "/b/*"]), []);
        assert_eq!(
            found(&["/a/*", "/a/b", "/a/", "/a", "/a/b/*", "/c", "/c"]),
            [
                pair("/a/b", "/a/*"),
                pair("/a/", "/a/*"),
                pair("/a/b/*", "/a/*"),
                pair("/c", "/c"),
            ]
        );
    }

    proptest! {
        #[test]
        fn no_target_leads_to_another_host_or_ends_the_line(rest in "[ -~\r\n/\\\\]{0,20}", query in "[ -~\r\n]{0,8}") {
            for (from, to) in [("/old/*", "/*"), ("/old/*", "/new/*"), ("/old/*", "https://h/*")] {
                let Some((location, _)) = first(&[redirect(from, to)], &format!("/old/{rest}?{query}")) else {
                    continue;
                };
                prop_assert!(!location.contains(['\r', '\n', ' ']));
                let stays = location.starts_with("https://h/")
                    || location.starts_with('/') && !location[1..].starts_with(['/', '\\']);
                prop_assert!(stays, "{location}");
            }
        }
    }
}
