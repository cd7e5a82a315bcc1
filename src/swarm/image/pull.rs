//! [`pull`]: the layers of a base image, fetched from its registry (OCI distribution specification 1.0, pulling). What
//! comes is believed by its digests alone.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use awc::http::{Method, StatusCode};
use flate2::read::MultiGzDecoder;
use futures::StreamExt as _;

use super::base_image::BaseImage;
use super::blobs::Blobs;
use super::digest::{Digest, Hashing};
use super::index::{ACCEPTED, Config, Descriptor, Document, LARGEST_CONFIG};
use super::layer::Layer;
use super::session::{Answer, RegistryError, Session};

/// Bytes of a manifest, as registries bound them.
const LARGEST_MANIFEST: u64 = 4 << 20;

/// Bytes of a layer's archive: one of zeros is a thousand times what is sent.
const LARGEST_ARCHIVE: u64 = 32 << 30;

/// Bytes of dpkg's status, and of the files of accounts.
const LARGEST_STATUS: u64 = 16 << 20;
const LARGEST_ACCOUNTS: u64 = 512 << 10;

/// How often an answer may lead elsewhere.
const HOPS: u32 = 3;

/// An image as its registry gives it, in the store.
#[derive(Clone, Debug)]
pub struct Pulled {
    pub digest: Digest,
    /// From the lowest on.
    pub layers: Vec<Layer>,
    /// `NAME=value`
    pub env: Vec<String>,
    pub files: Files,
}

/// What is read out of an image; `None`: it has no such file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    pub passwd: Option<String>,
    pub group: Option<String>,
    /// Of dpkg, which says what packages there are.
    pub status: Option<String>,
}

/// Fetches an image whose architecture is `architecture`, as images name it. `tell` is told of each layer.
///
/// # Errors
/// [`RegistryError`]. What was fetched until then stays until it is swept.
pub async fn pull(
    image: &BaseImage,
    architecture: &'static str,
    blobs: &Blobs,
    tell: impl AsyncFn(String),
) -> Result<Pulled, RegistryError> {
    let mut pull = Pull {
        unwanted: Unwanted::default(),
        session: Session::new(&image.url, image.ca.clone()).await?,
        name: image.name(),
        blobs,
    };
    let (mut digest, mut document) = pull.document(&image.version, architecture).await?;
    if let Document::Index(of_this_machine) = document {
        let version = of_this_machine.to_string();
        (digest, document) = pull.document(&version, architecture).await?;
    }
    let Document::Manifest(config, parts) = document else {
        return Err(pull.session.wrong("has an index of indexes"));
    };
    let config = pull.config(&config, architecture, parts.len()).await?;
    let (mut layers, mut files) = (Vec::new(), Files::default());
    for (part, diff_id) in parts.iter().zip(&config.diff_ids) {
        if !blobs.has(&part.digest) {
            tell(format!("fetching {} ({} bytes)", part.digest, part.size)).await;
            pull.layer(part).await?;
        }
        let layer = Layer {
            digest: part.digest,
            size: part.size,
            diff_id: *diff_id,
        };
        files = pull.verify(layer.clone(), files).await?;
        layers.push(layer);
    }
    Ok(Pulled {
        digest,
        layers,
        env: config.env,
        files,
    })
}

/// Ends what reads a layer on another thread when nobody waits for it any more.
#[derive(Clone, Default)]
struct Unwanted(Arc<AtomicBool>);

impl Unwanted {
    fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(io::Error::other("nobody waits for it any more")),
            false => Ok(()),
        }
    }
}

impl Drop for Pull<'_> {
    fn drop(&mut self) {
        self.unwanted.0.store(true, Ordering::Relaxed);
    }
}

struct Pull<'a> {
    unwanted: Unwanted,
    session: Session,
    name: &'a str,
    blobs: &'a Blobs,
}

