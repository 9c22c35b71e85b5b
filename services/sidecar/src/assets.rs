//! The web monitor, embedded at build time.
//!
//! Files under `assets/` carry a hash of their bytes in their names and may be kept for ever; everything else is asked for
//! again, cheaply, by its entity tag.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use helix_kit::problem::Problem;

struct File {
    path: &'static str,
    tag: &'static str,
    bytes: &'static [u8],
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/web.rs"));

/// Serves the page and its files.
pub(crate) async fn asset(request: Request) -> Result<Response, Problem> {
    let path = request.uri().path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    let file = FILES.iter().find(|file| file.path == path).ok_or_else(Problem::no_such_path)?;
    Ok(serve(file, request.headers()))
}

fn serve(file: &'static File, headers: &HeaderMap) -> Response {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    // Compression weakens the tag on its way out; what comes back is compared without that.
    let unchanged =
        known.is_some_and(|list| list.split(',').any(|tag| tag.trim().trim_start_matches("W/") == file.tag));
    let mut response = if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { file.bytes.into_response() };
    let keep = if file.path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(file.path)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(header::ETAG, HeaderValue::from_static(file.tag));
    response
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "webmanifest") => "application/json",
        Some(_) | None => "application/octet-stream",
    }
}
