//! Bodies: the code of a process, which runs on a thread or as a future, and for which the process waits.

use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::call_stack::run_as;
use super::catch::catch;
use super::drive::perform_polled;
use super::faults::{BodyFault, drops_jobs};
use super::foreign::dispose;
use super::hooks::{body_ended, outcome};
use super::job::{AnyBody, Job};
use super::later::call_spawner;
use super::perform::perform;
#[cfg(all(feature = "executor", not(loom)))]
use super::spawn::BODIES;
use super::spawn::Spawner;
#[cfg(not(all(feature = "executor", not(loom))))]
use super::spawn::Threads;
#[cfg(all(feature = "tracing", not(loom)))]
use super::tracing::BodySpan;
use super::wakers::drop_sleeper;
use super::workplaces::run_on_this_thread;
use super::{Effects, Node};
use crate::state::{Moment, Place};
use crate::value::model::model_has_failed;
use crate::value::sleeper::{Sleeper, WakerAddress};
use crate::value::{BoxError, Error, IntoOutcome, Work};

/// The result of an async body.
pub(crate) type BodyResult = Result<(), BoxError>;

/// Reports the end of a body to its process, exactly once.
///
/// It exists from the moment when the process is made with a body. If it is dropped before the body has ended, or even
/// before the body has begun, it reports the body as [aborted](Error::Aborted). So no path, not even a panic, leaves a
/// process waiting for a body that does not exist.
#[must_use = "dropping it reports that the body was aborted"]
pub(crate) struct BodyEnd {
    /// `None` once the end is reported.
    node: Option<Arc<Node>>,
    /// The sleeper for an abort.
    registered: Option<Registered>,
    fault: BodyFault,
    #[cfg(all(feature = "tracing", not(loom)))]
    span: Option<BodySpan>,
}

/// The registered sleeper that an abort wakes.
///
/// A poll with a waker at the same address need not lock the node, because the sleeper is known to be registered. *The
/// address never belongs to the waker of another task*, because the registered waker exists until the abort or the end
/// of the body: it is in the node, or was taken out for another moment that shares it, and is put back after it was
/// woken for that. After an abort, addresses are no longer compared.
#[derive(Clone, Copy)]
struct Registered {
    place: Place,
    waker: WakerAddress,
}

/// The recipient of the error if the OS cannot create a thread for a body.
#[derive(Clone, Copy)]
pub(crate) enum ErrorRecipient {
    /// The caller, to which the error is returned.
    Caller,
    /// Nobody: the error is reported like any other failure.
    Nobody,
}

/// How a body ended.
enum Ended {
    Returned(BodyResult),
    Panicked(Arc<str>),
    /// It was dropped before its end, or was not started.
    Early(Error),
}

impl BodyEnd {
    /// For the body of this process, which must have been made with one.
    pub(crate) fn of(node: Arc<Node>) -> Self {
        Self {
            node: Some(node),
            registered: None,
            fault: BodyFault::unasked(),
            #[cfg(all(feature = "tracing", not(loom)))]
            span: None,
        }
    }

    /// Runs code of the body in its span. `run` must not panic.
    #[inline]
    fn in_span<R>(&self, run: impl FnOnce() -> R) -> R {
        #[cfg(all(feature = "tracing", not(loom)))]
        if let Some(span) = &self.span {
            return span.run(run);
        }
        run()
    }

    /// Records that the body is on its way to a thread.
    pub(crate) fn mark_thread_body(&self) {
        if let Some(node) = &self.node {
            node.work.begin(Work::ThreadBody);
        }
    }

    /// Runs a blocking body on this thread.
    pub(crate) fn run<R: IntoOutcome>(mut self, body: impl FnOnce() -> R) {
        let node = self.node.take().expect("a body ends once");
        node.work.begin(Work::ThreadBody);
        #[cfg(all(feature = "tracing", not(loom)))]
        {
            self.span = BodySpan::root(&node);
        }
        let fault = BodyFault::of(&node);
        let run = || self.in_span(|| catch(|| fault.run(body)));
        let (node, caught) = run_on_this_thread(node, run);
        node.work.end();
        let result = outcome(caught, || node.label());
        perform(body_ended(&node, result, None).0);
    }

    /// The body ends with this error, without having run.
    pub(crate) fn refuse(mut self, error: Error) {
        if let Some(node) = self.node.take() {
            perform(body_ended(&node, Err(error.into()), None).0);
        }
    }

