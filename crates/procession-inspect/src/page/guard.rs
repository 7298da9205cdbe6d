//! [`Guard`]: who may see the page.
//!
//! The page is for the person in front of the machine. Other web pages in the same browser must not read it, so a
//! request has to come from the page itself or from the address bar. *A page that rebinds its name to this machine is
//! refused*, because it can only send its own name as `Host`. *Nothing of a refused request reaches an answer*, because
//! a refusal is a constant.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};

use super::headers::{empty, refusal};
use super::query::parameter;
use super::token::Token;

/// The maximum number of bytes of the head of a request.
const HEAD_LIMIT: usize = 8 << 10;

#[derive(Clone, Default)]
pub(crate) struct Guard {
    /// Is the address its own? As a part of another server, only `Origin` is checked.
    pub(crate) is_server: bool,
    pub(crate) hosts: Vec<String>,
    pub(crate) token: Option<Token>,
    pub(crate) port: u16,
}

impl Guard {
    /// The answer to a request that is refused.
    pub(crate) fn refuses(&self, request: &Parts, path: &str) -> Option<Response<Body>> {
        let headers = &request.headers;
        let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        let line = request.uri.path_and_query().map_or(0, |path| path.as_str().len());
        if fields.sum::<usize>() + line > HEAD_LIMIT {
            return Some(empty(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        let hosts = headers.get_all(header::HOST).iter().count();
        let host = match (hosts, request.uri.authority()) {
            (0, Some(authority)) => Some(authority.as_str()),
            (1, _) => headers.get(header::HOST).and_then(|host| host.to_str().ok()),
            _ => None,
        };
        let Some(host) = host else { return Some(empty(StatusCode::BAD_REQUEST)) };
        if self.is_server && !self.knows(host) {
            return Some(empty(StatusCode::MISDIRECTED_REQUEST));
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(response);
        }
        if !self.is_own_origin(headers, host) || self.is_server && !is_own_site(headers, path) {
            return Some(refusal(StatusCode::FORBIDDEN, "requests of other sites are refused\n"));
        }
        match &self.token {
            Some(token) => self.refuses_without(token, request, path),
            None => None,
        }
    }

    /// Is it a name of this machine?
    fn knows(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<Ipv4Addr>().is_ok()
            || v6.is_some_and(|name| name.parse::<Ipv6Addr>().is_ok())
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    fn is_own_origin(&self, headers: &HeaderMap, host: &str) -> bool {
        headers.get_all(header::ORIGIN).iter().all(|origin| {
            let Ok(origin) = origin.to_str() else { return false };
            let own = origin.strip_prefix("http://");
            // A server around the router may speak TLS.
            let own = own.or_else(|| origin.strip_prefix("https://").filter(|_| !self.is_server));
            own.is_some_and(|own| own.eq_ignore_ascii_case(host))
        })
    }

    fn refuses_without(
        &self,
        token: &Token,
        request: &Parts,
        path: &str,
    ) -> Option<Response<Body>> {
        let query = request.uri.query().unwrap_or_default();
        if let Some(sent) = parameter(query, "token").filter(|_| path == "/") {
            return Some(if token.is(&sent) { self.admits(token) } else { unauthorized() });
        }
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let bearer = request.headers.get(header::AUTHORIZATION).and_then(text);
        let bearer = bearer.as_deref().and_then(|bearer| bearer.strip_prefix("Bearer "));
        let name = self.cookie();
        let cookies: Vec<String> =
            request.headers.get_all(header::COOKIE).iter().filter_map(text).collect();
        let cookie = cookies.iter().flat_map(|cookies| cookies.split(';')).find_map(|cookie| {
            let (other, value) = cookie.trim().split_once('=')?;
            (other == name).then_some(value)
        });
        let is_known = bearer.or(cookie).is_some_and(|sent| token.is(sent));
        (!is_known).then(unauthorized)
    }

    fn cookie(&self) -> String {
        format!("procession_inspect_{}", self.port)
    }

    /// The token moves from the address, which browsers show and remember, to a cookie.
    fn admits(&self, token: &Token) -> Response<Body> {
        let mut response = empty(StatusCode::SEE_OTHER);
        let cookie =
            format!("{}={}; HttpOnly; SameSite=Lax; Path=/", self.cookie(), token.as_str());
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, HeaderValue::from_static("/"));
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            headers.insert(header::SET_COOKIE, cookie);
        }
        response
    }
}

fn unauthorized() -> Response<Body> {
    refusal(
        StatusCode::UNAUTHORIZED,
        "this address needs its token: open the URL the program printed\n",
    )
}

/// Does a browser say that the request comes from the page or from the address bar, or that it opens the page?
fn is_own_site(headers: &HeaderMap, path: &str) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|sent| sent == value);
    let Some(site) = headers.get("sec-fetch-site") else { return true };
    site == "same-origin"
        || site == "none"
        || path == "/" && is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document")
}
