//! [`LinkFile`]: how the browser of the desktop is told the link. All users of the machine can read what programs were
//! started with (`/proc/PID/cmdline`), so the browser is given a file that its owner alone can read.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// A page that leads to the link; it is gone when this is.
pub(super) struct LinkFile(NamedTempFile);

impl LinkFile {
    /// Writes one. Blocks.
    pub(super) fn new(url: &str) -> io::Result<Self> {
        let mut file = tempfile::Builder::new()
            .prefix("procserver-")
            .suffix(".html")
            .permissions(Permissions::from_mode(0o600))
            .tempfile()?;
        write!(
            file,
            "<!doctype html><html lang=\"en\"><title>procserver</title><meta http-equiv=\"refresh\" content=\"0;url={url}\">\
             <a href=\"{url}\">To the dashboard</a>"
        )?;
        file.flush()?;
        Ok(Self(file))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_alone_reads_it_and_its_name_tells_nothing() {
        let url = "http://name.localhost:9000/ui?link=secret";
        let file = LinkFile::new(url).unwrap();
        let path = file.path().to_owned();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page.contains(&format!("content=\"0;url={url}\"")), "{page}");
        let name = path.to_str().unwrap();
        assert!(!name.contains("secret") && !name.contains("name.localhost"));
        drop(file);
        assert!(!path.exists());
    }
}
