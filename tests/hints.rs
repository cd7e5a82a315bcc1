//! What a failed deployment says is to be done: the mistakes that many make, each with its cure.

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::repo::Repo;
use crate::support::server::Server;

/// The hint of the deployment of these files, which fails.
#[track_caller]
fn hint(server: &Server, name: &str, files: &[(&str, &str)], changes: Value) -> String {
    let repo = Repo::new(files);
    let refused = server.send_and_wait(
        "POST",
        "/applications",
        &with(document(name, &repo), changes),
    );
    let failure = refused.expect(422).json()["failure"].clone();
    failure["hint"]
        .as_str()
        .unwrap_or_else(|| panic!("{failure}"))
        .to_owned()
}

#[test]
fn the_hint_is_the_cure_and_names_the_application() {
    let server = Server::start();
    let none = || json!({});
    let bash = json!({"install": ["set -o pipefail; true"]});
    let told = hint(&server, "bash", &[("Procfile", "web: true\n")], bash);
    assert!(told.contains("shell: \"/bin/bash\""), "{told}");
    let named = json!({"install": ["echo no; exit 3"]});
    let told = hint(&server, "named", &[("Procfile", "web: true\n")], named);
    assert!(told.contains("procserver logs named --install"), "{told}");

    let silent = json!({"install": ["exit 3"]});
    let told = hint(&server, "silent", &[("Procfile", "web: true\n")], silent);
    assert!(told.contains("it printed nothing"), "{told}");
    let module = json!({"install": ["python3 -c 'import not_there_1'"]});
    let told = hint(&server, "module", &[("Procfile", "web: true\n")], module);
    assert!(told.contains("no module not_there_1"), "{told}");
    let inner = [("Procfile", "web: true\n"), ("app/requirements.txt", "")];
    let says = "ERROR: Could not open requirements file: [Errno 2] No such file or directory: 'requirements.txt'";
    let pip = json!({"install": [format!("echo \"{says}\"; exit 1")]});
    let told = hint(&server, "pip", &inner, pip);
    assert!(told.contains("cd app &&"), "{told}");

    let taken = "web: echo 'Error: listen EADDRINUSE: address already in use'; exit 1\n";
    let told = hint(&server, "taken", &[("Procfile", taken)], none());
    assert!(told.contains("strategy: {\"web\": \"recreate\"}"), "{told}");
    let venv = [
        ("Procfile", "web: gunicorn-of-mine app\n"),
        ("venv/bin/gunicorn-of-mine", "x"),
    ];
    let told = hint(&server, "venv", &venv, none());
    assert!(told.contains("write venv/bin/gunicorn-of-mine"), "{told}");
    let windows = [
        ("Procfile", "web: ./run\n"),
        ("run", "#!/bin/sh\r\nexit\r\n"),
    ];
    let install = json!({"install": ["chmod +x run"]});
    let told = hint(&server, "windows", &windows, install);
    assert!(told.contains("carriage return"), "{told}");
}

#[test]
fn a_procfile_by_another_name_is_named() {
    let server = Server::start();
    let repo = Repo::new(&[("procfile", "web: true\n")]);
    let refused = server.send_and_wait("POST", "/applications", &document("small", &repo));
    let failure = refused.expect(422).json()["failure"].clone();
    assert!(
        failure.to_string().contains("a file called procfile"),
        "{failure}"
    );
}

#[test]
fn the_shell_that_the_hint_names_understands_the_commands() {
    let (server, repo) = (Server::start(), web_repo("1"));
    let procfile = "release: a=(x y) && echo \"${a[1]}\" > made\nweb: [[ $(cat made) == y* ]] && exec python3 web.py\n";
    repo.commit(&[("Procfile", procfile)]);
    let bash = json!({"shell": "/bin/bash", "install": ["set -o pipefail; true | true"]});
    server.deploy(&with(document("echo", &repo), bash));
    server.visit("/echo/").expect(200);
}
