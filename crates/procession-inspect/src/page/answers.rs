//! The requests, and their answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, Request};
use axum::http::header::{self, HeaderValue};
use axum::http::{Method, Response, StatusCode};
use axum::routing::any;
use http_body::Frame;
use serde::Serialize;

use super::detail::{All, detail};
use super::frame::frame;
use super::graph;
use super::guard::Guard;
use super::headers::{PICTURE_POLICY, UNITS_POLICY, add, answer, empty, refusal};
use super::html::{self, Tabs};
use super::hub::Hub;
use super::model::{Blocker, State, Summary, VERSION};
use super::query::{Query, parameter};
use super::sample::Sample;
use super::stream::Stream;
use super::units;
use crate::Timeline;

const JSON: &str = "application/json";

const FULL: &str = "100 viewers are connected; try again in 5 s\n";

/// What the answers are made from.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(crate) hub: Arc<Hub>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) timeline: Option<Timeline>,
    /// Are all processes being sent to a client?
    pub(crate) is_sending_all: Arc<AtomicBool>,
}

/// All addresses lead to one function, so that each answer has the headers.
pub(crate) fn router(answers: Answers) -> Router {
    let handler = move |request: Request| {
        let answers = answers.clone();
        async move { add(answers.answer(request).await) }
    };
    // A router that is nested is asked only for its routes.
    Router::new()
        .route("/", any(handler.clone()))
        .route("/{*path}", any(handler.clone()))
        .fallback(handler)
}

