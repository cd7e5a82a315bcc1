//! Somebody visits the pages with a real browser: logs in, deploys, watches, rolls back, scales, follows.

use std::process::Command;

use serde_json::{Value, json};

use super::browser::Browser;
use crate::support::fixture::{document, web_repo, with};
use crate::support::machine::skip;
use crate::support::server::Server;
use crate::support::setup::Setup;

/// Of npm: what it finds of the rules of WCAG is wrong for sure.
const AXE: &str = "axe-core@4.14.1";

/// Text with which an application attacks who looks at it.
const HOSTILE: &str = "%1B%5B31mred%1B%5B0m%3Cimg%20src%3Dx%20onerror%3D%22window.owned%3D1%22%3E%3Cscript%3Ewindow.owned%3D1%3C%2Fscript%3E";

fn server() -> Server {
    let setup = Setup::new().flag("--api-hosts", "localhost");
    // The same after a restart: a browser comes back to where it was.
    let listen = format!("127.0.0.1:{}", setup.spare_port());
    setup.flag("--listen", &listen).start()
}

/// A page of the server.
fn page(server: &Server, path: &str) -> String {
    format!("http://localhost:{}{path}", server.address().port())
}

#[track_caller]
fn log_in(browser: &Browser, server: &Server) {
    browser.go(&page(server, "/ui"));
    browser.fill_in("#token", &server.token());
    browser.click("form.login button");
    browser.until_text("Applications");
}

#[test]
fn deploys_are_watched_fail_with_their_reason_and_are_rolled_back() {
    let Some(browser) = Browser::start("a visit to the dashboard") else {
        return;
    };
    let server = server();
    let repo = web_repo("1");
    let install = "printf '%s\\n' '<img src=x onerror=\"window.owned=1\">'; test ! -e broken";
    server.deploy(&with(
        document("echo", &repo),
        json!({ "install": [install] }),
    ));
    browser.go(&page(&server, "/ui"));
    browser.fill_in("#token", "wrong");
    browser.click("form.login button");
    browser.until_text("not this server's");
    log_in(&browser, &server);
    browser.until_text("echo");
    browser.fill_in("#q", "nothing");
    browser.until(
        "the list is searched",
        "document.querySelector('tbody tr').hidden",
    );
    browser.go(&page(&server, "/ui/apps/echo"));

    // A good one: its page shows the steps without being loaded again.
    browser.run("window.isSame = 1");
    browser.click("form[action$='/redeploy'] button");
    browser.until(
        "the deployment has a page",
        "location.pathname.endsWith('/deployments/2')",
    );
    browser.run("window.isSame = 1");
    browser.until(
        "it is over",
        "document.querySelector('[data-part=deployment] .state.succeeded')",
    );
    browser.until(
        "its steps are shown",
        "document.querySelectorAll('.steps li.over').length >= 4",
    );
    assert_eq!(browser.run("return window.isSame"), 1, "by the script");

    // One that fails says why, with the last lines.
    repo.commit(&[("broken", "1")]);
    browser.go(&page(&server, "/ui/apps/echo"));
    browser.click("form[action$='/redeploy'] button");
    browser.until(
        "it failed",
        "document.querySelector('[data-part=deployment] .state.failed')",
    );
    browser.until_text("Why it failed");
    browser.until_text("<img src=x");

    // Back to the first release.
    browser.go(&page(&server, "/ui/apps/echo/releases"));
    browser.click("button[aria-label='Roll back to release 1']");
    browser.accept();
    browser.until(
        "the rollback has a page",
        "/deployments\\/[0-9]+$/.test(location.pathname)",
    );
    browser.until(
        "it is over",
        "document.querySelector('[data-part=deployment] .state.succeeded')",
    );
    assert_eq!(server.status("echo")["release"], 1);

    // More processes.
    browser.go(&page(&server, "/ui/apps/echo"));
    browser.fill_in("input[name='type.web']", "2");
    browser.click("form.formation button");
    browser.until_text("web.2");
    assert_eq!(browser.run("return window.owned || 0"), 0);
}

