//! [`Answers`]: the service that hyper calls, around that of the user.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::hyper::body::Incoming;
use ::hyper::service::Service;
use ::hyper::{Request, Response};
use procession::BoxError;

use super::activity::Activity;
use super::answer::Answer;
use super::processes::{ConnectionProcess, RequestProcess};
use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use super::stream::Stream;
use super::turn::Turn;

/// Answers the requests of one connection.
pub(super) struct Answers<S> {
    pub(super) service: Arc<S>,
    pub(super) connection: ConnectionProcess,
    pub(super) activity: Arc<Activity>,
    pub(super) body_timeout: Duration,
}

impl<S: Answer> Service<Request<Incoming>> for Answers<S> {
    type Response = Response<ResponseBody<S::Reply>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    /// The first poll of the future calls the user's service, so that it is called in the process of the request.
    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut open = self.activity.begin_request();
        let (service, connection) = (self.service.clone(), self.connection.clone());
        let activity = self.activity.clone();
        let number = open.request();
        let mut request =
            request.map(|body| RequestBody::new(body, self.body_timeout, activity, number));
        Box::pin(async move {
            request.extensions_mut().insert(connection.clone());
            let Some(stream) = Stream::current() else {
                let (response, turn) = Turn::begin(&connection, service, request).await?;
                open.mark_answered();
                return Ok(response.map(|body| ResponseBody::in_turn(body, turn, open)));
            };
            request.extensions_mut().insert(RequestProcess::new(stream.process.clone()));
            match service.answer(request).await {
                Ok(response) => {
                    open.mark_answered();
                    Ok(response.map(|body| ResponseBody::on_stream(body, stream, open)))
                }
                Err(error) => Err(stream.fail(error).into()),
            }
        })
    }
}