impl Pull<'_> {
    async fn document(
        &mut self,
        version: &str,
        architecture: &str,
    ) -> Result<(Digest, Document), RegistryError> {
        let url = self.session.url(self.name, &format!("manifests/{version}"));
        let text = self
            .text(&url, "image of this name", LARGEST_MANIFEST)
            .await?;
        let digest = Digest::of(&text);
        if Digest::parse(version).is_ok_and(|wanted| wanted != digest) {
            return Err(self.other("a manifest"));
        }
        let read = Document::read(&text, architecture);
        Ok((digest, read.map_err(|why| self.session.wrong(why))?))
    }

    async fn config(
        &mut self,
        of: &Descriptor,
        architecture: &str,
        layers: usize,
    ) -> Result<Config, RegistryError> {
        let url = self.session.url(self.name, &format!("blobs/{}", of.digest));
        let text = self.text(&url, "configuration", LARGEST_CONFIG).await?;
        if Digest::of(&text) != of.digest {
            return Err(self.other("a configuration"));
        }
        let read = Config::read(&text, architecture, layers);
        read.map_err(|why| self.session.wrong(why))
    }

    /// Stores a layer whose digest and size are as they should be.
    async fn layer(&mut self, of: &Descriptor) -> Result<(), RegistryError> {
        let url = self.session.url(self.name, &format!("blobs/{}", of.digest));
        let mut answer = self.get(&url, "layer").await?;
        let mut writer = self.blobs.write()?;
        let mut left = of.size;
        while let Some(piece) = answer.next().await {
            let piece = piece.map_err(|error| self.session.unreachable(&error.to_string()))?;
            let Some(rest) = left.checked_sub(piece.len() as u64) else {
                return Err(self.other("a layer"));
            };
            left = rest;
            writer = on_disk(move || writer.write_all(&piece).map(|()| writer)).await?;
        }
        let wanted = of.digest;
        match on_disk(move || writer.store_as(wanted)).await? {
            Some(_) if left == 0 => Ok(()),
            _ => Err(self.other("a layer")),
        }
    }

    /// Reads a layer that is stored: whether its archive is what the configuration says, and what files it has, above those
    /// of the layers below.
    async fn verify(&self, layer: Layer, below: Files) -> Result<Files, RegistryError> {
        let (blobs, unwanted) = (self.blobs.clone(), self.unwanted.clone());
        let look = move || {
            let missing = || io::Error::from(io::ErrorKind::NotFound);
            let file = blobs.read(&layer.digest)?.ok_or_else(missing)?;
            let (found, files) = read(file, below, &|| unwanted.check())?;
            Ok((found == layer.diff_id).then_some(files))
        };
        let looked = on_disk(look).await.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::UnexpectedEof => self
                .session
                .wrong(format!("has a layer that is no archive in gzip: {error}")),
            _ => error.into(),
        });
        looked?.ok_or_else(|| self.other("the archive of a layer"))
    }

    async fn text(&mut self, url: &str, what: &str, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let mut answer = self.get(url, what).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut text = Vec::new();
        while let Some(piece) = answer.next().await {
            let piece = piece.map_err(|error| self.session.unreachable(&error.to_string()))?;
            text.extend_from_slice(&piece);
            if text.len() > limit {
                return Err(self
                    .session
                    .wrong(format!("gives more than {limit} bytes as {what}")));
            }
        }
        Ok(text)
    }

    /// What is at `url`, or where that leads.
    async fn get(&mut self, url: &str, what: &str) -> Result<Answer, RegistryError> {
        let mut url = url.to_owned();
        for _ in 0..=HOPS {
            let answer = self.session.ask(Method::GET, &url, ACCEPTED, None).await?;
            if answer.status() == StatusCode::OK {
                return Ok(answer);
            }
            let place = answer
                .status()
                .is_redirection()
                .then(|| self.session.location(&answer));
            url = match place.flatten() {
                // What came by TLS goes on by TLS.
                Some(place) if place.starts_with("https://") || url.starts_with("http://") => place,
                _ => {
                    return Err(self
                        .session
                        .refused(&format!("gives no {what}"), answer)
                        .await);
                }
            };
        }
        Err(self.session.wrong("leads on and on"))
    }

    fn other(&self, what: &str) -> RegistryError {
        self.session.wrong(format!(
            "gives {what} with another digest or size than it names"
        ))
    }
}

/// On a thread that may wait for the disk.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

impl Files {
    /// The file at this path of an archive, if it is one of these.
    fn at(&mut self, path: &str) -> Option<&mut Option<String>> {
        match path {
            "etc/passwd" => Some(&mut self.passwd),
            "etc/group" => Some(&mut self.group),
            "var/lib/dpkg/status" => Some(&mut self.status),
            _ => None,
        }
    }

