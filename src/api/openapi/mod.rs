//! `GET /openapi.json`: what this API is, as OpenAPI 3.1 describes it.
//!
//! The JSON5 files of this folder are the description, one for each part of the API, and `document.json5` for the
//! document of an application. `assemble` makes one document of them and of what the code knows better: which calls
//! there are, who may make them, and which errors anybody may be answered. A call or a field that only one of the two
//! knows fails the tests in `assemble`, which say where to add it.
//!
//! A token of any scope reads it: it tells nothing that the source does not tell, but for the version, and strangers
//! are answered by `/healthz` alone.

mod assemble;
mod merge_patch;
mod shorthand;

use std::io::Write as _;
use std::sync::OnceLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    self, AcceptEncoding, ContentEncoding, ETag, Encoding, EntityTag, Header as _, IfNoneMatch,
};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use super::problem::Problem;
use assemble::Declared;

/// The description in one encoding.
struct Form {
    bytes: Bytes,
    tag: EntityTag,
}

impl Form {
    fn new(bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes);
        let text = digest[..12].iter().map(|byte| format!("{byte:02x}"));
        Self {
            tag: EntityTag::new_strong(text.collect()),
            bytes: bytes.into(),
        }
    }
}

/// The description, made when it is asked for first: it is the same as long as the server runs.
struct Page {
    plain: Form,
    in_gzip: Form,
}

impl Page {
    fn make(declared: &[Declared]) -> Result<Self, String> {
        let text = assemble::description(declared)?.to_string();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let packed = gzip.write_all(text.as_bytes());
        let packed = packed.and_then(|()| gzip.finish());
        Ok(Self {
            plain: Form::new(text.into_bytes()),
            in_gzip: Form::new(packed.map_err(|error| error.to_string())?),
        })
    }
}

fn page(declared: fn() -> Vec<Declared>) -> Result<&'static Page, Problem> {
    static PAGE: OnceLock<Result<Page, String>> = OnceLock::new();
    let page = PAGE.get_or_init(|| Page::make(&declared()));
    page.as_ref().map_err(|error| {
        log::error!("API: the description: {error}");
        let detail = "The description cannot be made: the server's own log says why.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })
}

/// Answers with the description of the calls that are `declared`.
pub(super) fn show(
    request: &HttpRequest,
    declared: fn() -> Vec<Declared>,
) -> Result<HttpResponse, Problem> {
    let page = page(declared)?;
    let takes_gzip = AcceptEncoding::parse(request).is_ok_and(|accepted| {
        let offered = [Encoding::gzip(), Encoding::identity()];
        accepted.negotiate(offered.iter()) == Some(Encoding::gzip())
    });
    let form = match takes_gzip {
        true => &page.in_gzip,
        false => &page.plain,
    };
    let is_known = request.headers().contains_key(header::IF_NONE_MATCH)
        && match IfNoneMatch::parse(request) {
            Ok(IfNoneMatch::Any) => true,
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&form.tag)),
            // What is no list of tags names no state.
            Err(_) => false,
        };
    let mut response = match is_known {
        true => HttpResponse::NotModified(),
        false => HttpResponse::Ok(),
    };
    response
        .insert_header(ETag(form.tag.clone()))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header((header::VARY, "Accept-Encoding"));
    if is_known {
        return Ok(response.finish());
    }
    if takes_gzip {
        response.insert_header(ContentEncoding::Gzip);
    }
    Ok(response
        .content_type("application/json")
        .body(form.bytes.clone()))
}
