//! What a push wants of a ref, and what becomes of it (pure).

/// A ref that a push changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// The full ids before and after; all zeros: there is none.
    pub(super) old: String,
    pub(super) new: String,
    pub(super) name: String,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is deployed, and moves if that succeeds.
    Deploy,
    /// It moves at once: nothing comes of it.
    Take,
    /// Why it does not move.
    Refuse(String),
}

impl Wish {
    /// Reads `OLD NEW NAME`.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?.trim_end_matches('\n');
        let mut words = text.splitn(3, ' ');
        let (old, new, name) = (words.next()?, words.next()?, words.next()?);
        let is_id =
            |id: &str| matches!(id.len(), 40 | 64) && id.bytes().all(|b| b.is_ascii_hexdigit());
        (is_id(old) && is_id(new) && !name.is_empty()).then(|| Self {
            old: old.to_owned(),
            new: new.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The commit that the branch had before; `None`: there was none.
    pub(super) fn before(&self) -> Option<&str> {
        (!is_none(&self.old)).then_some(self.old.as_str())
    }

    /// What becomes of it where `branch` is deployed.
    pub(super) fn judge(&self, branch: &str) -> Judgement {
        if self.name.starts_with("refs/tags/") {
            return Judgement::Take;
        }
        let Some(name) = self.name.strip_prefix("refs/heads/") else {
            return Judgement::Refuse("only branches and tags are taken here".to_owned());
        };
        if name != branch {
            return Judgement::Refuse(format!(
                "only {branch} is deployed here: git push URL {name}:{branch}"
            ));
        }
        match is_none(&self.new) {
            true => Judgement::Refuse(format!("{branch} is deployed, and cannot be deleted")),
            false => Judgement::Deploy,
        }
    }
}

/// Why a ref stays where it is, though nothing is wrong with it.
pub(super) const ALL_OR_NONE: &str =
    "another ref of this push is refused, and --atomic wants all or none";

/// Whether git's greeting says that all refs of the push move, or none (githooks(5), `proc-receive`).
pub(super) fn is_atomic(greeting: &[u8]) -> bool {
    let mut parts = greeting.splitn(2, |byte| *byte == 0);
    let (_version, words) = (parts.next(), parts.next().unwrap_or_default());
    let mut words = words.split(u8::is_ascii_whitespace);
    words.any(|word| word == b"atomic")
}

/// What becomes of all refs of a push. What is deployed comes first: where all refs move or none, nothing else has moved
/// by then.
pub(super) fn judge_all<'a>(
    wishes: &'a [Wish],
    branch: &str,
    is_atomic: bool,
) -> Vec<(&'a Wish, Judgement)> {
    let judged = wishes.iter().map(|wish| (wish, wish.judge(branch)));
    let mut judged: Vec<_> = judged.collect();
    let is_refused = |judgement: &Judgement| matches!(judgement, Judgement::Refuse(_));
    if is_atomic && judged.iter().any(|(_, judgement)| is_refused(judgement)) {
        for (_, judgement) in judged.iter_mut().filter(|(_, own)| !is_refused(own)) {
            *judgement = Judgement::Refuse(ALL_OR_NONE.to_owned());
        }
    }
    judged.sort_by_key(|(_, judgement)| *judgement != Judgement::Deploy);
    judged
}

fn is_none(id: &str) -> bool {
    id.bytes().all(|b| b == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(name: &str) -> Wish {
        let (old, new) = ("0".repeat(40), "a".repeat(40));
        Wish::parse(format!("{old} {new} {name}").as_bytes()).unwrap()
    }

    #[test]
    fn git_says_whether_a_push_is_atomic() {
        assert!(is_atomic(b"version=1\0atomic push-options\n"));
        assert!(is_atomic(b"version=1\0push-options atomic"));
        for other in [
            &b"version=1"[..],
            b"version=1\0",
            b"version=1 atomic",
            b"version=1\0nonatomic",
        ] {
            assert!(!is_atomic(other));
        }
    }

    #[test]
    fn what_is_deployed_is_first_and_of_an_atomic_push_all_is_refused_or_nothing() {
        let names = ["refs/tags/v1", "refs/heads/main", "refs/heads/other"];
        let wishes = names.map(wish);
        let of = |wishes, is_atomic| -> Vec<(&str, bool)> {
            let judged = judge_all(wishes, "main", is_atomic).into_iter();
            let refused = |own: &Judgement| matches!(own, Judgement::Refuse(_));
            judged
                .map(|(wish, own)| (wish.name.as_str(), refused(&own)))
                .collect()
        };
        let [tag, main, other] = names;
        assert_eq!(
            of(&wishes, false),
            [(main, false), (tag, false), (other, true)]
        );
        assert!(of(&wishes, true).iter().all(|(_, refused)| *refused));
        assert_eq!(of(&wishes[..2], true), [(main, false), (tag, false)]);
    }

    #[test]
    fn one_branch_is_deployed_and_tags_come_along() {
        let (none, id) = ("0".repeat(40), "a".repeat(40));
        let judged = |old: &str, new: &str, name: &str| {
            let line = format!("{old} {new} {name}");
            Wish::parse(line.as_bytes()).unwrap().judge("main")
        };
        assert_eq!(judged(&none, &id, "refs/heads/main"), Judgement::Deploy);
        assert_eq!(judged(&none, &id, "refs/tags/v1"), Judgement::Take);
        assert_eq!(judged(&id, &none, "refs/tags/v1"), Judgement::Take);
        for (new, name, says) in [
            (&none, "refs/heads/main", "cannot be deleted"),
            (&id, "refs/heads/master", "master:main"),
            (&id, "refs/procserver/held", "only branches and tags"),
            (&id, "HEAD", "only branches and tags"),
        ] {
            let Judgement::Refuse(why) = judged(&id, new, name) else {
                panic!("{name}");
            };
            assert!(why.contains(says), "{why}");
        }
        for bad in ["", "a b c", &format!("{id} {id}"), &format!("{id} {id} ")] {
            assert_eq!(Wish::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