impl Answers {
    async fn answer(self, request: Request) -> Response<Body> {
        let (request, _body) = request.into_parts();
        let path = request.uri.path().to_owned();
        let path = if path.is_empty() { "/".to_owned() } else { path };
        if let Some(refusal) = self.guard.refuses(&request, &path) {
            return refusal;
        }
        let original = request.extensions.get::<OriginalUri>();
        let original = original.map_or(&*path, |OriginalUri(uri)| uri.path());
        let mount = original.strip_suffix(&path).unwrap_or(original.trim_end_matches('/'));
        let mount = mount.trim_end_matches('/').to_owned();
        let text = request.uri.query().unwrap_or_default().to_owned();
        if path == "/events" {
            return self.events(&request.method, &text).await;
        }
        // A snapshot of many processes takes a while.
        let answer = move || self.slow(&path, &text, &mount);
        match tokio::task::spawn_blocking(answer).await {
            Ok(response) => response,
            Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    async fn events(self, method: &Method, text: &str) -> Response<Body> {
        if *method == Method::HEAD {
            // A browser does not tell its script why a stream has ended.
            return match self.hub.is_full() {
                true => busy(FULL),
                false => answer("text/event-stream", Body::empty()),
            };
        }
        let query = Query::parse(text);
        let viewer = tokio::task::spawn_blocking(move || self.hub.viewer(query)).await;
        match viewer {
            Ok(Some(viewer)) => answer("text/event-stream", Body::new(Stream::new(viewer))),
            _ => busy(FULL),
        }
    }

    fn slow(&self, path: &str, text: &str, mount: &str) -> Response<Body> {
        let query = Query::parse(text);
        if path == "/timeline.svg" || path == "/timeline.json" {
            return self.timeline(path);
        }
        let sample = self.hub.sample();
        let Some(sample) = sample else { return self.gone(path) };
        match path {
            "/" => {
                let frame = frame(&sample, &query);
                answer(
                    "text/html; charset=utf-8",
                    html::page(&frame, &query, mount, self.timeline.is_some()),
                )
            }
            "/graph" | "/graph.svg" => self.graph(&sample, path, &query, mount),
            "/timeline" if self.timeline.is_some() => self.timeline_page(&sample, &query, mount),
            "/units" => self.units(&sample, mount),
            "/snapshot.json" if parameter(text, "all").as_deref() == Some("1") => self.all(sample),
            "/snapshot.json" => json(&frame(&sample, &query)),
            "/blockers.json" => {
                let Sample { summary, blockers, blockers_more, .. } = &*sample;
                json(&OnlyBlockers { v: VERSION, summary, blockers, blockers_more: *blockers_more })
            }
            path => {
                let key = path.strip_prefix("/process/");
                let (key, is_json) = match key.map(|key| (key.strip_suffix(".json"), key)) {
                    Some((Some(key), _)) => (key.parse().ok(), true),
                    Some((None, key)) => (key.parse().ok(), false),
                    None => (None, true),
                };
                match key.and_then(|key| detail(&sample, key)) {
                    Some(detail) if is_json => json(&detail),
                    Some(detail) => answer(
                        "text/html; charset=utf-8",
                        html::detail_page(&frame(&sample, &query), &detail, &query, mount),
                    ),
                    None => refusal(StatusCode::NOT_FOUND, "there is nothing at this address\n"),
                }
            }
        }
    }

    fn tabs<'a>(&self, query: &'a Query, mount: &'a str, sample: &Sample) -> Tabs<'a> {
        let (has_timeline, has_units) = (self.timeline.is_some(), !sample.sources.is_empty());
        Tabs { mount, query, has_timeline, has_units }
    }

    fn units(&self, sample: &Sample, mount: &str) -> Response<Body> {
        let query = Query { is_units: true, ..Query::default() };
        let tabs = self.tabs(&query, mount, sample);
        let mut response = html_answer(units::page(&frame(sample, &query), &tabs));
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, UNITS_POLICY.clone());
        response
    }

    /// The graph of `root`, as a page or as a file.
    fn graph(&self, sample: &Sample, path: &str, query: &Query, mount: &str) -> Response<Body> {
        let top = query.root.map_or(Some(0), |root| sample.index_of(root));
        let tabs = self.tabs(query, mount, sample);
        match (path, top) {
            ("/graph", Some(top)) => html_answer(graph::page(sample, top, &tabs)),
            ("/graph", None) => {
                let mut response = html_answer(graph::unknown(sample, &tabs));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
            (_, Some(top)) => picture(graph::svg(sample, top, true)),
            (_, None) => refusal(StatusCode::NOT_FOUND, "there is nothing at this address\n"),
        }
    }

    /// The picture; before there is one, a page that says so.
    fn timeline_page(&self, sample: &Sample, query: &Query, mount: &str) -> Response<Body> {
        if sample.summary.state == State::Running {
            let page = html::no_timeline(&frame(sample, query), mount);
            return answer("text/html; charset=utf-8", page);
        }
        self.timeline("/timeline.svg")
    }

    fn timeline(&self, path: &str) -> Response<Body> {
        let Some(timeline) = &self.timeline else {
            return refusal(StatusCode::NOT_FOUND, "there is nothing at this address\n");
        };
        if path == "/timeline.json" {
            return answer(JSON, timeline.to_chrome_trace());
        }
        picture(timeline.to_svg())
    }

    /// The process was Closed and dropped before anybody looked.
    fn gone(&self, path: &str) -> Response<Body> {
        match path {
            "/" => answer("text/html; charset=utf-8", html::gone(self.hub.program())),
            _ => refusal(StatusCode::GONE, "the process is Closed\n"),
        }
    }

    /// Every process; one request at a time.
    fn all(&self, sample: Arc<Sample>) -> Response<Body> {
        if self.is_sending_all.swap(true, Ordering::AcqRel) {
            return busy(
                "all processes are already being sent to another client; try again in 5 s\n",
            );
        }
        let sending = Sending(self.is_sending_all.clone());
        answer(JSON, Body::new(Parts { all: All::new(sample), _sending: sending }))
    }
}

#[derive(Serialize)]
struct OnlyBlockers<'a> {
    v: u32,
    summary: &'a Summary,
    blockers: &'a [Blocker],
    blockers_more: usize,
}

fn html_answer(page: String) -> Response<Body> {
    answer("text/html; charset=utf-8", page)
}

fn picture(svg: String) -> Response<Body> {
    let mut response = answer("image/svg+xml", svg);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, PICTURE_POLICY);
    response
}

fn json(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(json) => answer(JSON, json),
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn busy(text: &'static str) -> Response<Body> {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// All processes are being sent to a client as long as this exists.
struct Sending(Arc<AtomicBool>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

struct Parts {
    all: All,
    _sending: Sending,
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.all.next().map(|part| Ok(Frame::data(part))))
    }
}