    /// The body ends without having run, because the OS could not create a thread for it. Returns its error.
    pub(crate) fn refuse_thread(self, error: io::Error, to: ErrorRecipient) -> Error {
        let label = self.node.as_ref().map(Node::label).expect("a body ends once");
        let error = Error::no_thread(label, error);
        if let (ErrorRecipient::Caller, Some(node)) = (to, &self.node) {
            node.hand_over();
        }
        self.refuse(error.clone());
        error
    }

    /// The process has no body, and its maker, for which it waited instead, is done.
    pub(crate) fn finish_making(mut self) {
        if let Some(node) = self.node.take() {
            perform(node.finish_making());
        }
    }

    /// The maker of the process is done. From now on, the process waits for its body, whose own [`BodyEnd`] reports its
    /// end.
    pub(crate) fn leave_to_body(mut self) {
        self.node = None;
    }

    /// There will be no body, so the process that was made for it closes.
    pub(crate) fn cancel_body(mut self) {
        if let Some(node) = self.node.take() {
            perform(node.body_ended(None, None).0);
        }
    }

    /// Polls the future of the body. If it is ready, it is dropped in the same catch.
    fn poll<F: Future<Output = BodyResult>>(
        &mut self,
        mut future: Pin<&mut Option<F>>,
        context: &mut Context<'_>,
    ) -> Poll<Ended> {
        let node = self.node.take().expect("a body is not polled after its end");
        if node.is_aborting() {
            return self.abort(node);
        }
        self.fault.begin(&node);
        let mut fault = mem::replace(&mut self.fault, BodyFault::unasked());
        let mut returned = None;
        let poll = || {
            if fault.replaces_poll(future.as_mut(), &mut returned) {
                return;
            }
            let running = future.as_mut().as_pin_mut().expect("it is there until it is ready");
            if let Poll::Ready(result) = running.poll(context) {
                returned = Some(result);
                future.set(None);
            }
        };
        let (node, mut polled) = run_as(node, || self.in_span(|| catch(poll)));
        if fault.holds(returned.is_some() || polled.is_err()) {
            // The result is dropped, like that of any aborted body. The drop is foreign code.
            dispose(returned.take());
            polled = Ok(());
        }
        self.fault = fault;
        let ended = match (returned, polled) {
            // If the drop has panicked, the panic hook has printed that, and it has no other effect.
            (Some(result), _) => Poll::Ready(Ended::Returned(result)),
            (None, Err(message)) => Poll::Ready(Ended::Panicked(message)),
            (None, Ok(())) if self.is_registered(context.waker()) => Poll::Pending,
            // The waker is cloned, which is foreign code and may panic.
            (None, Ok(())) => match catch(|| self.register(&node, context.waker())) {
                Ok(true) => Poll::Pending,
                Ok(false) => return self.abort(node),
                Err(message) => Poll::Ready(Ended::Panicked(message)),
            },
        };
        self.node = Some(node);
        ended
    }

    /// Is it certain that an abort wakes the task of this waker?
    #[inline]
    fn is_registered(&self, waker: &Waker) -> bool {
        self.registered.is_some_and(|registered| registered.waker.is_of(waker))
    }

    /// Makes sure that an abort wakes the body; `false` if the body was already aborted.
    fn register(&mut self, node: &Node, waker: &Waker) -> bool {
        let sleeper = Sleeper::of(waker);
        let waker = sleeper.address();
        let mut place = self.registered.map(|registered| registered.place);
        let (is_registered, replaced) =
            node.register_sleeper(Moment::Aborting, &mut place, sleeper);
        self.registered = place.map(|place| Registered { place, waker });
        drop_sleeper(replaced);
        is_registered
    }

    /// Ends the body because it was aborted.
    fn abort(&mut self, node: Arc<Node>) -> Poll<Ended> {
        let error = Error::Aborted(node.label());
        self.node = Some(node);
        Poll::Ready(Ended::Early(error))
    }

    /// Drops the future, unless it was dropped because it was ready.
    #[inline]
    fn drop_rest<F>(&mut self, mut future: Pin<&mut Option<F>>) {
        if future.is_some() {
            let node = self.node.take().expect("a body ends once");
            let (node, _dropped) = run_as(node, || self.in_span(|| catch(|| future.set(None))));
            self.node = Some(node);
        }
    }

