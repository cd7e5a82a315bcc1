//! The application's own page for maintenance.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use crate::front::static_files::lookup;
use crate::router::policies::Policies;

/// Bytes of a page. It is kept in memory.
const LARGEST: u64 = 512 * 1024;

/// The page, which is read once for a release; `None` if there is none to show.
pub async fn page(app: &Arc<str>, policies: &Arc<Policies>) -> Option<Arc<[u8]>> {
    policies.of.maintenance.as_ref()?.page.as_ref()?;
    if let Some(known) = policies.page.get() {
        return known.clone();
    }
    let (app, policies) = (Arc::clone(app), Arc::clone(policies));
    let reading = tokio::task::spawn_blocking(move || {
        let page = policies.page.get_or_init(|| {
            let name = policies.of.maintenance.as_ref()?.page.as_deref()?;
            let read = read(policies.root.as_deref(), name);
            read.inspect_err(|error| {
                log::warn!("{app}: the page for maintenance, {name}, cannot be shown: {error}");
            })
            .ok()
        });
        page.clone()
    });
    reading.await.ok().flatten()
}

fn read(root: Option<&Path>, name: &str) -> std::io::Result<Arc<[u8]>> {
    let root = root.ok_or_else(|| std::io::Error::other("there is no release yet"))?;
    let file = lookup::open_in_release(root, name)?;
    let mut page = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut page)?;
    if page.len() as u64 > LARGEST {
        return Err(std::io::Error::other("it is larger than 512 KiB"));
    }
    Ok(page.into())
}
