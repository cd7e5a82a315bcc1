//! The documents of an image: its configuration and its manifest (OCI image specification, config.md, manifest.md)
//! (pure).

use serde_json::{Value, json};

use super::digest::Digest;
use super::layer::Layer;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The configuration of an image whose processes run as `user` (`uid:gid`), with these variables beside their own. It has
/// no time: the same files make the same image.
#[must_use]
pub fn config(architecture: &str, user: &str, env: &[String], layers: &[Layer]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|l| l.diff_id.to_string()).collect();
    let document = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "User": user, "Env": env },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    document.to_string().into_bytes()
}

/// The manifest of an image with this configuration.
#[must_use]
pub fn manifest((config, size): (Digest, u64), layers: &[Layer]) -> Vec<u8> {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| descriptor(LAYER, layer.digest, layer.size))
        .collect();
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config, size),
        "layers": layers,
    });
    document.to_string().into_bytes()
}

fn descriptor(kind: &str, digest: Digest, size: u64) -> Value {
    json!({ "mediaType": kind, "digest": digest.to_string(), "size": size })
}

/// An architecture as images name it (Go's GOARCH), from Rust's name.
#[must_use]
pub fn architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_configuration_and_layers_in_their_order() {
        let layer = |text: &str| Layer {
            digest: Digest::of(text.as_bytes()),
            size: text.len() as u64,
            diff_id: Digest::of(text.to_uppercase().as_bytes()),
        };
        let layers = [layer("base"), layer("release")];
        let config = config(
            architecture("x86_64"),
            "33:33",
            &["A=b".to_owned()],
            &layers,
        );
        let read: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(read["architecture"], "amd64");
        assert_eq!(read["config"], json!({ "User": "33:33", "Env": ["A=b"] }));
        assert_eq!(
            read["rootfs"]["diff_ids"],
            json!([layers[0].diff_id, layers[1].diff_id])
        );
        let (digest, size) = (Digest::of(&config), config.len() as u64);
        let read: Value = serde_json::from_slice(&manifest((digest, size), &layers)).unwrap();
        assert_eq!(read["config"]["digest"], digest.to_string());
        assert_eq!(read["config"]["size"], size);
        assert_eq!(read["layers"][0]["digest"], layers[0].digest.to_string());
        assert_eq!(read["layers"][1]["size"], 7);
    }
}