#[test]
fn logs_are_followed_with_hostile_bytes_and_over_a_lost_connection() {
    let Some(browser) = Browser::start("logs in the dashboard") else {
        return;
    };
    let mut server = server();
    server.deploy(&document("echo", &web_repo("1")));
    // The browser calls it localhost, which is the API's: the app is at its address.
    let print = |server: &Server, text: &str| {
        server
            .visit(&format!("/echo/print?text={text}"))
            .expect(200);
    };
    log_in(&browser, &server);
    print(&server, "before");
    browser.go(&page(&server, "/ui/apps/echo/logs"));
    browser.until_text("before");
    print(&server, HOSTILE);
    browser.until_text("red<img src=x onerror=\"window.owned=1\"><script>window.owned=1</script>");
    let markup =
        "return document.querySelectorAll('#log img, #log script').length + (window.owned || 0)";
    assert_eq!(browser.run(markup), 0);
    // Many lines at once leave few in the page, and the newest among them.
    let flood = "import sys; sys.stdout.write('flood\\n' * 100000 + 'flood-is-over\\n')";
    let asked = json!({ "command": format!("python3 -c \"{flood}\""), "detach": true });
    server
        .send("POST", "/applications/echo/run", &asked)
        .expect(201);
    browser.until_text("flood-is-over");
    assert_eq!(
        browser.run("return document.querySelectorAll('.line').length <= 2000"),
        true
    );
    print(&server, "second-line");
    browser.until_text("second-line");
    // The server goes away, and comes back.
    server.kill();
    browser.until_text("The connection is lost");
    server.start_again();
    server.ready_pid("echo", "web.1");
    print(&server, "after-the-crash");
    browser.until_text("after-the-crash");
    browser.until(
        "nothing is lost",
        "document.getElementById('connection').hidden",
    );
    let twice = "return [...document.querySelectorAll('.text')].filter((e) => e.textContent === 'second-line').length";
    assert_eq!(browser.run(twice), 1, "no line comes twice");
    // Search is the server's.
    browser.go(&page(&server, "/ui/apps/echo/logs?grep=after-the"));
    browser.until_text("after-the-crash");
    assert_eq!(
        browser.run("return document.body.innerText.includes('before')"),
        false
    );
}

/// axe-core as a script; `None` where npm cannot be had.
fn axe() -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let got = Command::new("sh")
        .args([
            "-c",
            "npm pack --silent \"$1\" && tar xzf ./*.tgz package/axe.min.js",
            "sh",
            AXE,
        ])
        .current_dir(directory.path())
        .output();
    let script = std::fs::read_to_string(directory.path().join("package/axe.min.js")).ok();
    if script.is_none() {
        let reason = format!("npm cannot get {AXE}: {got:?}");
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        skip("what axe-core says of the dashboard", &reason);
    }
    script
}

#[test]
fn axe_finds_nothing_in_either_theme_and_nothing_is_too_wide_for_a_telephone() {
    let Some(axe) = axe() else { return };
    let Some(browser) = Browser::start("what axe-core says of the dashboard") else {
        return;
    };
    let server = server();
    let job = json!([{ "name": "tidy", "schedule": "@daily", "command": "true" }]);
    let changes =
        json!({ "hosts": ["shop.example"], "env": { "A_RATHER_LONG_NAME": "x" }, "cron": job });
    server.deploy(&with(document("echo", &web_repo("1")), changes));
    let asked = json!({ "command": "echo done; exit 3", "detach": true });
    server
        .send("POST", "/applications/echo/run", &asked)
        .expect(201);
    server.visit("/echo/print?text=line").expect(200);
    browser.go(&page(&server, "/ui/login"));
    examine(&browser, &axe, "/ui/login");
    log_in(&browser, &server);
    let paths = [
        "/ui",
        "/ui/server",
        "/ui/events",
        "/ui/apps/echo/events",
        "/ui/audit",
        "/ui/none",
        "/ui/apps/echo",
        "/ui/apps/echo/deployments",
        "/ui/apps/echo/deployments/1",
        "/ui/apps/echo/releases",
        "/ui/apps/echo/logs",
        "/ui/apps/echo/env",
        "/ui/apps/echo/domains",
        "/ui/apps/echo/cron",
        "/ui/apps/echo/run",
        "/ui/apps/echo/run/run.1",
    ];
    for (theme, width) in [("light", 1200), ("dark", 320)] {
        let feature = json!({ "name": "prefers-color-scheme", "value": theme });
        browser.tell(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [feature] }),
        );
        let metrics =
            json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        browser.tell("Emulation.setDeviceMetricsOverride", &metrics);
        for path in paths {
            browser.go(&page(&server, path));
            examine(&browser, &axe, &format!("{path} {theme}"));
        }
    }
}

#[track_caller]
fn examine(browser: &Browser, axe: &str, what: &str) {
    browser.run(axe);
    let found = browser.run_to_end(
        "const done = arguments[arguments.length - 1];
         axe.run(document).then(
           (found) => done(found.violations.map((one) => [one.id, one.help, one.nodes.map((node) => node.html)])),
           (error) => done([String(error)]));",
    );
    assert_eq!(found, Value::Array(Vec::new()), "{what}");
    let surplus = browser.run("return document.documentElement.scrollWidth - innerWidth");
    assert!(
        surplus.as_i64().is_some_and(|surplus| surplus <= 0),
        "{what} is too wide: {surplus}"
    );
}
