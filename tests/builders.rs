//! Applications of languages whose tools are large: compiled, installed and run by the real ones, as a user deploys them.

use std::time::Duration;

use serde_json::json;

use crate::support::machine::apps_have;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::eventually;

/// Go compiles its own library first, which takes long on a loaded machine.
const LONG: Duration = Duration::from_secs(300);

/// Deploys it without `install`, sees `1`, changes `file`, and sees `2`. Returns the lines of both installations.
#[track_caller]
fn lives(files: &[(&str, &str)], file: &str, server: &Server) -> String {
    let repo = Repo::new(files);
    let app = json!({
        "name": "shop",
        "repo": { "url": repo.url() },
        "health_check": { "interval": "100ms", "boot_timeout": "60s" },
    });
    server.send("POST", "/applications", &app).expect(202);
    succeeds(server, 1);
    assert_eq!(server.visit("/shop/").expect(200).text(), "greeting 1");
    let (_, before) = files.iter().find(|(name, _)| *name == file).unwrap();
    repo.commit(&[(file, &before.replace("greeting 1", "greeting 2"))]);
    let again = server.request("POST", "/applications/shop/redeploy");
    again.send(&server.public()).expect(202);
    succeeds(server, 2);
    assert_eq!(server.visit("/shop/").expect(200).text(), "greeting 2");
    let log = "/applications/shop/logs/install?tail=1000";
    server.get(log).expect(200).text()
}

#[track_caller]
fn succeeds(server: &Server, deployment: u64) {
    let place = format!("/applications/shop/deployments/{deployment}");
    let record = eventually("the deployment is over", LONG, || {
        let record = server.get(&place).expect(200).json();
        record["finished"].is_string().then_some(record)
    });
    assert_eq!(record["state"], "succeeded", "{record:#}");
}

const GO: &str = r#"package main

import ("fmt"; "net/http"; "os"; "shop/words")

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, words.Greeting) })
	http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil)
}
"#;

#[test]
fn a_program_in_go_is_compiled_and_found_by_its_name() {
    if !apps_have("go", "golang-go", "an application in Go") {
        return;
    }
    let files = [
        ("Procfile", "web: shop\n"),
        ("go.mod", "module example.org/team/shop\n\ngo 1.18\n"),
        (
            "main.go",
            &GO.replace("shop/words", "example.org/team/shop/words"),
        ),
        (
            "words/words.go",
            "package words\n\nconst Greeting = \"greeting 1\"\n",
        ),
    ];
    let server = Server::start();
    let log = lives(&files, "words/words.go", &server);
    assert!(log.contains("Go, for there is go.mod"), "{log}");
    let program = |release: u64| {
        let releases = server.directory().join("apps/shop/releases");
        releases.join(release.to_string()).join("bin/shop")
    };
    assert!(program(1).is_file() && program(2).is_file());
}

const RUST: &str = r#"use std::io::{Read, Write};

fn main() {
    let port = std::env::var("PORT").unwrap();
    let listener = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let body = words::GREETING;
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    }
}
"#;

#[test]
fn a_program_in_rust_is_compiled_and_cargo_keeps_what_has_not_changed() {
    if !apps_have("cargo", "cargo", "an application in Rust") {
        return;
    }
    let manifest = "[package]\nname = \"shop\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\n\
                    words = { path = \"words\" }\nkept = { path = \"kept\" }\n";
    let part = |name: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n")
    };
    let (words, kept) = (part("words"), part("kept"));
    let files = [
        ("Procfile", "web: exec target/release/shop\n"),
        ("Cargo.toml", manifest),
        ("src/main.rs", RUST),
        ("words/Cargo.toml", &words),
        (
            "words/src/lib.rs",
            "pub const GREETING: &str = \"greeting 1\";\n",
        ),
        ("kept/Cargo.toml", &kept),
        ("kept/src/lib.rs", "pub fn nothing() {}\n"),
    ];
    let server = Server::start();
    let log = lives(&files, "words/src/lib.rs", &server);
    assert!(log.contains("Rust, for there is Cargo.toml"), "{log}");
    let release = server
        .directory()
        .join("apps/shop/releases/2/target/release");
    let programs: Vec<_> = std::fs::read_dir(release).unwrap().collect();
    assert_eq!(programs.len(), 1, "{programs:?}");
}

#[test]
fn an_application_in_php_gets_its_classes_from_composer() {
    if !apps_have("php", "php-cli", "an application in PHP")
        || !apps_have("composer", "composer", "an application in PHP")
    {
        return;
    }
    let own = r#"{"repositories": [{"type": "path", "url": "words", "options": {"symlink": false}}, {"packagist.org": false}],
        "require": {"team/words": "*"}, "minimum-stability": "dev"}"#;
    let words =
        r#"{"name": "team/words", "version": "1.0.0", "autoload": {"classmap": ["Words.php"]}}"#;
    let index =
        "<?php\nrequire __DIR__ . '/../vendor/autoload.php';\necho Words::GREETING, ' 1';\n";
    let files = [
        ("Procfile", "web: php -S 127.0.0.1:$PORT -t public\n"),
        ("composer.json", own),
        ("words/composer.json", words),
        (
            "words/Words.php",
            "<?php\nclass Words { const GREETING = 'greeting'; }\n",
        ),
        (
            "public/index.php",
            &index.replace(", ' 1'", ", substr('greeting 1', 8)"),
        ),
    ];
    let server = Server::start();
    let log = lives(&files, "public/index.php", &server);
    assert!(log.contains("PHP, for there is composer.json"), "{log}");
    assert!(
        server
            .directory()
            .join("apps/shop/releases/2/vendor/team/words")
            .is_dir()
    );
}
