//! [`RouteCache`]: the replica's answers by host, kept for the next requests that must get the same.
//!
//! Every request is routed anew. But where the table and the host are what they were, and the rule looked at nothing
//! else, so is the app: only its backend is chosen again, from the loads that all workers share. With a thousand busy
//! connections the message to the replica costs more than itself: each request waits behind all others, and finds
//! nothing of its own in the processor's cache any more.

use std::sync::{Arc, Weak};

use foldhash::HashMap;

use super::http::field::Name;
use super::http::head::Request;
use crate::router::replica::{Found, Select, Wanted};
use crate::router::table::{Rule, Table};

/// Hosts remembered; when there are more it starts anew, so that made-up hosts that match a pattern cost no memory.
const HOSTS: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct RouteCache {
    /// It is compared, never read; a table that was replaced must not be kept alive, and its address is not used again
    /// as long as this is here.
    table: Weak<Table>,
    /// Hosts that a client makes up to be slow to find are found among so many at most.
    by_host: HashMap<Box<str>, (Arc<Wanted>, Found)>,
}

impl RouteCache {
    /// The app for `request`, and how to ask for another backend of it, if `table` is the one that was asked.
    pub(super) fn answer(
        &self,
        request: &Request<'_>,
        table: &Arc<Table>,
    ) -> Option<(Found, Select)> {
        // In other spellings, and with a name, the replica is asked.
        let host = request.authority?.host;
        if !self.is_of(table) || request.fields.has(Name::XApp) {
            return None;
        }
        let (wanted, found) = self.by_host.get(host)?;
        let select = Select {
            wanted: Arc::clone(wanted),
            avoid: Vec::new(),
        };
        Some((found.clone(), select))
    }

    /// Keeps what was `found` in `table`, or in a newer one, if it is the answer to every request for that host.
    pub(super) fn keep(&mut self, table: &Weak<Table>, wanted: &Arc<Wanted>, found: &Found) {
        if found.rule != Rule::Host || wanted.x_app.is_some() || wanted.port.is_some() {
            return;
        }
        if !Weak::ptr_eq(&self.table, table) || self.by_host.len() >= HOSTS {
            self.by_host.clear();
            self.table = Weak::clone(table);
        }
        let answer = (Arc::clone(wanted), found.clone());
        self.by_host.insert(wanted.host.clone(), answer);
    }

    fn is_of(&self, table: &Arc<Table>) -> bool {
        std::ptr::eq(self.table.as_ptr(), Arc::as_ptr(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::http::parse;
    use crate::router::table::{Availability, Route};

    fn found(rule: Rule) -> Found {
        Found {
            route: Arc::new(Route {
                app: "blog".into(),
                created: 1,
                hosts: Vec::new(),
                domain: Vec::new(),
                path: true,
                strip_path: true,
                port: None,
                static_files: None,
                buffer: Default::default(),
                availability: Availability::Starting,
                backends: Vec::new(),
            }),
            rule,
            prefix: 0,
            strip: 0,
        }
    }

    fn wanted(x_app: Option<&str>, port: Option<u16>) -> Arc<Wanted> {
        Arc::new(Wanted {
            x_app: x_app.map(Into::into),
            host: "blog.local".into(),
            path: "/".into(),
            port,
        })
    }

    fn holds(kept: &RouteCache, text: &str, table: &Arc<Table>) -> bool {
        let request = parse::request(text.as_bytes(), 10).unwrap();
        kept.answer(&request, table).is_some()
    }

    #[test]
    fn an_answer_holds_for_the_same_host_and_table_only() {
        let (table, other) = (Arc::new(Table::default()), Arc::new(Table::default()));
        let mut kept = RouteCache::default();
        let same = "GET /other?x HTTP/1.1\r\nHost: blog.local:80\r\n\r\n";
        assert!(!holds(&kept, same, &table));
        let weak = Arc::downgrade(&table);
        kept.keep(&weak, &wanted(None, None), &found(Rule::Path));
        kept.keep(&weak, &wanted(Some("blog"), None), &found(Rule::XApp));
        kept.keep(&weak, &wanted(None, Some(81)), &found(Rule::Port));
        assert!(
            !holds(&kept, same, &table),
            "they look at more than the host"
        );
        kept.keep(&weak, &wanted(None, None), &found(Rule::Host));
        assert!(holds(&kept, same, &table));
        assert!(!holds(&kept, same, &other));
        for another in [
            "GET / HTTP/1.1\r\nHost: blog.locale\r\n\r\n",
            "GET http://x.local/ HTTP/1.1\r\nHost: blog.local\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: blog.local\r\nX-App: blog\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
        ] {
            assert!(!holds(&kept, another, &table), "{another}");
        }
        kept.keep(
            &Arc::downgrade(&other),
            &wanted(None, None),
            &found(Rule::Host),
        );
        assert!(!holds(&kept, same, &table) && holds(&kept, same, &other));
    }
}
