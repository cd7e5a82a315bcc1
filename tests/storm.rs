//! A storm of operations on a few applications at once: each is answered with what became of it, and nothing of any of them
//! stays.

use serde_json::{Value, json};

use crate::support::fixture::{document, with};
use crate::support::http::Response;
use crate::support::machine::processes_of;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

const APPS: [&str; 3] = ["one", "two", "three"];
const CLIENTS: u64 = 4;

/// Operations of each client. What once went wrong did so within the first hundred.
fn operations() -> usize {
    std::env::var("PROCSERVER_TEST_STORM").map_or(120, |text| text.parse().unwrap())
}

/// Random enough to meet in ever other ways, and the same in each run (Knuth's constants).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        let (factor, addend) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);
        self.0 = self.0.wrapping_mul(factor).wrapping_add(addend);
        (self.0 >> 33) % sides
    }
}

/// One operation, and its answer.
fn operate(server: &Server, repo: &Repo, dice: &mut Dice) -> (String, Response) {
    let name = APPS[usize::try_from(dice.throw(3)).unwrap()];
    let number = dice.throw(100);
    let own = format!("/applications/{name}");
    let whole = with(
        document(name, repo),
        json!({ "scale": { "worker": number % 4 }, "env": { "V": number.to_string() }, "stop": { "timeout": "1s" } }),
    );
    let nothing = Value::Null;
    let below = |verb: &str| format!("{own}/{verb}");
    let (method, target, body) = match dice.throw(20) {
        0..=3 => ("POST", "/applications".to_owned(), whole),
        4 => ("PUT", own, whole),
        5..=6 => ("DELETE", own, nothing),
        7 => ("PATCH", own, json!({ "scale": { "worker": number % 4 } })),
        8 => ("PATCH", own, json!({ "env": { "V": number.to_string() } })),
        9..=10 => ("POST", below("redeploy"), nothing),
        11 => ("POST", below("restart"), nothing),
        12 => ("POST", below("stop"), nothing),
        13 => ("POST", below("start"), nothing),
        14 => ("POST", below("rollback"), nothing),
        15 => (
            "POST",
            below(&format!("deployments/{}/cancel", number % 20)),
            nothing,
        ),
        16 => ("GET", below("status"), nothing),
        17 => ("GET", below("logs/install"), nothing),
        _ => ("GET", below("logs"), nothing),
    };
    let mut request = server.request(method, &target);
    if dice.throw(4) == 0 {
        request = request.header("Prefer", "wait=1");
    }
    if !body.is_null() {
        request = request.body(body.to_string());
    }
    (format!("{method} {target}"), request.send(&server.public()))
}

#[test]
fn in_a_storm_of_operations_each_is_answered_and_nothing_of_a_removed_app_stays() {
    let repo = Repo::new(&[("Procfile", "worker: exec sleep 9999\n")]);
    let server = Server::start();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, repo) = (&server, &repo);
            scope.spawn(move || {
                let mut dice = Dice(client);
                for _ in 0..operations() {
                    let (asked, answer) = operate(server, repo, &mut dice);
                    let told = (answer.status, answer.text());
                    assert!(
                        matches!(told.0, 200..=202 | 404 | 409),
                        "{asked} was answered {told:?}"
                    );
                }
            });
        }
    });
    for name in APPS {
        let gone = server.send_and_wait("DELETE", &format!("/applications/{name}"), &json!({}));
        assert!([200, 404].contains(&gone.status), "{}", gone.text());
        server.get(&format!("/applications/{name}")).expect(404);
    }
    for place in ["apps", "run/apps", "config"] {
        let place = server.directory().join(place);
        let left: Vec<_> = std::fs::read_dir(&place).unwrap().collect();
        assert!(left.is_empty(), "{}: {left:?}", place.display());
    }
    eventually("only the server runs", SOON, || {
        (processes_of(server.directory()) == [server.pid()]).then_some(())
    });
    let log = server.log();
    let blamed = |line: &&str| line.contains(" ERROR ") || line.contains("panic");
    let blamed: Vec<_> = log.lines().filter(blamed).collect();
    assert!(blamed.is_empty(), "{blamed:#?}");
}
