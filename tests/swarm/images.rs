//! Images without a registry: made by this server, fetched from it by real engines, and run.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use procserver::document::name::AppName;
use procserver::document::package::Package;
use procserver::document::target_url::TargetUrl;
use procserver::install::install_log::InstallLog;
use procserver::install::limits::{StepError, StepLimits};
use procserver::install::lines::Mask;
use procserver::logs::log::Append;
use procserver::swarm::image::registry::Registry;
use procserver::swarm::image::{Image, Images, Origin, Owner, Wish};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::engines::Engines;
use super::kept_base;
use crate::support::machine::{has, is_root, processes_of, skip};
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually, within};
use crate::tls::{certificate, pair};

/// mmdebstrap fetches packages.
pub(super) const LONG: Duration = Duration::from_secs(600);

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
pub(super) fn release(data_dir: &Path, app: &str, code: u64) -> Wish {
    let root = data_dir.join("apps").join(app);
    let (checkout, venv) = (root.join(format!("releases/{code}")), root.join("venvs/1"));
    for directory in [&checkout, &venv, &root.join("tmp")] {
        fs::create_dir_all(directory).unwrap();
    }
    let run = checkout.join("run");
    fs::write(&run, format!("#!/bin/sh\necho release {code} of {app}\n")).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o555)).unwrap();
    symlink(&venv, checkout.join(".venv")).unwrap();
    fs::create_dir_all(venv.join("bin")).unwrap();
    let interpreter = venv.join("bin/python");
    if !interpreter.is_symlink() {
        symlink("/usr/bin/python3", interpreter).unwrap();
    }
    Wish {
        app: AppName::parse(app).unwrap(),
        code,
        files: vec![checkout, venv],
        writable: vec![root.join("tmp")],
        tmp: root.join("temporary"),
        owner: Owner {
            user: format!("ps-{app}"),
            group: format!("ps-{app}"),
            uid: UID,
            gid: GID,
            home: root.join("tmp"),
        },
        packages: vec![python()],
        found: vec![],
    }
}

/// The root file system that other tests have, too.
fn python() -> Package {
    Package {
        name: "python3".to_owned(),
        version: None,
    }
}

/// Makes an image of each.
pub(super) fn prepare(data_dir: &Path, origin: Origin, wishes: &[&Wish]) -> Vec<Image> {
    kept_base::give(data_dir);
    let images = Images::open(data_dir, origin).unwrap();
    let made = actix_rt::System::new().block_on(async {
        let (_wanted, cancel) = watch::channel(false);
        let mut made = Vec::new();
        for wish in wishes {
            let limits = StepLimits::new(LONG, cancel.clone());
            made.push(images.prepare(wish, &log(), &limits).await.unwrap());
        }
        made
    });
    kept_base::keep(data_dir);
    made
}

pub(super) fn log() -> InstallLog {
    InstallLog::new(NoLog.start().recipient(), 1, Mask::new::<Vec<u8>>([]))
}

pub(super) fn here(host: &str) -> Origin {
    Origin::Here(Some(host.to_owned()))
}

/// Runs a script in an image, as the engine's first one.
pub(super) fn run(engines: &Engines, image: &Image, script: &str) -> String {
    engines.docker(
        1,
        &["run", "--rm", &image.reference, "/bin/sh", "-c", script],
    )
}

/// A configuration of docker that logs in with what belongs to `image`.
pub(super) fn logged_in(directory: PathBuf, image: &Image) -> String {
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
    let wishes = [&shop, &blog, &next];
    let made = prepare(&home, here(&host), &wishes);
    assert_eq!(made, prepare(&home, here(&host), &wishes));
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
        "{place}/run; {place}/.venv/bin/python -c 'print(6 * 7)'; id -u; id -g; id -un; id -gn; cd; pwd; touch {tmp}/own && echo wrote; touch {place}/no 2>/dev/null || echo refused; ls /etc/apt"
    );
    let said = run(&engines, &made[0], &script);
    let said: Vec<&str> = said.lines().collect();
    let (uid, gid, home_of) = (UID.to_string(), GID.to_string(), tmp.to_string());
    let wanted = [
        "release 3 of shop",
        "42",
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
    let script = format!("{}/run", next.files[0].display());
    let created = docker(1, &[&service[..], &[&script]].concat());
    assert!(created.status.success(), "{created:?}");
    eventually("the service has run", LONG, || {
        let logs = engines.try_docker(1, &["service", "logs", "--raw", "shop"]);
        let logs = String::from_utf8_lossy(&logs.stdout).into_owned();
        logs.contains("release 4 of shop").then_some(())
    });
    engines.docker(1, &["service", "rm", "shop"]);
}

