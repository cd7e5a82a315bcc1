use std::collections::HashSet;
use std::fs;

use super::*;
use crate::app_dirs::AppDirs;
use crate::swarm::image::wish::Owner;

/// A release of an application, with one file.
pub(crate) fn release(data_dir: &Path, app: &str, code: u64) -> Wish {
    let app = AppName::parse(app).unwrap();
    let dirs = AppDirs::new(data_dir, data_dir, &app);
    let checkout = dirs.release(code);
    fs::create_dir_all(&checkout).unwrap();
    fs::write(checkout.join("file"), format!("{code} of {app}")).unwrap();
    Wish {
        app,
        code,
        files: vec![checkout],
        writable: vec![],
        tmp: "/var/tmp/shop".into(),
        owner: Owner {
            user: "shop".into(),
            group: "shop".into(),
            uid: 998,
            gid: 997,
            home: "/".into(),
        },
        packages: vec![],
        found: vec![],
    }
}

fn blobs(images: &Images) -> usize {
    fs::read_dir(images.0.store.directory.join("blobs"))
        .unwrap()
        .count()
}

#[actix_web::test]
async fn an_image_lives_as_long_as_the_directory_of_its_release() {
    let home = tempfile::tempdir().unwrap();
    let images = Images::open(home.path(), Origin::Here(None)).unwrap();
    let all = [("shop", 1), ("shop", 2), ("blog", 1)];
    let all = all.map(|(app, code)| release(home.path(), app, code));
    let manifests = all.each_ref().map(|wish| images.plant(wish).unwrap().0);
    // The root file system, the account, and of each image files, configuration and manifest.
    assert_eq!(blobs(&images), 2 + 9);
    images.sweep().await;
    assert_eq!(blobs(&images), 2 + 9);
    fs::remove_dir_all(&all[0].files[0]).unwrap();
    fs::remove_dir_all(home.path().join("apps/blog")).unwrap();
    images.sweep().await;
    assert_eq!(blobs(&images), 2 + 3);
    let given = |wish: &Wish, digest| images.manifest(&wish.app, digest).unwrap().is_some();
    assert!(given(&all[1], &manifests[1]));
    assert!(!given(&all[0], &manifests[0]) && !given(&all[2], &manifests[2]));
    assert!(
        !images.0.store.of(&all[2].app).exists(),
        "its password is gone"
    );
}

#[test]
fn an_image_is_made_once_and_anew_for_another_release_of_the_same_number() {
    let home = tempfile::tempdir().unwrap();
    let images = Images::open(home.path(), Origin::Here(None)).unwrap();
    let wish = release(home.path(), "shop", 1);
    assert!(images.0.store.known(&wish).unwrap().is_none());
    let (manifest, secret) = images.plant(&wish).unwrap();
    let known = images
        .0
        .store
        .known(&wish)
        .unwrap()
        .map(|record| record.manifest);
    assert_eq!(known, Some(manifest));
    assert_eq!(images.plant(&wish).unwrap(), (manifest, secret));
    let other = Wish {
        owner: Owner {
            uid: 5,
            ..wish.owner.clone()
        },
        ..wish.clone()
    };
    assert!(images.0.store.known(&other).unwrap().is_none());
    // The application was removed, and one of that name was made.
    fs::rename(&wish.files[0], home.path().join("old")).unwrap();
    release(home.path(), "shop", 1);
    assert!(images.0.store.known(&wish).unwrap().is_none());
}

#[test]
fn an_image_that_lacks_a_blob_is_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let images = Images::open(home.path(), Origin::Here(None)).unwrap();
    let wish = release(home.path(), "shop", 1);
    let (manifest, _) = images.plant(&wish).unwrap();
    images
        .0
        .store
        .blobs
        .retain(&HashSet::from([manifest]))
        .unwrap();
    assert!(images.0.store.known(&wish).unwrap().is_none());
}

#[test]
fn nobody_gets_what_is_another_s() {
    let home = tempfile::tempdir().unwrap();
    let images = Images::open(home.path(), Origin::Here(None)).unwrap();
    let (shop, blog) = (
        release(home.path(), "shop", 1),
        release(home.path(), "blog", 1),
    );
    let (manifest, secret) = images.plant(&shop).unwrap();
    let (_, other) = images.plant(&blog).unwrap();
    assert_ne!(secret, other);
    let record = images.0.store.known(&shop).unwrap().unwrap();
    let own = record.layers.last().unwrap().digest;
    assert!(images.blob(&shop.app, &own).unwrap().is_some());
    assert!(images.blob(&blog.app, &own).unwrap().is_none());
    assert!(images.manifest(&blog.app, &manifest).unwrap().is_none());
    // A manifest is no blob, nor a blob a manifest.
    assert!(images.blob(&shop.app, &manifest).unwrap().is_none());
    assert!(images.manifest(&shop.app, &own).unwrap().is_none());
    assert!(!images.opens(&blog.app, b"") && !images.opens(&shop.app, b"wrong"));
}
