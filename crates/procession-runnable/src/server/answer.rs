//! [`Answer`]: a service of the user.

use std::future::Future;

use ::hyper::body::Body;
use ::hyper::service::Service;
use ::hyper::{Request, Response};
use procession::BoxError;

use super::request_body::RequestBody;

/// A service of the user, hyper's or tower's.
pub(super) trait Answer: Send + Sync + 'static {
    type Reply: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;

    fn answer(
        &self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Self::Reply>, BoxError>> + Send;
}

impl<S, Reply> Answer for S
where
    S: Service<Request<RequestBody>, Response = Response<Reply>> + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    Reply: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Reply = Reply;

    async fn answer(&self, request: Request<RequestBody>) -> Result<Response<Reply>, BoxError> {
        self.call(request).await.map_err(Into::into)
    }
}