    /// An entry of a layer that lies above.
    fn take(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<()> {
        let path = entry.path()?.into_owned();
        let Some(path) = path.strip_prefix(".").unwrap_or(&path).to_str() else {
            return Ok(());
        };
        // A layer takes a file of those below away by one of this name (layer.md, whiteouts).
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some(hidden) = name.strip_prefix(".wh.") {
            if let Some(file) = self.at(&format!("{above}/{hidden}")) {
                *file = None;
            }
            return Ok(());
        }
        let is_file = entry.header().entry_type().is_file();
        let limit = match name {
            "status" => LARGEST_STATUS,
            _ => LARGEST_ACCOUNTS,
        };
        let Some(file) = self.at(path) else {
            return Ok(());
        };
        if entry.size() > limit {
            let told = format!("its {path} has more than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        *file = is_file.then(|| String::from_utf8_lossy(&bytes).into_owned());
        Ok(())
    }
}

/// The digest of a layer's archive, and the files that there are once it lies above others with `files`.
fn read(
    layer: impl Read,
    mut files: Files,
    check: &dyn Fn() -> io::Result<()>,
) -> io::Result<(Digest, Files)> {
    let mut reading = Reading {
        check,
        inner: MultiGzDecoder::new(layer).take(LARGEST_ARCHIVE),
        hash: Hashing::new(io::sink()),
    };
    // Raw: a long name, or what else comes before an entry, may be of any size, and would be held in memory.
    for entry in tar::Archive::new(&mut reading).entries()?.raw(true) {
        files.take(&mut entry?)?;
    }
    // What follows the end of an archive counts, too.
    io::copy(&mut reading, &mut io::sink())?;
    let (_, digest, _) = reading.hash.finish();
    Ok((digest, files))
}

/// Digests what is read, and asks before whether anybody still wants it.
struct Reading<'a, R> {
    check: &'a dyn Fn() -> io::Result<()>,
    inner: R,
    hash: Hashing<io::Sink>,
}

impl<R: Read> Read for Reading<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (self.check)()?;
        let read = self.inner.read(bytes)?;
        self.hash.write_all(&bytes[..read])?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::layer::{LayerWriter, Rights};
    use super::*;

    /// A layer with these files.
    fn layer(blobs: &Blobs, files: &[(&str, &str)]) -> Layer {
        let mut writer = LayerWriter::new(blobs).unwrap();
        for (path, text) in files {
            let content = (text.as_bytes(), text.len() as u64);
            writer
                .file(path.as_ref(), Rights::OF_ROOT, 0, content)
                .unwrap();
        }
        writer.store().unwrap()
    }

    #[test]
    fn a_layer_above_replaces_files_and_takes_them_away() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let layers = [
            layer(
                &blobs,
                &[
                    ("/etc/passwd", "1"),
                    ("/etc/group", "1"),
                    ("/var/lib/dpkg/status", "1"),
                ],
            ),
            layer(&blobs, &[("/etc/passwd", "2"), ("/etc/.wh.group", "")]),
        ];
        let mut files = Files::default();
        for layer in layers {
            let content = blobs.read(&layer.digest).unwrap().unwrap();
            let (digest, above) = read(content, files, &|| Ok(())).unwrap();
            assert_eq!(digest, layer.diff_id);
            files = above;
        }
        let wanted = Files {
            passwd: Some("2".into()),
            group: None,
            status: Some("1".into()),
        };
        assert_eq!(files, wanted);
        assert!(read(&b"no gzip"[..], Files::default(), &|| Ok(())).is_err());
    }

    #[test]
    fn accounts_beyond_all_measure_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let much = "a".repeat(600 << 10);
        let layer = layer(&blobs, &[("/etc/passwd", &much)]);
        let content = blobs.read(&layer.digest).unwrap().unwrap();
        let told = read(content, Files::default(), &|| Ok(())).unwrap_err();
        assert!(
            told.to_string().contains("etc/passwd has more than"),
            "{told}"
        );
    }

    #[test]
    fn reading_a_layer_ends_when_nobody_waits_for_it() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().to_owned()).unwrap();
        let layer = layer(&blobs, &[("/etc/passwd", "1")]);
        let unwanted = Unwanted::default();
        let look = |unwanted: &Unwanted| {
            let content = blobs.read(&layer.digest).unwrap().unwrap();
            read(content, Files::default(), &|| unwanted.check())
        };
        assert!(look(&unwanted).is_ok());
        unwanted.0.store(true, Ordering::Relaxed);
        assert!(look(&unwanted).is_err());
    }
}
