//! The calls of a periodic process: how many there were, how many failed, and the first and the last failure. However
//! many fail, it keeps two errors.

use super::contents::Contents;
use super::node::{Calls, Inner, Node};
use crate::value::Label;

impl<C: Contents> Node<C> {
    /// From now on, the children are calls, whose failures are counted. `label` is that of the process.
    pub(crate) fn count_calls(&self, label: Label) {
        let calls = Calls { label, calls: 0, failed: 0, first: None, last: None };
        self.inner.lock().extras().calls = Some(Box::new(calls));
    }

    /// There is one more call.
    pub(crate) fn count_call(&self) {
        if let Some(calls) = self.inner.lock().calls() {
            calls.calls += 1;
        }
    }
}

impl<C: Contents> Inner<C> {
    pub(super) fn calls(&mut self) -> Option<&mut Calls<C>> {
        self.extras_mut()?.calls.as_deref_mut()
    }

    /// A child has failed: if it is a call, the failure is counted.
    pub(super) fn count_failed_call(&mut self, failure: &C::Failure) {
        let Some(calls) = self.calls() else { return };
        calls.failed += 1;
        match &calls.first {
            None => calls.first = Some(failure.clone()),
            Some(_) => calls.last = Some(failure.clone()),
        }
    }

    /// The calls that failed are a failure of the process, when it becomes Closed.
    pub(super) fn take_failed_calls(&mut self) -> Option<C::Failure> {
        let Calls { label, calls, failed, first, last } = *self.extras_mut()?.calls.take()?;
        let first = first?;
        let last = last.unwrap_or_else(|| first.clone());
        Some(C::failed_calls(label, calls, failed, first, last))
    }
}
