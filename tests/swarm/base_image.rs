//! Images that are built on one in a registry: Debian's docker-registry, and what an engine has pushed there.

use std::fs;
use std::path::Path;
use std::process::Command;

use procserver::document::target_url::TargetUrl;
use procserver::install::limits::{StepError, StepLimits};
use procserver::swarm::image::base_image::BaseImage;
use procserver::swarm::image::registry::Registry;
use procserver::swarm::image::{Image, Images, Origin, Wish};
use tokio::sync::watch;

use super::engines::Engines;
use super::images::{
    LONG, OwnRegistry, log, logged_in, makes_root_file_systems, prepare, release, run, with_package,
};
use crate::support::machine::has;
use crate::support::setup::Setup;

/// Makes the image of a release on `base`, in a data directory that has no root file system.
fn on(data_dir: &Path, origin: Origin, base: &str, wish: &Wish) -> Result<Image, String> {
    let mut base = BaseImage::parse(base).unwrap();
    if let Origin::Registry(registry) = &origin {
        base = registry.lend(base);
    }
    let images = Images::open_on(data_dir, origin, Some(base)).unwrap();
    actix_rt::System::new().block_on(async {
        let (_wanted, cancel) = watch::channel(false);
        let limits = StepLimits::new(LONG, cancel);
        let made = images.prepare(wish, &log(), &limits).await;
        made.map_err(|error| match error {
            StepError::Failed(failure) => format!("{} ({:?})", failure.reason, failure.hint),
            StepError::Cancelled => panic!("nobody cancels"),
        })
    })
}

#[test]
fn images_are_built_on_one_that_an_engine_has_pushed_and_what_is_damaged_is_not_believed() {
    let test = "a base image";
    if !makes_root_file_systems(test) || !has("docker-registry", "docker-registry", test) {
        return;
    }
    let Some(engines) = Engines::start(1, test) else {
        return;
    };
    let setup = Setup::new();
    let home = setup.directory().to_owned();
    let address = format!("{}:{}", engines.host(), setup.spare_port());
    let _registry = OwnRegistry::start(&home, &address);
    let url = format!("http://me:sesame@{address}/apps");
    let registry = Registry::new(TargetUrl::parse(&url, &["http"]).unwrap());
    let origin = || Origin::Registry(registry.clone());

    // A team's own image: of layers, with a variable, by Docker's own forms.
    let first = release(&home, "shop", 1);
    let made = prepare(&home, origin(), &[&first]).remove(0);
    let config = logged_in(home.join("docker"), &made);
    let docker = |words: &[&str]| engines.docker(1, &[&["--config", &*config][..], words].concat());
    docker(&["pull", &made.reference]);
    let tag = format!("{address}/team/base:12");
    let change = "touch /tmp/of-the-team; rm -f /etc/issue.net";
    docker(&[
        "run",
        "--name",
        "team",
        "--user",
        "0",
        "--network",
        "none",
        &made.reference,
        "sh",
        "-c",
        change,
    ]);
    docker(&["commit", "--change", "ENV TEAM=ours", "team", &tag]);
    docker(&["push", &tag]);

    let other = tempfile::tempdir().unwrap();
    let wish = release(other.path(), "blog", 1);
    let base = format!("http://{tag}");
    let image = on(other.path(), origin(), &base, &wish).unwrap();
    docker(&["pull", &image.reference]);
    let script = format!(
        "{}/run; echo $TEAM; ls /tmp/of-the-team; python3 -c 'print(6 * 7)'",
        wish.files[0].display()
    );
    let said = run(&engines, &image, &script);
    assert_eq!(said, "release 1 of blog\nours\n/tmp/of-the-team\n42");

    let lacking = with_package(release(other.path(), "blog", 2), "no-such-package");
    let told = on(other.path(), origin(), &base, &lacking).unwrap_err();
    assert!(
        told.contains("lacks packages of the document: no-such-package"),
        "{told}"
    );

    let nowhere = tempfile::tempdir().unwrap();
    let wish = release(nowhere.path(), "blog", 1);
    let here = || Origin::Here(Some("h:1".to_owned()));
    let told = on(nowhere.path(), here(), &base, &wish).unwrap_err();
    assert!(
        told.contains("401") && told.contains("base_image"),
        "{told}"
    );
    let by_password = base.replace("http://", "http://me:sesame@");
    let none = by_password.replace("base:12", "base:13");
    let told = on(nowhere.path(), here(), &none, &wish).unwrap_err();
    assert!(told.contains("404") && !told.contains("sesame"), "{told}");

    // Somebody who reaches the registry's disk changes a layer.
    let blobs = home.join("registry/docker/registry/v2/blobs/sha256");
    let largest = Command::new("find")
        .arg(&blobs)
        .args(["-name", "data", "-size", "+10M"])
        .output()
        .unwrap();
    let largest = String::from_utf8(largest.stdout).unwrap();
    let largest = largest.lines().next().expect("the root file system");
    let mut content = fs::read(largest).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(largest, content).unwrap();
    let told = on(nowhere.path(), here(), &by_password, &wish).unwrap_err();
    assert!(told.contains("another digest or size"), "{told}");
    // What was fetched before is there all the same.
    let next = release(other.path(), "blog", 3);
    on(other.path(), origin(), &base, &next).unwrap();
}
