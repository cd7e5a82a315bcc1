use super::*;

fn error(text: &str) -> String {
    RawSettings::from_toml(text, Path::new("/etc/procserver/procserver.toml"))
        .unwrap_err()
        .to_string()
}

#[test]
fn every_setting_can_be_in_the_file() {
    let text = r#"
        listen = ["0.0.0.0:80", "[::]:80"]
        tls_listen = ["[::]:443"]
        api_hosts = ["admin.example"]
        api = "api_hosts"
        x_app = ["blog"]
        path_hosts = ["apps.example"]
        config_dir = "/c"
        data_dir = "/d"
        runtime_dir = "/r"
        ports = "9000-9100"
        default_user = "apps"
        ssh_user = "git"
        env = { RAILS_ENV = "production" }
        workers = 3
        trusted_proxies = ["10.0.0.0/8"]
        proxy_protocol = true
        hold = "10s"
        access_log = false
        allow_root_apps = true
        allow_file_repos = true
        log_size = "1M"
        log_files = 2
        [tls]
        min_version = "1.3"
        certificates = [{ cert = "/c/a.pem", key = "/c/a.key" }]
        default_certificate = { cert = "/c/b.pem", key = "/c/b.key" }
        [acme]
        agree_terms = true
        email = "admin@example.org"
        directory = "https://ca.example/dir"
        challenge = "tls-alpn-01"
        profile = "shortlived"
        eab = { id = "kid", key = "a2V5" }
        dns_hook = "/usr/local/bin/hook"
        root_ca = "/etc/ssl/ca.pem"
        check_first = false
        [timeouts]
        connect = "1s"
        tunnel_idle = "2h"
        [limits]
        head = "16K"
        connections = 5
        connections_per_address = 3
        [step_timeouts]
        install = "1h"
        [engine.swarm]
        socket = "/var/run/docker.sock"
        registry = "https://me:sesame@registry.example.org/apps"
        registry_ca = "/etc/procserver/registry.pem"
        base_image = "https://me:sesame@registry.example.org/base:12"
        constraints = ["node.labels.apps==yes"]
        volumes = { driver = "local", options = { type = "nfs", o = "addr=nas", device = ":/apps" } }
        [traces]
        url = "http://127.0.0.1:4318/v1/traces"
        sample = 0.5
    "#;
    let raw = RawSettings::from_toml(text, Path::new("x")).unwrap();
    assert_eq!(raw.listen.unwrap().len(), 2);
    assert_eq!(raw.workers, Some(Count(3)));
    assert_eq!(raw.env[0].name, "RAILS_ENV");
    assert_eq!(raw.limits.head, Some(Size(16 << 10)));
    assert_eq!(raw.timeouts.head, None);
}

#[test]
fn an_error_names_file_line_and_what_is_allowed() {
    let unknown = error("ports = \"1-2\"\nport = 3\n");
    assert!(
        unknown.starts_with("/etc/procserver/procserver.toml, line 2, column 1: "),
        "{unknown}"
    );
    assert!(
        unknown.contains("unknown field `port`") && unknown.contains("`ports`"),
        "{unknown}"
    );
    let nested = error("[timeouts]\nconnect = \"5 parsecs\"\n");
    assert!(
        nested.contains("line 2, column 11") && nested.contains("\"30s\""),
        "{nested}"
    );
    let broken = error("listen = [\n\n");
    assert!(broken.contains("line "), "{broken}");
    let number = error("\n\nlog_files = 0\n");
    assert!(
        number.contains("line 3") && number.contains("from 1 to 1000"),
        "{number}"
    );
    let variable = error("[env]\nA = \"x\"\n\"1B\" = \"y\"\n");
    assert!(variable.contains("1B"), "{variable}");
}

#[test]
fn what_is_there_twice_or_in_a_wrong_table_is_told_with_its_place() {
    let table = "[limits]\n\n[engine.swarm]\n#socket = \"/s\"\n\n[engine.swarm]\nsocket = \"/s\"\n";
    let told = error(table);
    assert!(
        told.contains("line 6") && told.contains("[engine.swarm] stands in line 3 already"),
        "{told}"
    );
    let told =
        error("[limits]\nhead = \"1K\"\n[timeouts]\nhead = \"9s\"\n# head = 1\nhead = \"5s\"\n");
    assert!(told.contains("head stands in line 4 already"), "{told}");
    let told = error("workers = 1\n[engine.swarm]\napi_hosts = [\"a.example\"]\n");
    assert!(
        told.contains("`api_hosts` is not of [engine.swarm]") && told.contains("above the first"),
        "{told}"
    );
    let told = error("[limits]\nspeed = 1\n");
    assert!(!told.contains("belongs"), "{told}");
}

#[test]
fn a_value_of_the_wrong_shape_is_refused_in_words() {
    for (text, place, wanted) in [
        ("listen = \":80\"", "column 10", "a list in brackets"),
        ("api = \"tcp\"", "column 7", "\"socket\""),
        ("x_app = 1", "column 9", "true, false or a list"),
        ("x_app = [\"A b\"]", "column 9", "no application"),
        ("timeouts = \"5s\"", "column 12", "a table, as in {"),
        (
            "tls = { min_version = \"1.1\" }",
            "column 23",
            "\"1.2\" or \"1.3\"",
        ),
        (
            "tls = { certificates = [{ cert = \"/a\" }] }",
            "column 25",
            "`key`",
        ),
        (
            "tls = { certificates = [\"/a\"] }",
            "column 25",
            "key = \"/etc",
        ),
        ("config_dir = \"\"", "column 14", "\"/srv/procserver\""),
    ] {
        let told = error(text);
        assert!(
            told.contains(place) && told.contains(wanted) && !told.contains("Raw"),
            "{told}"
        );
    }
}

#[test]
fn flags_win_over_the_file_and_variables_add_up() {
    let flags = RawSettings {
        ports: Some(PortRange { first: 1, last: 2 }),
        env: vec!["A=flag".parse().unwrap()],
        ..RawSettings::default()
    };
    let file = RawSettings {
        ports: Some(PortRange { first: 3, last: 4 }),
        log_files: Some(Count(7)),
        env: vec!["A=file".parse().unwrap(), "B=file".parse().unwrap()],
        ..RawSettings::default()
    };
    let merged = flags.or(file);
    assert_eq!(
        (merged.ports, merged.log_files),
        (Some(PortRange { first: 1, last: 2 }), Some(Count(7)))
    );
    let env: std::collections::BTreeMap<_, _> =
        merged.env.into_iter().map(|v| (v.name, v.value)).collect();
    assert_eq!((env["A"].as_str(), env["B"].as_str()), ("flag", "file"));
}
