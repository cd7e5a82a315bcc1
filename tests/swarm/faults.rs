//! What others do on the swarm, deploys that fail, and servers that are killed in the middle of one.

use serde_json::json;

use super::echo::{LONG, app, done, ready, repo, server, version};
use super::engines::Engines;
use super::kept_base;
use crate::support::fixture::with;
use crate::support::machine::skip;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::eventually;

/// Id, name and replicas of each service.
fn services(engines: &Engines) -> Vec<[String; 3]> {
    let told = engines.docker(
        1,
        &[
            "service",
            "ls",
            "--format",
            "{{.ID}} {{.Name}} {{.Replicas}}",
        ],
    );
    let fields = |line: &str| {
        let mut fields = line.split(' ').map(str::to_owned);
        [(); 3].map(|()| fields.next().unwrap_or_default())
    };
    told.lines().map(fields).collect()
}

/// The service of the type `web`, once it is the only one.
fn web(engines: &Engines) -> Option<[String; 3]> {
    let all = services(engines);
    let mut of_web = all
        .into_iter()
        .filter(|[_, name, _]| name.contains("-web-"));
    let found = of_web.next()?;
    of_web.next().is_none().then_some(found)
}

#[test]
fn what_others_change_is_put_right_and_a_deploy_that_fails_or_is_cut_off_changes_nothing() {
    let test = "what others change on a swarm is put right";
    let Some(engines) = Engines::start(1, test) else {
        return;
    };
    let mut server = server(&engines);
    let repo = repo("1");
    let one = with(app(&repo), json!({ "scale": { "web": 1 } }));
    done(&server, "POST", "/applications", Some(&one));
    kept_base::keep(server.directory());
    ready(&server, &["web.1"]);
    others_change_a_service(&engines, &server);
    a_deploy_fails(&engines, &server, &repo);
    if cfg!(debug_assertions) {
        servers_are_killed_in_deploys(&mut server, &repo);
    } else {
        skip(
            test,
            "no server is killed: there are no failpoints in this build",
        );
    }
    eventually("nothing is left of deploys that were cut off", LONG, || {
        let replicas = web(&engines)?[2].clone();
        (replicas == "1/1").then_some(())
    });
}

fn others_change_a_service(engines: &Engines, server: &Server) {
    let [id, name, _] = web(engines).expect("the app has one");
    engines.docker(1, &["service", "scale", "--detach", &format!("{name}=3")]);
    eventually("it has one process again", LONG, || {
        (web(engines)?[2] == "1/1").then_some(())
    });
    let deaf = [
        "service",
        "update",
        "--detach",
        "--env-add",
        "LISTEN=127.0.0.1",
    ];
    engines.docker(1, &[&deaf[..], &[&name]].concat());
    eventually("it has its environment again", LONG, || {
        let env = "{{.Spec.TaskTemplate.ContainerSpec.Env}}";
        let told = engines.docker(1, &["service", "inspect", "--format", env, &name]);
        (!told.contains("127.0.0.1")).then_some(())
    });
    ready(server, &["web.1"]);
    engines.docker(1, &["service", "rm", &name]);
    eventually("it is there again", LONG, || {
        let [again, _, replicas] = web(engines)?;
        (again != id && replicas == "1/1").then_some(())
    });
    ready(server, &["web.1"]);
    assert_eq!(version(server), "1");
}

fn a_deploy_fails(engines: &Engines, server: &Server, repo: &Repo) {
    let before = web(engines).expect("the app has one");
    repo.commit(&[("Procfile", "web: no-such-program\n"), ("VERSION", "2")]);
    let health = json!({ "health_check": { "boot_timeout": "15s" } });
    let answer = server
        .request("PATCH", "/applications/echo")
        .header("Prefer", "wait=600")
        .header("Content-Type", "application/merge-patch+json")
        .body(with(health, json!({ "install": ["true"] })).to_string())
        .deadline(LONG)
        .send(&server.public());
    answer.expect(422);
    eventually(
        "what it printed before it ended is in the log",
        LONG,
        || {
            let log = server.get("/applications/echo/logs").expect(200).text();
            log.contains("no-such-program: not found").then_some(())
        },
    );
    assert_eq!(version(server), "1");
    eventually("what failed is gone", LONG, || {
        (web(engines)? == before).then_some(())
    });
    repo.commit(&[("Procfile", "web: exec python3 web.py\n")]);
    let patient = json!({ "health_check": { "boot_timeout": "5m" }, "install": [] });
    done(server, "PATCH", "/applications/echo", Some(&patient));
    assert_eq!(version(server), "2");
}

/// In the order of a deploy; that of the state is where the route switches.
const STEPS: [&str; 8] = [
    "after checkout",
    "before image",
    "after image",
    "spawned",
    "a service is created",
    "after echo state.json",
    "before a service is removed",
    "after a service is removed",
];

fn servers_are_killed_in_deploys(server: &mut Server, repo: &Repo) {
    for step in STEPS {
        a_server_is_killed_in_a_deploy(server, repo, step);
    }
    done(server, "POST", "/applications/echo/redeploy", None);
    ready(server, &["web.1"]);
    let last = STEPS.last().expect("there are some");
    assert_eq!(version(server), *last);
}

fn a_server_is_killed_in_a_deploy(server: &mut Server, repo: &Repo, step: &str) {
    let before = version(server);
    repo.commit(&[("VERSION", step)]);
    server.arm_kill(step);
    // It dies in the midst of this.
    let _unanswered = server
        .request("POST", "/applications/echo/redeploy")
        .header("Prefer", "wait=600")
        .deadline(LONG)
        .try_send(&server.public());
    server.wait_for_death();
    server.start_again();
    ready(server, &["web.1"]);
    let served = version(server);
    assert!([before.as_str(), step].contains(&&*served), "{served}");
}