    /// Reports the end. The future must have been dropped before.
    fn report(&mut self, ended: Ended) -> Effects {
        let node = self.node.take().expect("a body ends once");
        node.work.end();
        let result = match ended {
            Ended::Returned(result) => outcome(Ok(result), || node.label()),
            Ended::Panicked(message) => outcome(Err(message), || node.label()),
            Ended::Early(error) => Err(error.into()),
        };
        let place = self.registered.map(|registered| registered.place);
        let (effects, spent) = body_ended(&node, result, place);
        drop_sleeper(spent);
        effects
    }

    /// The error of a body that is dropped before its end; `None` if its end was reported before.
    fn aborted(&self) -> Option<Error> {
        self.node.as_ref().map(|node| Error::Aborted(node.label()))
    }
}

impl Drop for BodyEnd {
    fn drop(&mut self) {
        if model_has_failed() {
            return;
        }
        if let Some(error) = self.aborted() {
            perform(self.report(Ended::Early(error)));
        }
    }
}

pin_project! {
    /// An async body. The future is stored inline, so a spawner that takes any type of future needs no box.
    pub(crate) struct Body<F: Future<Output = BodyResult>> {
        #[pin]
        future: Option<F>,
        end: BodyEnd,
    }

    /// A body may be dropped before its end, for example by an executor that shuts down.
    impl<F: Future<Output = BodyResult>> PinnedDrop for Body<F> {
        fn drop(this: Pin<&mut Self>) {
            if model_has_failed() {
                return;
            }
            if let Some(error) = this.end.aborted() {
                perform_polled(this.end_early(error));
            }
        }
    }
}

impl<F: Future<Output = BodyResult>> Body<F> {
    /// A body that the caller polls in a task of its own.
    pub(crate) fn of_caller(end: BodyEnd, future: F) -> Self {
        Self::with_work(Work::CallerBody, end, future)
    }

    /// A body whose work is of this kind.
    #[cfg_attr(not(all(feature = "tracing", not(loom))), expect(unused_mut))]
    #[inline(always)]
    pub(crate) fn with_work(work: Work, mut end: BodyEnd, future: F) -> Self {
        if let Some(node) = &end.node {
            node.work.begin(work);
            #[cfg(all(feature = "tracing", not(loom)))]
            {
                let is_callers = work == Work::CallerBody;
                end.span = if is_callers { BodySpan::inside(node) } else { BodySpan::root(node) };
            }
        }
        Self { future: Some(future), end }
    }

    fn poll_effects(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Effects> {
        let mut this = self.project();
        this.end.poll(this.future.as_mut(), context).map(|ended| {
            this.end.drop_rest(this.future);
            this.end.report(ended)
        })
    }

    fn end_early(self: Pin<&mut Self>, error: Error) -> Effects {
        let this = self.project();
        this.end.drop_rest(this.future);
        this.end.report(Ended::Early(error))
    }
}

impl<F: Future<Output = BodyResult>> Future for Body<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.poll_effects(context).map(perform)
    }
}

impl<F: Future<Output = BodyResult> + Send> AnyBody for Body<F> {
    fn poll_effects(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Effects> {
        self.poll_effects(context)
    }

    fn refuse(self: Pin<&mut Self>, error: io::Error) -> Effects {
        let label = self.end.node.as_ref().map(Node::label);
        let label = label.expect("a body is refused before it is polled");
        self.end_early(Error::no_thread(label, error))
    }
}

/// Starts an async body on the spawner, or on the default one. A spawner that takes any type of future is given the
/// body without a box.
#[inline(always)]
pub(crate) fn spawn_body<F>(spawner: Option<&Spawner>, body: Body<F>)
where
    F: Future<Output = BodyResult> + Send + 'static,
{
    if spawner.is_some() && drops_jobs(body.end.node.as_ref()) {
        return call_spawner(|| drop(body));
    }
    match spawner {
        #[cfg(all(feature = "executor", not(loom)))]
        None => match BODIES.start() {
            Ok(executor) => executor.spawn(body).detach(),
            Err(error) => Job::body(Box::pin(body)).refuse(error),
        },
        #[cfg(not(all(feature = "executor", not(loom))))]
        None => Threads::spawn_async(Job::body(Box::pin(body))),
        #[cfg(all(feature = "tokio", not(loom)))]
        Some(Spawner::Tokio(handle)) => drop(handle.spawn(body)),
        Some(spawner) => spawner.spawn(Job::body(Box::pin(body))),
    }
}
