//! What a registry says of an image (OCI image specification: image-index.md, manifest.md, config.md), and Docker's older
//! forms of the same (pure). All of it is from elsewhere: each size and number is bounded.

use serde::Deserialize;

use super::digest::Digest;

/// What is asked for, in the order of what is liked best.
pub const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// Layers that all engines take, as archives in gzip.
const LAYERS: [&str; 2] = [
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];

/// Engines stack 128 layers; some are the application's.
const MOST_LAYERS: usize = 100;

/// Bytes of all layers together, as they are sent.
const MOST_BYTES: u64 = 16 << 30;

/// Bytes of a configuration.
pub const LARGEST_CONFIG: u64 = 1 << 20;

/// A part of an image, or an image in an index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// A manifest, or an index of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// Of one image: its configuration, and its layers from the lowest on.
    Manifest(Descriptor, Vec<Descriptor>),
    /// The image for this machine.
    Index(Digest),
}

impl Document {
    /// Reads one; `architecture` as images name it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &[u8], architecture: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Either {
            config: Option<Descriptor>,
            layers: Option<Vec<Descriptor>>,
            manifests: Option<Vec<Descriptor>>,
        }
        let either: Either = serde_json::from_slice(text)
            .map_err(|error| format!("gives no manifest that this server knows: {error}"))?;
        match either {
            Either {
                manifests: Some(all),
                ..
            } => {
                let is_ours = |one: &&Descriptor| {
                    let platform = one.platform.as_ref();
                    platform.is_some_and(|p| p.os == "linux" && p.architecture == architecture)
                };
                let found = all.iter().find(is_ours).map(|one| one.digest);
                let missing = || format!("has no image for linux on {architecture}");
                found.map(Self::Index).ok_or_else(missing)
            }
            Either {
                config: Some(config),
                layers: Some(layers),
                ..
            } => {
                check(&config, &layers)?;
                Ok(Self::Manifest(config, layers))
            }
            _ => Err("gives a manifest without configuration and layers".to_owned()),
        }
    }
}

fn check(config: &Descriptor, layers: &[Descriptor]) -> Result<(), String> {
    if config.size > LARGEST_CONFIG {
        return Err(format!("has a configuration of {} bytes", config.size));
    }
    if layers.is_empty() || layers.len() > MOST_LAYERS {
        return Err(format!(
            "has an image of {} layers: 1 to {MOST_LAYERS} can be",
            layers.len()
        ));
    }
    let total = layers
        .iter()
        .try_fold(0_u64, |sum, one| sum.checked_add(one.size));
    if total.is_none_or(|total| total > MOST_BYTES) {
        return Err(format!(
            "has an image of more than {} GiB",
            MOST_BYTES >> 30
        ));
    }
    let strange = layers
        .iter()
        .find(|one| !LAYERS.contains(&&*one.media_type));
    match strange {
        Some(one) => Err(format!(
            "has a layer of the kind {:.80?}: only archives in gzip can be",
            one.media_type
        )),
        None => Ok(()),
    }
}

/// What a configuration says that holds for images that are built on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Of the layers before they were compressed, from the lowest on.
    pub diff_ids: Vec<Digest>,
    /// `NAME=value`
    pub env: Vec<String>,
}

impl Config {
    /// Reads the configuration of an image of so many layers.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &[u8], architecture: &str, layers: usize) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Whole {
            architecture: String,
            os: String,
            config: Option<Inner>,
            rootfs: RootFs,
        }
        #[derive(Default, Deserialize)]
        struct Inner {
            #[serde(rename = "Env")]
            env: Option<Vec<String>>,
        }
        #[derive(Deserialize)]
        struct RootFs {
            diff_ids: Vec<Digest>,
        }
        let whole: Whole = serde_json::from_slice(text)
            .map_err(|error| format!("gives no configuration that this server knows: {error}"))?;
        if whole.os != "linux" || whole.architecture != architecture {
            return Err(format!(
                "has an image for {:.20} on {:.20}, and this machine is linux on {architecture}",
                whole.os, whole.architecture
            ));
        }
        let diff_ids = whole.rootfs.diff_ids;
        if diff_ids.len() != layers {
            return Err("has a configuration of another image than its manifest".to_owned());
        }
        Ok(Self {
            diff_ids,
            env: whole.config.unwrap_or_default().env.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(kind: &str, size: u64) -> Value {
        json!({ "mediaType": kind, "digest": Digest::of(b"").to_string(), "size": size })
    }

    fn document(value: &Value) -> Result<Document, String> {
        Document::read(value.to_string().as_bytes(), "amd64")
    }

    #[test]
    fn an_index_leads_to_the_image_for_this_machine() {
        let one = |os: &str, architecture: &str, content: &[u8]| {
            let platform = json!({ "os": os, "architecture": architecture });
            json!({ "digest": Digest::of(content).to_string(), "size": 1, "platform": platform })
        };
        let all = json!({ "manifests": [one("linux", "arm64", b"1"), one("windows", "amd64", b"2"), one("linux", "amd64", b"3")] });
        assert_eq!(document(&all), Ok(Document::Index(Digest::of(b"3"))));
        let none = json!({ "manifests": [one("linux", "arm64", b"1")] });
        assert!(document(&none).unwrap_err().contains("linux on amd64"));
    }

    #[test]
    fn a_manifest_is_of_bounded_size_and_of_layers_that_engines_take() {
        let config = descriptor("application/vnd.oci.image.config.v1+json", 10);
        let of = |layers: &[Value]| document(&json!({ "config": config, "layers": layers }));
        let good = descriptor(LAYERS[1], 5);
        assert!(
            matches!(of(std::slice::from_ref(&good)), Ok(Document::Manifest(_, layers)) if layers.len() == 1)
        );
        assert!(of(&[]).is_err() && of(&vec![good; MOST_LAYERS + 1]).is_err());
        let large = [
            descriptor(LAYERS[0], u64::MAX),
            descriptor(LAYERS[0], u64::MAX),
        ];
        assert!(of(&large).unwrap_err().contains("GiB"));
        let zstd = descriptor("application/vnd.oci.image.layer.v1.tar+zstd", 5);
        assert!(of(&[zstd]).unwrap_err().contains("gzip"));
        let config = descriptor("", LARGEST_CONFIG + 1);
        assert!(document(&json!({ "config": config, "layers": [] })).is_err());
        assert!(document(&json!({})).is_err());
        assert!(Document::read(b"<html>", "amd64").is_err());
    }

    #[test]
    fn a_configuration_is_of_this_machine_s_kind_and_of_its_manifest() {
        let ids = json!([Digest::of(b"1")]);
        let text = |architecture: &str| {
            json!({ "os": "linux", "architecture": architecture, "rootfs": { "diff_ids": ids }, "config": { "Env": ["A=b"] } })
                .to_string()
        };
        let read =
            |architecture, layers| Config::read(text(architecture).as_bytes(), "amd64", layers);
        assert_eq!(read("amd64", 1).unwrap().env, ["A=b"]);
        assert!(read("arm64", 1).unwrap_err().contains("arm64"));
        assert!(read("amd64", 2).unwrap_err().contains("another image"));
    }
}
