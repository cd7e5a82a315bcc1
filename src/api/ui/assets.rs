//! The style and the script of all pages. Their names have the hash of their content, so browsers keep them.

use std::fmt::Write as _;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::Path;
use sha2::{Digest as _, Sha256};

use crate::api::problem::Problem;

struct Asset {
    /// Below `/ui/assets/`.
    name: String,
    kind: &'static str,
    content: &'static str,
}

static ALL: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    let asset = |stem, ending, kind, content: &'static str| {
        let hash = Sha256::digest(content);
        let hash = hash[..8].iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Asset {
            name: format!("{stem}.{hash}.{ending}"),
            kind,
            content,
        }
    };
    [
        asset(
            "dashboard",
            "css",
            "text/css; charset=utf-8",
            include_str!("assets/dashboard.css"),
        ),
        asset(
            "dashboard",
            "js",
            "text/javascript; charset=utf-8",
            include_str!("assets/dashboard.js"),
        ),
        asset(
            "icon",
            "svg",
            "image/svg+xml",
            include_str!("assets/icon.svg"),
        ),
    ]
});

/// Where they are: the style, the script, the icon.
pub(super) fn places() -> [String; 3] {
    [0, 1, 2].map(|at: usize| format!("/ui/assets/{}", ALL[at].name))
}

pub(super) async fn show(name: Path<String>) -> Result<HttpResponse, Problem> {
    let found = ALL.iter().find(|asset| asset.name == *name);
    let missing = || Problem::new(StatusCode::NOT_FOUND, "There is no such file.");
    let asset = found.ok_or_else(missing)?;
    Ok(HttpResponse::Ok()
        .content_type(asset.kind)
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::ETAG, format!("\"{}\"", asset.name)))
        .body(asset.content))
}
