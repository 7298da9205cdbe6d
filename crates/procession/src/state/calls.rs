//! The calls of a periodic process: their number, the number of failed ones, and the first and the last failure. No
//! matter how many fail, only two errors are kept.

use super::contents::Contents;
use super::node::{Calls, Inner, Node};
use crate::value::Label;

impl<C: Contents> Node<C> {
    /// From now on, the children of this process are calls, whose failures are counted. `label` is the label of this
    /// process.
    pub(crate) fn count_calls(&self, label: Label) {
        let calls = Calls { label, calls: 0, failed: 0, first: None, last: None };
        self.inner.lock().extras().calls = Some(Box::new(calls));
    }

    /// Counts one more call.
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

    /// Counts the failure of a child, if the children are calls.
    pub(super) fn count_failed_call(&mut self, failure: &C::Failure) {
        let Some(calls) = self.calls() else { return };
        calls.failed += 1;
        match &calls.first {
            None => calls.first = Some(failure.clone()),
            Some(_) => calls.last = Some(failure.clone()),
        }
    }

    /// Takes the failures of the calls, as one failure of the process, when the process becomes Closed.
    pub(super) fn take_failed_calls(&mut self) -> Option<C::Failure> {
        let Calls { label, calls, failed, first, last } = *self.extras_mut()?.calls.take()?;
        let first = first?;
        let last = last.unwrap_or_else(|| first.clone());
        Some(C::failed_calls(label, calls, failed, first, last))
    }
}