#[test]
fn nodes_fetch_images_over_tls_and_from_a_registry() {
    let test = "nodes fetch images over TLS and from a registry";
    if !has("docker-registry", "docker-registry", test) {
        return;
    }
    let Some(mut engines) = Engines::start(1, test) else {
        return;
    };
    over_tls_by_the_name_of_this_server(&mut engines);
    from_a_registry(&engines);
}

fn over_tls_by_the_name_of_this_server(engines: &mut Engines) {
    let setup = Setup::new();
    let home = setup.directory().to_owned();
    let port = setup.spare_port();
    let host = format!("images.test:{port}");
    let shop = release(&home, "shop", 1);
    let made = prepare(&home, here(&host), &[&shop]);
    certificate(&home, "own", "images.test");
    // The node knows the name from when it boots. Engines of the fixture believe any certificate in its network:
    // own_authority.rs has one that is believed by certs.d.
    engines.kill(1);
    let hosts = format!("127.0.0.1 localhost\n{} images.test\n", engines.host());
    fs::write(engines.etc(1).join("hosts"), hosts).unwrap();
    engines.revive(1);
    let socket = engines.socket(1).display().to_string();
    let server = setup
        .flag("--tls-listen", &format!("{}:{port}", engines.host()))
        .flag("--tls-certificate", &pair(&home, "own"))
        .flag("--api-hosts", "images.test")
        .flag("--api", "api_hosts")
        .flag("--swarm-socket", &socket)
        .start();
    let config = logged_in(home.join("docker"), &made[0]);
    let pull = ["--config", &config, "pull", &made[0].reference];
    let pulled = engines.try_docker(1, &pull);
    assert!(pulled.status.success(), "{pulled:?}\n{}", server.log());
    let script = format!("{}/run", shop.files[0].display());
    assert_eq!(run(engines, &made[0], &script), "release 1 of shop");
}

/// Debian's registry; it ends with the test.
pub(super) struct OwnRegistry(Child);

impl OwnRegistry {
    /// With a user `me` whose password is `sesame`.
    pub(super) fn start(directory: &Path, address: &str) -> Self {
        Self::start_with(directory, address, "")
    }

