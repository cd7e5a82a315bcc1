//! [`KeptRoute`]: the replica's answer to one request of a connection, kept for the next that must get the same.
//!
//! Every request is routed anew. But where the table, the host, `X-App` and the port are what they were, and the rule
//! looked at nothing else, so is the app: only its backend is chosen again, from the loads that all workers share. With
//! a thousand busy connections the message to the replica costs more than itself: each request waits behind all others,
//! and finds nothing of its own in the processor's cache any more.

use std::sync::{Arc, Weak};

use super::head::Request;
use crate::router::replica::{Found, Select, Wanted};
use crate::router::table::{Rule, Table};

/// An answer and what it was the answer to.
#[derive(Debug)]
pub(super) struct KeptRoute {
    /// The table of before it was asked for. It is compared, never read; a dropped table must not be kept alive by a
    /// connection that idles, and its address is not used again as long as this is here.
    table: Weak<Table>,
    wanted: Arc<Wanted>,
    found: Found,
}

impl KeptRoute {
    /// Keeps `found` if it is the answer to every request that is like `wanted` but for its path.
    pub(super) fn of(table: Weak<Table>, wanted: &Arc<Wanted>, found: &Found) -> Option<Self> {
        let by_path = found.rule == Rule::Path;
        (!by_path).then(|| Self {
            table,
            wanted: Arc::clone(wanted),
            found: found.clone(),
        })
    }

    /// The app for `request`, and how to ask for another backend of it, if `table` is still the one.
    pub(super) fn answer(
        &self,
        request: &Request<'_>,
        table: &Arc<Table>,
    ) -> Option<(Found, Select)> {
        let is_same = std::ptr::eq(self.table.as_ptr(), Arc::as_ptr(table))
            && self.is_same_host(request)
            && self.is_same_name(request);
        is_same.then(|| {
            let select = Select {
                wanted: Arc::clone(&self.wanted),
                avoid: Vec::new(),
            };
            (self.found.clone(), select)
        })
    }

    fn is_same_host(&self, request: &Request<'_>) -> bool {
        let host = request.authority.map_or("", |a| a.host);
        let host = host.strip_suffix('.').unwrap_or(host);
        host.eq_ignore_ascii_case(&self.wanted.host)
    }

    fn is_same_name(&self, request: &Request<'_>) -> bool {
        let name = request.fields.iter().find(|f| f.is("x-app"));
        name.map(|f| f.value) == self.wanted.x_app.as_deref().map(str::as_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::head;
    use crate::router::table::{Availability, Route};

    fn found(rule: Rule) -> Found {
        Found {
            route: Arc::new(Route {
                app: "blog".into(),
                created: 1,
                domain: Vec::new(),
                path: true,
                strip_path: true,
                port: None,
                static_files: None,
                availability: Availability::Starting,
                backends: Vec::new(),
            }),
            rule,
            strip: 0,
        }
    }

    fn wanted(x_app: Option<&str>) -> Arc<Wanted> {
        Arc::new(Wanted {
            x_app: x_app.map(Into::into),
            host: "blog.local".into(),
            path: "/".into(),
            port: None,
        })
    }

    fn holds(kept: &KeptRoute, text: &str, table: &Arc<Table>) -> bool {
        let request = head::request(text.as_bytes(), 10).unwrap();
        kept.answer(&request, table).is_some()
    }

    #[test]
    fn it_holds_for_the_same_question_to_the_same_table_only() {
        let (table, other) = (Arc::new(Table::default()), Arc::new(Table::default()));
        let keep = |wanted: &Arc<Wanted>, rule| {
            KeptRoute::of(Arc::downgrade(&table), wanted, &found(rule))
        };
        assert!(keep(&wanted(None), Rule::Path).is_none());
        let by_host = keep(&wanted(None), Rule::Host).unwrap();
        let same = "GET /other?x HTTP/1.1\r\nHost: BLOG.local.:80\r\n\r\n";
        assert!(holds(&by_host, same, &table));
        assert!(!holds(&by_host, same, &other));
        let host = "GET / HTTP/1.1\r\nHost: blog.locale\r\n\r\n";
        assert!(!holds(&by_host, host, &table));
        let absolute = "GET http://x.local/ HTTP/1.1\r\nHost: blog.local\r\n\r\n";
        assert!(!holds(&by_host, absolute, &table));
        let named = "GET / HTTP/1.1\r\nHost: blog.local\r\nX-App: blog\r\n\r\n";
        assert!(!holds(&by_host, named, &table));
        let by_name = keep(&wanted(Some("blog")), Rule::XApp).unwrap();
        assert!(holds(&by_name, named, &table));
        assert!(!holds(&by_name, same, &table));
        assert!(!holds(
            &by_name,
            &named.replace("X-App: blog", "X-App: shop"),
            &table
        ));
        assert!(!holds(
            &by_name,
            &named.replace("X-App: blog", "X-App: Blog"),
            &table
        ));
    }
}
