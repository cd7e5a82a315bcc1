//! schemathesis makes up requests, valid and invalid ones, by the description, and looks at each answer.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::{has_by_pip, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;

/// Of each call. Another seed, or more of them, finds more in more time.
const EXAMPLES: &str = "6";

/// What it does, such as `examples,coverage,fuzzing,stateful`: thousands of requests, which take minutes. CI does it in a
/// step of its own, when nothing else is at work on the machine.
const PHASES: &str = "PROCSERVER_TEST_PHASES";

#[test]
fn schemathesis_finds_nothing() {
    let Ok(phases) = std::env::var(PHASES) else {
        skip(
            "schemathesis_finds_nothing",
            &format!("{PHASES} is not set"),
        );
        return;
    };
    if !has_by_pip("schemathesis", "schemathesis_finds_nothing") {
        return;
    }
    let repo = web_repo("1");
    // It may say from which address it comes: wrong tokens lock out an address.
    let setup = Setup::new().flag("--trusted-proxies", "127.0.0.1/32");
    let port = setup.spare_port();
    let server = setup.start();
    let document = |name| document(name, &repo);
    let job = json!([{"name": "report", "schedule": "@daily", "command": "id"}]);
    let web = json!({"hosts": ["shop.example"], "cron": job, "env": {"SECRET": "open-sesame"}});
    server.deploy(&with(document("web"), web));
    server.deploy(&document("stopped"));
    server.act("stopped", "stop").expect(200);
    let failed = with(document("failed"), json!({"install": ["echo no; false"]}));
    server
        .send_and_wait("POST", "/applications", &failed)
        .expect(422);
    let pushed = json!({"name": "pushed", "repo": {"push": true}});
    server
        .send_and_wait("POST", "/applications", &pushed)
        .expect(201);
    for name in ["gone1", "gone2", "gone3"] {
        server.deploy(&document(name));
    }
    let run = json!({"command": "echo hello", "detach": true});
    server
        .send("POST", "/applications/web/run", &run)
        .expect(201);

    let directory = tempfile::tempdir().unwrap();
    let described = directory.path().join("openapi.json");
    let mut description = server.get("/openapi.json").expect(200).json();
    make_strict(&mut description);
    std::fs::write(&described, description.to_string()).unwrap();
    let output = schemathesis(&server, directory.path(), &described)
        .args(["--phases", &phases])
        .env("TEST_PORT", port.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}\n\"was unexpected\" in an answer: add the field to its schema in src/api/openapi. An undocumented \
         status: add it to `errors` of the call there.",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!server.log().contains("panicked"), "{}", server.log());
    // Not everything was refused.
    assert_eq!(server.status("web")["name"], "web");
}

fn schemathesis(server: &Server, directory: &Path, described: &Path) -> Command {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINfxDYxk6ejXcaHo4iPGbUCh7XUWcbKzqTvqqMdAvOTf ann@laptop";
    let set = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let mut command = Command::new("schemathesis");
    command
        .arg("--config-file")
        .arg(own.join("schemathesis.toml"))
        .arg("run")
        .arg(described)
        .args(["--url", &server.url()])
        .args(["--seed", &set("PROCSERVER_TEST_SEED", "1")])
        .args(["--max-examples", &set("PROCSERVER_TEST_EXAMPLES", EXAMPLES)])
        // In the same order in each run.
        .args(["--workers", "1"])
        .env("PYTHONHASHSEED", "0")
        .args(["--request-timeout", "60"])
        .current_dir(directory)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", own)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TEST_APPS", "web,stopped,failed,pushed")
        .env("TEST_EXPENDABLE_APPS", "gone1,gone2,gone3")
        .env("TEST_TOKEN", server.token())
        .env("TEST_KEY", key);
    command
}

/// Forbids every field of an answer that is not described: clients must not mind one, but the test does.
fn make_strict(description: &mut Value) {
    let schemas = description["components"]["schemas"].as_object_mut();
    // What others add to is strict where they do.
    let extended = ["Run", "Token", "SshKey"];
    for (name, schema) in schemas.into_iter().flatten() {
        let is_extended = extended.contains(&name.as_str());
        close(schema, is_extended);
    }
    close(&mut description["components"]["responses"], false);
    close(&mut description["paths"], false);
}

fn close(value: &mut Value, is_extended: bool) {
    match value {
        Value::Object(fields) => {
            let is_object = fields.get("type").is_some_and(|kind| kind == "object");
            let extends = fields.contains_key("allOf");
            let has_fields = fields.get("properties").is_some_and(Value::is_object);
            if has_fields && !is_extended && (is_object || extends) {
                let word = if extends {
                    "unevaluatedProperties"
                } else {
                    "additionalProperties"
                };
                fields.entry(word).or_insert(false.into());
            }
            fields.values_mut().for_each(|value| close(value, false));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| close(value, false)),
        _ => {}
    }
}
