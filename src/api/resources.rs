//! The resources of the API, and their calls.

use actix_web::{HttpRequest, HttpResponse};

use super::call::{Call, delete, get, patch, post, put};
use super::needs::Needs;
use super::problem::Problem;
use super::{
    actions, applications, attach, audit, backups, certificates, cron, deploy_key, deployments,
    disk, events, git, history, hook, logs, metrics, notify, openapi, pause, previews, releases,
    reload, routes, run, server_status, source, ssh_keys, status, tokens,
};
use crate::tokens::Scope::{Admin, Deploy, Read};

/// A path, and its calls.
type Declared = (&'static str, Vec<Call>);

/// All of them.
pub(super) fn resources() -> Vec<Declared> {
    let all = [
        of_an_application(),
        of_its_processes(),
        of_the_server(),
        for_git(),
        of_who_calls(),
    ];
    all.into_iter().flatten().collect()
}

/// What there is of an application.
fn of_an_application() -> Vec<Declared> {
    vec![
        (
            "/applications",
            vec![
                get(Needs::of_apps(Read), applications::list),
                post(Needs::of_apps(Admin), applications::create),
            ],
        ),
        (
            "/applications/{name}",
            vec![
                get(Needs::of_app(Read), applications::show),
                put(Needs::of_app(Admin), applications::replace),
                // Of the scale alone; all else needs admin, which the resource looks at.
                patch(Needs::of_app(Deploy), applications::patch),
                delete(Needs::of_app(Admin), applications::remove),
            ],
        ),
        (
            "/applications/{name}/previews",
            vec![
                get(Needs::of_app(Read), previews::list),
                post(Needs::of_app(Admin), previews::make),
            ],
        ),
        (
            "/applications/{name}/status",
            vec![get(Needs::of_app(Read), status::show)],
        ),
        (
            "/applications/{name}/disk",
            vec![get(Needs::of_app(Read), disk::show)],
        ),
        (
            "/applications/{name}/history",
            vec![get(Needs::of_app(Read), history::show)],
        ),
        (
            "/applications/{name}/deploy-key",
            vec![get(Needs::of_app(Read), deploy_key::show)],
        ),
        (
            "/applications/{name}/source",
            vec![put(Needs::of_app(Deploy), source::replace)],
        ),
        (
            "/applications/{name}/hook",
            vec![
                // The secret is masked where secrets are not seen.
                get(Needs::of_app(Read), hook::show),
                post(Needs::of_app(Admin), hook::make),
            ],
        ),
        (
            "/applications/{name}/deployments",
            vec![get(Needs::of_app(Read), deployments::list)],
        ),
        (
            "/applications/{name}/deployments/{id}",
            vec![get(Needs::of_app(Read), deployments::show)],
        ),
        (
            "/applications/{name}/deployments/{id}/cancel",
            vec![post(Needs::of_app(Deploy), deployments::cancel)],
        ),
        (
            "/applications/{name}/releases",
            vec![get(Needs::of_app(Read), releases::list)],
        ),
    ]
}

/// What runs of an application, and what it says.
fn of_its_processes() -> Vec<Declared> {
    vec![
        (
            "/applications/{name}/logs",
            vec![get(Needs::of_app(Read), logs::read_merged)],
        ),
        (
            "/applications/{name}/logs/{log}",
            vec![get(Needs::of_app(Read), logs::read)],
        ),
        (
            "/applications/{name}/cron",
            vec![get(Needs::of_app(Read), cron::list)],
        ),
        (
            "/applications/{name}/cron/{id}/run",
            vec![post(Needs::of_app(Deploy), cron::start)],
        ),
        (
            "/applications/{name}/run",
            vec![
                get(Needs::of_app(Read), run::list),
                post(Needs::of_app(Deploy), run::start),
            ],
        ),
        (
            "/applications/{name}/run/{id}",
            vec![
                get(Needs::of_app(Read), run::show),
                delete(Needs::of_app(Deploy), run::end),
            ],
        ),
        (
            "/applications/{name}/run/{id}/attach",
            // Who attaches types the input of the process.
            vec![get(Needs::of_app(Deploy), attach::attach)],
        ),
        (
            "/applications/{name}/{action:start|stop|restart|redeploy|rollback}",
            vec![post(Needs::of_app(Deploy), actions::act)],
        ),
        (
            "/applications/{name}/pause",
            vec![post(Needs::of_app(Deploy), pause::pause)],
        ),
        (
            "/applications/{name}/resume",
            vec![post(Needs::of_app(Deploy), pause::resume)],
        ),
    ]
}

/// What is of the server as a whole.
fn of_the_server() -> Vec<Declared> {
    vec![
        (
            "/certificates",
            vec![get(Needs::of_server(Read), certificates::list)],
        ),
        (
            "/certificates/{name}/renew",
            vec![post(Needs::of_server(Admin), certificates::renew)],
        ),
        (
            "/-/reload",
            vec![
                get(Needs::of_server(Read), reload::show),
                post(Needs::of_server(Admin), reload::start),
            ],
        ),
        (
            "/-/backup",
            // It holds every secret.
            vec![post(Needs::of_server(Admin), backups::take)],
        ),
        (
            "/-/restore",
            vec![post(Needs::of_server(Admin), backups::restore)],
        ),
        (
            "/-/status",
            vec![get(Needs::of_server(Read), server_status::show)],
        ),
        ("/metrics", vec![get(Needs::of_apps(Read), metrics::show)]),
        (
            "/-/history",
            vec![get(Needs::of_apps(Read), history::show_all)],
        ),
        ("/openapi.json", vec![get(Needs::of_apps(Read), describe)]),
        (
            "/-/notify/test",
            vec![post(Needs::of_server(Admin), notify::test)],
        ),
    ]
}

/// What git speaks with. Who reads code may find secrets in it: so to clone takes as much as to push.
fn for_git() -> Vec<Declared> {
    vec![
        (
            "/git/{name}.git/info/refs",
            vec![get(Needs::of_app(Deploy), git::refs)],
        ),
        (
            "/git/{name}.git/git-upload-pack",
            vec![post(Needs::of_app(Deploy), git::upload)],
        ),
        (
            "/git/{name}.git/git-receive-pack",
            vec![post(Needs::of_app(Deploy), git::receive)],
        ),
    ]
}

/// What is told of all that happens, and who may call.
fn of_who_calls() -> Vec<Declared> {
    vec![
        ("/routes", vec![get(Needs::of_apps(Read), routes::show)]),
        ("/events", vec![get(Needs::of_apps(Read), events::tell)]),
        ("/audit", vec![get(Needs::of_server(Admin), audit::list)]),
        (
            "/tokens",
            vec![
                get(Needs::of_server(Admin), tokens::list),
                post(Needs::of_server(Admin), tokens::create),
            ],
        ),
        (
            "/tokens/{id}",
            vec![delete(Needs::of_server(Admin), tokens::revoke)],
        ),
        (
            "/-/ssh-keys",
            vec![
                get(Needs::of_server(Admin), ssh_keys::list),
                post(Needs::of_server(Admin), ssh_keys::add),
            ],
        ),
        (
            "/-/ssh-keys/{id}",
            vec![delete(Needs::of_server(Admin), ssh_keys::remove)],
        ),
    ]
}

/// A call as it is declared: the method, the path, and what it needs.
#[must_use]
pub fn declared() -> Vec<(&'static str, &'static str, Needs)> {
    let calls = |(path, calls): (&'static str, Vec<Call>)| {
        let call = move |call: Call| (call.method, path, call.needs);
        calls.into_iter().map(call)
    };
    resources().into_iter().flat_map(calls).collect()
}

/// `GET /openapi.json`.
async fn describe(request: HttpRequest) -> Result<HttpResponse, Problem> {
    openapi::show(&request, declared)
}
