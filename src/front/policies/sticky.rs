//! Keeps a client with the process that answered it first, by a cookie.
//!
//! The cookie names a process of a release. It counts only among the processes that the route has at this moment, so no
//! client reaches one that drains, or one of another application; a client whose process is gone gets another one and
//! a new cookie.

use super::stay::Stay;
use crate::document::policies::Sticky;
use crate::front::exchange::client::Endpoints;
use crate::front::exchange::request_info::RequestInfo;
use crate::front::http::fields::Fields;
use crate::front::http::head::Request;
use crate::router::backend::{Backend, InstanceId, Lease};
use crate::router::replica::Selection;
use crate::router::snapshot::Found;
use crate::router::table::{Route, Rule};

/// `selection`, with the process that the client's cookie names where that serves.
pub(crate) fn prefer(
    selection: Selection,
    endpoints: &Endpoints,
    request: &Request<'_>,
    request_info: &RequestInfo,
) -> Selection {
    let Selection::Backend(found, backend, lease) = selection else {
        return selection;
    };
    let Some(sticky) = of(&found.route) else {
        return Selection::Backend(found, backend, lease);
    };
    let named = named(&found, &request.fields, sticky);
    let path = match found.rule {
        Rule::Path => format!("/{}", found.route.app),
        _ => "/".to_owned(),
    };
    let secure = match super::is_secure(endpoints, request) {
        true => "; Secure",
        false => "",
    };
    *request_info.stay.borrow_mut() = Some(Stay {
        came_with: named.map(|backend| id(&found.route, backend)),
        attributes: format!("; Path={path}; HttpOnly; SameSite=Lax{secure}"),
    });
    let taken = named.and_then(|named| Some((named.clone(), Lease::take(&named.load)?)));
    let (backend, lease) = taken.unwrap_or((backend, lease));
    Selection::Backend(found, backend, lease)
}

/// Leaves the value of a cookie for the client, if the process that was chosen in the end is not the one it names.
pub(crate) fn remember(request_info: &RequestInfo, route: &Route, backend: &Backend) {
    let Some(sticky) = of(route) else {
        return;
    };
    let stay = request_info.stay.borrow();
    let Some(stay) = stay.as_ref() else {
        return;
    };
    let id = id(route, backend);
    let is_new = stay.came_with != Some(id);
    *request_info.cookie.borrow_mut() =
        is_new.then(|| format!("{}={id}{}", sticky.cookie, stay.attributes));
}

fn of(route: &Route) -> Option<&Sticky> {
    route.policies.as_ref()?.of.sticky.as_ref()
}

fn id(route: &Route, backend: &Backend) -> InstanceId {
    backend.instance_id(&route.app, route.created)
}

/// The process that serves and that a cookie of the client names.
fn named<'f>(found: &'f Found, fields: &Fields<'_>, sticky: &Sticky) -> Option<&'f Backend> {
    let cookies = fields.iter().filter(|f| f.is_named("cookie"));
    let pairs = cookies.flat_map(|f| f.value.split(|b| *b == b';'));
    let mut ids = pairs.filter_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(sticky.cookie.as_bytes())?;
        InstanceId::parse(value.strip_prefix(b"=")?)
    });
    let (backends, _) = found.pool();
    ids.find_map(|asked| backends.iter().find(|b| id(&found.route, b) == asked))
}
