//! [`Watchers`]: bounds how many answers that never end browsers have at a time: in all, by caller, and by browser.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::visitor::Visitor;
use crate::api::caller::Caller;
use crate::api::problem::Problem;
use crate::tokens::token::Digest;

const MOST: usize = 500;

/// However many sessions somebody begins with a token, most is left for others.
const MOST_OF_CALLER: usize = 100;
const MOST_OF_BROWSER: usize = 20;

/// The answers to browsers that never end by themselves. All clones are one.
#[derive(Clone, Debug, Default)]
pub struct Watchers(Arc<Mutex<HashMap<Owner, usize>>>);

/// Whose an answer is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Owner {
    who: Who,
    /// What its forms carry, by which browsers of one caller differ.
    browser: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Account(u32),
    Token(Digest),
    Key(String),
}

impl Owner {
    fn of(visitor: &Visitor) -> Self {
        let who = match &visitor.caller {
            Caller::Account { uid } => Who::Account(*uid),
            Caller::Token(token) => Who::Token(token.digest),
            Caller::Key(key) => Who::Key(key.id.clone()),
        };
        let browser = visitor.form_key.clone();
        Self { who, browser }
    }
}

/// One such answer; dropping it takes it off.
#[derive(Debug)]
pub(super) struct Watcher {
    all: Watchers,
    owner: Owner,
}

impl Watchers {
    /// Counts one more.
    pub(super) fn enter(&self, visitor: &Visitor) -> Result<Watcher, Problem> {
        let owner = Owner::of(visitor);
        let mut counts = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let of = |is_counted: &dyn Fn(&Owner) -> bool| -> usize {
            let counted = counts.iter().filter(|(one, _)| is_counted(one));
            counted.map(|(_, count)| count).sum()
        };
        if of(&|one| *one == owner) >= MOST_OF_BROWSER
            || of(&|one| one.who == owner.who) >= MOST_OF_CALLER
            || of(&|_| true) >= MOST
        {
            let detail = "Too many pages follow what happens: close some.";
            return Err(Problem::unavailable(detail));
        }
        *counts.entry(owner.clone()).or_default() += 1;
        Ok(Watcher {
            all: self.clone(),
            owner,
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(count) = counts.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Token;

    /// As many as `visitor` is let have, of these.
    fn enter(all: &Watchers, caller: &Caller, browser: usize, count: usize) -> Vec<Watcher> {
        let visitor = Visitor {
            caller: caller.clone(),
            form_key: browser.to_string(),
            session: None,
        };
        (0..count).map_while(|_| all.enter(&visitor).ok()).collect()
    }

    #[test]
    fn no_browser_and_no_caller_has_more_than_its_part_and_all_have_a_bound() {
        let all = Watchers::default();
        let token = Caller::Token(Arc::new(Token::first("0123456789abcdef")));
        let account = |uid| Caller::Account { uid };
        assert_eq!(enter(&all, &token, 0, 1000).len(), MOST_OF_BROWSER);
        // However many browsers somebody has, others are let in.
        let greedy: Vec<_> = (0..50).map(|n| enter(&all, &token, n, 1000)).collect();
        assert_eq!(greedy.iter().map(Vec::len).sum::<usize>(), MOST_OF_CALLER);
        // What one account has on the command line is not what another has, nor one of its browsers another's.
        let few: Vec<_> = [(0, 0), (0, 1), (1000, 0)]
            .map(|(uid, browser)| enter(&all, &account(uid), browser, 1000))
            .into();
        assert!(few.iter().all(|held| held.len() == MOST_OF_BROWSER));
        let more: Vec<_> = (2000..3000)
            .map(|uid| enter(&all, &account(uid), 0, 9))
            .collect();
        let held = [greedy, few, more];
        let held = held.iter().flatten().map(Vec::len);
        assert_eq!(held.sum::<usize>(), MOST);
    }

    #[test]
    fn who_leaves_makes_room() {
        let all = Watchers::default();
        let held = enter(&all, &Caller::Account { uid: 0 }, 0, 1000);
        assert_eq!(held.len(), MOST_OF_BROWSER);
        drop(held);
        assert!(all.0.lock().unwrap().is_empty());
    }
}
