//! Images without a registry: made by this server, fetched from it by real engines, and run.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use procserver::document::name::AppName;
use procserver::document::package::Package;
use procserver::install::install_log::InstallLog;
use procserver::install::limits::StepLimits;
use procserver::install::lines::Mask;
use procserver::logs::log::Append;
use procserver::swarm::image::{Image, Images, Origin, Owner, Wish};
use serde_json::{Value, json};

use super::engines::Engines;
use super::kept_base;
use crate::support::server::Server;
use crate::support::setup::Setup;

/// mmdebstrap fetches packages.
const LONG: Duration = Duration::from_secs(600);

/// Numbers that no account of this machine has.
const UID: u32 = 54_321;
const GID: u32 = 54_322;

struct NoLog;

impl Actor for NoLog {
    type Context = Context<Self>;
}

impl Handler<Append> for NoLog {
    type Result = ();

    fn handle(&mut self, _: Append, _: &mut Context<Self>) {}
}

/// A release as a deploy leaves it, and of what its image is made.
fn release(data_dir: &Path, app: &str, code: u64) -> Wish {
    let root = data_dir.join("apps").join(app);
    let (checkout, venv) = (root.join(format!("releases/{code}")), root.join("venvs/1"));
    for directory in [&checkout, &venv, &root.join("tmp")] {
        fs::create_dir_all(directory).unwrap();
    }
    let run = checkout.join("run");
    fs::write(&run, format!("#!/bin/sh\necho release {code} of {app}\n")).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o555)).unwrap();
    symlink(&venv, checkout.join(".venv")).unwrap();
    fs::write(venv.join("version"), "3.11\n").unwrap();
    Wish {
        app: AppName::parse(app).unwrap(),
        code,
        files: vec![checkout, venv],
        writable: vec![root.join("tmp")],
        owner: Owner {
            user: format!("ps-{app}"),
            group: format!("ps-{app}"),
            uid: UID,
            gid: GID,
            home: root.join("tmp"),
        },
        packages: Vec::<Package>::new(),
    }
}

/// Makes an image of each.
fn prepare(data_dir: &Path, host: &str, wishes: &[&Wish]) -> Vec<Image> {
    kept_base::give(data_dir);
    let images = Images::open(data_dir, Origin::Here(Some(host.to_owned()))).unwrap();
    let made = actix_rt::System::new().block_on(async {
        let log = InstallLog::new(NoLog.start().recipient(), 1, Mask::new::<Vec<u8>>([]));
        let (_wanted, cancel) = tokio::sync::watch::channel(false);
        let mut made = Vec::new();
        for wish in wishes {
            let limits = StepLimits::new(LONG, cancel.clone());
            made.push(images.prepare(wish, &log, &limits).await.unwrap());
        }
        made
    });
    kept_base::keep(data_dir);
    made
}

/// A configuration of docker that logs in with what belongs to `image`.
fn logged_in(directory: PathBuf, image: &Image) -> String {
    let told = BASE64_URL_SAFE.decode(&image.auth).unwrap();
    let told: Value = serde_json::from_slice(&told).unwrap();
    let of = |name: &str| told[name].as_str().unwrap().to_owned();
    let auth = BASE64_STANDARD.encode(format!("{}:{}", of("username"), of("password")));
    let auths = json!({ "auths": { of("serveraddress"): { "auth": auth } } });
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("config.json"), auths.to_string()).unwrap();
    directory.display().to_string()
}

/// A server that gives out images at an address that engines reach.
fn server(engines: &Engines, setup: Setup) -> Server {
    let socket = engines.socket(1).display().to_string();
    let listen = format!("{}:{}", engines.host(), setup.spare_port());
    setup
        .flag("--listen", &listen)
        .flag("--swarm-socket", &socket)
        .start()
}

#[test]
fn engines_run_what_this_server_has_made_images_of() {
    let Some(engines) = Engines::start(2, "engines run images of this server") else {
        return;
    };
    let setup = Setup::new();
    let home = setup.directory().to_owned();
    let host = format!("{}:{}", engines.host(), setup.spare_port());
    let (shop, blog) = (release(&home, "shop", 3), release(&home, "blog", 1));
    let next = release(&home, "shop", 4);
    let made = prepare(&home, &host, &[&shop, &blog, &next]);
    assert_eq!(made, prepare(&home, &host, &[&shop, &blog, &next]));
    let server = server(&engines, setup);
    let config = logged_in(home.join("docker"), &made[0]);
    let docker = |engine: usize, arguments: &[&str]| {
        engines.try_docker(engine, &[&["--config", &config], arguments].concat())
    };
    let of_shop = &made[0].reference;
    let pulled = docker(1, &["pull", of_shop]);
    assert!(pulled.status.success(), "{pulled:?}\n{}", server.log());
    let place = shop.files[0].display();
    let tmp = shop.writable[0].display();
    let script = format!(
        "{place}/run; cat {place}/.venv/version; id -u; id -g; id -un; id -gn; cd; pwd; touch {tmp}/own && echo wrote; touch {place}/no 2>/dev/null || echo refused; ls /etc/apt"
    );
    let said = engines.docker(1, &["run", "--rm", of_shop, "/bin/sh", "-c", &script]);
    let said: Vec<&str> = said.lines().collect();
    let (uid, gid, home_of) = (UID.to_string(), GID.to_string(), tmp.to_string());
    let wanted = [
        "release 3 of shop",
        "3.11",
        &uid,
        &gid,
        "ps-shop",
        "ps-shop",
        &home_of,
        "wrote",
        "refused",
    ];
    assert_eq!(said[..wanted.len()], wanted);
    // Package sources may have passwords in them.
    assert!(
        !said.iter().any(|name| name.starts_with("sources")),
        "{said:?}"
    );
    // The password of one application opens no image of another.
    let of_blog = docker(1, &["pull", &made[1].reference]);
    let told = String::from_utf8_lossy(&of_blog.stderr);
    assert!(!of_blog.status.success(), "{told}");
    // Of the next release, nodes fetch what is new in it.
    let again = docker(1, &["pull", &made[2].reference]);
    let told = String::from_utf8_lossy(&again.stdout);
    assert!(
        again.status.success() && told.contains("Already exists"),
        "{told}"
    );
    // The swarm tells its nodes the password.
    let service = [
        "service",
        "create",
        "--detach",
        "--with-registry-auth",
        "--name",
        "shop",
        "--restart-condition",
        "none",
        "--constraint",
        "node.hostname==node2",
        &made[2].reference,
        "/bin/sh",
        "-c",
    ];
    let run = format!("{}/run", next.files[0].display());
    let created = docker(1, &[&service[..], &[&run]].concat());
    assert!(created.status.success(), "{created:?}");
    crate::support::wait::eventually("the service has run", LONG, || {
        let logs = engines.try_docker(1, &["service", "logs", "--raw", "shop"]);
        let logs = String::from_utf8_lossy(&logs.stdout).into_owned();
        logs.contains("release 4 of shop").then_some(())
    });
    engines.docker(1, &["service", "rm", "shop"]);
}
