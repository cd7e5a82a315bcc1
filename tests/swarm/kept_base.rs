//! Root file systems of images, which take mmdebstrap half a minute: kept between runs beside what Cargo builds.

use std::path::{Path, PathBuf};

/// Where they are kept, as a server has them.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("swarm")
}

/// Gives a server the root file systems of earlier runs; before its first image.
pub(crate) fn give(data_dir: &Path) {
    copy(&kept(), &data_dir.join("swarm"));
}

/// Keeps the root file systems that a server has made. Their layers are named by their records.
pub(crate) fn keep(data_dir: &Path) {
    copy(&data_dir.join("swarm"), &kept());
}

fn copy(from: &Path, to: &Path) {
    let Ok(records) = std::fs::read_dir(from.join("bases")) else {
        return;
    };
    for part in ["bases", "blobs"] {
        std::fs::create_dir_all(to.join(part)).unwrap();
    }
    let records = records.map(|record| record.unwrap().path());
    // Others may place one now.
    for record in records.filter(|path| path.extension().is_some_and(|kind| kind == "json")) {
        let text = std::fs::read_to_string(&record).unwrap();
        let text: serde_json::Value = serde_json::from_str(&text).unwrap();
        let digest = text["layer"]["digest"].as_str().unwrap();
        let blob = Path::new("blobs").join(digest.strip_prefix("sha256:").unwrap());
        // The record last: what it names is there. Others may do the same now.
        place(&from.join(&blob), &to.join(&blob));
        place(&record, &to.join("bases").join(record.file_name().unwrap()));
    }
}

fn place(from: &Path, to: &Path) {
    let directory = to.parent().unwrap();
    let half = tempfile::NamedTempFile::new_in(directory).unwrap();
    std::fs::copy(from, half.path()).unwrap();
    half.persist(to).unwrap();
}