    /// As [`Self::start`]; `http`: more of its configuration, `, name: value`.
    pub(super) fn start_with(directory: &Path, address: &str, http: &str) -> Self {
        let hash = bcrypt::hash("sesame", 4).unwrap();
        fs::write(directory.join("htpasswd"), format!("me:{hash}\n")).unwrap();
        let at = directory.display();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {at}/registry}}}}\n\
             http: {{addr: \"{address}\"{http}}}\nauth: {{htpasswd: {{realm: r, path: {at}/htpasswd}}}}\n"
        );
        let file = directory.join("registry.yml");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(directory.join("registry.log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let listens = || TcpStream::connect(address).ok();
        let own = Self(child);
        eventually("the registry listens", SOON, listens);
        own
    }
}

impl Drop for OwnRegistry {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn from_a_registry(engines: &Engines) {
    let setup = Setup::new();
    let home = setup.directory().to_owned();
    let address = format!("{}:{}", engines.host(), setup.spare_port());
    let _registry = OwnRegistry::start(&home, &address);
    let origin = |password: &str| {
        let url = format!("http://me:{password}@{address}/apps");
        Origin::Registry(Registry::new(TargetUrl::parse(&url, &["http"]).unwrap()))
    };
    let (shop, next) = (release(&home, "shop", 1), release(&home, "shop", 2));
    // The second time there is nothing to push, and of the next release little.
    let mut made = prepare(&home, origin("sesame"), &[&shop, &shop, &next]);
    let (next_image, image) = (made.pop().unwrap(), made.pop().unwrap());
    let wanted = format!("{address}/apps/shop@sha256:");
    assert!(image.reference.starts_with(&wanted), "{image:?}");
    assert_eq!(made.as_slice(), std::slice::from_ref(&image));
    let config = logged_in(home.join("docker"), &image);
    for (image, wish) in [(&image, &shop), (&next_image, &next)] {
        let pull = ["--config", &config, "pull", &image.reference];
        let pulled = engines.try_docker(1, &pull);
        assert!(pulled.status.success(), "{pulled:?}");
        let script = format!("{}/run", wish.files[0].display());
        let said = format!("release {} of shop", wish.code);
        assert_eq!(run(engines, image, &script), said);
    }
    let told = refused(&home, origin("wrong"), &release(&home, "blog", 1));
    assert!(
        told.contains("the registry") && told.contains("401"),
        "{told}"
    );
    let nobody = format!("http://{}:1", engines.host());
    let nobody = Registry::new(TargetUrl::parse(&nobody, &["http"]).unwrap());
    let told = refused(&home, Origin::Registry(nobody), &shop);
    assert!(told.contains("cannot be reached"), "{told}");
}

/// Why an image cannot be made, and what to do.
fn refused(data_dir: &Path, origin: Origin, wish: &Wish) -> String {
    let images = Images::open(data_dir, origin).unwrap();
    actix_rt::System::new().block_on(async {
        let (_wanted, cancel) = watch::channel(false);
        let limits = StepLimits::new(LONG, cancel);
        match images.prepare(wish, &log(), &limits).await {
            Err(StepError::Failed(failure)) => {
                let tail = failure.log_tail.join("\n");
                format!("{} ({:?})\n{tail}", failure.reason, failure.hint)
            }
            other => panic!("{other:?}"),
        }
    })
}

/// Whether root file systems can be made here.
pub(super) fn makes_root_file_systems(test: &str) -> bool {
    if !is_root() {
        skip(test, "mmdebstrap is run by root");
        return false;
    }
    has("mmdebstrap", "mmdebstrap", test)
}

pub(super) fn with_package(wish: Wish, name: &str) -> Wish {
    let package = Package {
        name: name.to_owned(),
        version: None,
    };
    Wish {
        packages: vec![package],
        ..wish
    }
}

#[test]
fn a_package_that_debian_has_not_is_named() {
    if !makes_root_file_systems("a package that Debian has not") {
        return;
    }
    let setup = Setup::new();
    let home = setup.directory().to_owned();
    let wish = with_package(release(&home, "shop", 1), "no-such-package-at-all");
    let told = refused(&home, here("h:1"), &wish);
    assert!(
        told.contains("no root file system with these packages"),
        "{told}"
    );
    assert!(told.contains("no-such-package-at-all"), "{told}");
    assert!(told.contains("Unable to locate package"), "{told}");
    assert_eq!(fs::read_dir(home.join("swarm/work")).unwrap().count(), 0);
}

#[test]
fn a_root_file_system_that_nobody_wants_any_more_leaves_nothing() {
    if !makes_root_file_systems("a root file system that nobody wants") {
        return;
    }
    let setup = Setup::new();
    let home = setup.directory().to_owned();
    let wish = with_package(release(&home, "shop", 1), "jq");
    let work = home.join("swarm/work");
    // mmdebstrap has begun when it has a directory in its temporary one.
    let has_begun = || {
        let inner = fs::read_dir(&work).ok()?.next()?.ok()?.path();
        fs::read_dir(inner).ok()?.next()
    };
    for is_dropped in [false, true] {
        let images = Images::open(&home, here("h:1")).unwrap();
        let ended = actix_rt::System::new().block_on(async {
            let (wanted, cancel) = watch::channel(false);
            let limits = StepLimits::new(LONG, cancel);
            let log = log();
            let mut made = Box::pin(images.prepare(&wish, &log, &limits));
            let begun = async {
                while has_begun().is_none() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                made = &mut made => panic!("{made:?}"),
                () = begun => {}
            }
            if is_dropped {
                return None;
            }
            wanted.send_replace(true);
            Some(made.await)
        });
        assert!(
            matches!(ended, None | Some(Err(StepError::Cancelled))),
            "{ended:?}"
        );
        let is_over = within(SOON, || processes_of(&home).is_empty().then_some(()));
        assert!(is_over.is_some(), "something runs on");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(&*home.display().to_string()), "{mounts}");
        // What was killed at once is removed by the next server.
        Images::open(&home, here("h:1")).unwrap();
        assert_eq!(fs::read_dir(&work).unwrap().count(), 0);
    }
    let blobs = fs::read_dir(home.join("swarm/blobs")).unwrap().count();
    assert_eq!(blobs, 0);
}
