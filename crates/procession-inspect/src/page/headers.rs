//! The headers of every answer, whatever it is.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The script and the style of the page, which are parts of it.
pub(crate) const SCRIPT: &str = concat!(
    include_str!("texts.js"),
    "(() => {\n",
    include_str!("script/start.js"),
    include_str!("script/words.js"),
    include_str!("script/header.js"),
    include_str!("script/table.js"),
    include_str!("script/stream.js"),
    include_str!("script/keys.js"),
    "})();\n"
);
pub(crate) const UNITS_SCRIPT: &str =
    concat!(include_str!("texts.js"), include_str!("units/units.js"));
pub(crate) const STYLE: &str = concat!(
    include_str!("style.css"),
    include_str!("graph/graph.css"),
    include_str!("units/units.css")
);

/// The policy allows exactly this script and this style, by their sums.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy(SCRIPT));

/// The policy of the page of units.
pub(crate) static UNITS_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy(UNITS_SCRIPT));

fn policy(script: &str) -> HeaderValue {
    let sum = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; form-action 'self'; \
         img-src data:; base-uri 'none'; frame-ancestors 'none'",
        sum(script),
        sum(STYLE)
    );
    HeaderValue::from_str(&policy).expect("it is ASCII")
}

/// The policy of a picture.
pub(crate) const PICTURE_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

/// The other headers.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds the headers to an answer; its own policy is kept.
pub(crate) fn add(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert_with(|| POLICY.clone());
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(crate) fn answer(kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An answer without content.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer that says why there is nothing else. The text has no name of a process.
pub(crate) fn refusal(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = answer("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}
