//! The one place where panics of foreign code are caught (I7, I14).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::value::model::{catching, caught, model_has_failed};

/// Runs foreign code. If it panics, the error is the message of the panic.
pub fn catch<R>(run: impl FnOnce() -> R) -> Result<R, Arc<str>> {
    catch_payload(run).map_err(|payload| {
        let message = message(&*payload).into();
        discard(payload);
        message
    })
}

/// Runs foreign code. If it panics, the error is the payload of the panic. Dropping that is foreign code too.
pub(super) fn catch_payload<R>(run: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    // This is unwind safe, because the library does not use the captures of the closure after a panic.
    catch_unwind(AssertUnwindSafe(|| catching(run))).map_err(|payload| {
        if model_has_failed() {
            resume_unwind(payload);
        }
        caught();
        payload
    })
}

/// Runs foreign code, and ignores a panic, which the panic hook has already printed.
pub(crate) fn contain(run: impl FnOnce()) {
    let _printed = catch(run);
}

fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(message) = payload.downcast_ref::<&str>() {
        message
    } else if let Some(message) = payload.downcast_ref::<String>() {
        message
    } else {
        "(the panic's payload is not a string)"
    }
}

/// Drops the payload of a panic, whose drop may panic again.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Dropping this payload could panic again, and so on.
        std::mem::forget(payload);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::panic_any;

    use super::catch;

    #[test]
    fn the_message_of_a_panic_is_read() {
        let message = |run: fn()| catch(run).unwrap_err().to_string();
        assert_eq!(message(|| panic!("literal")), "literal");
        assert_eq!(message(|| panic!("formatted {}", 1)), "formatted 1");
        assert_eq!(message(|| panic_any(7)), "(the panic's payload is not a string)");
    }

    #[test]
    fn a_payload_whose_drop_panics_is_contained() {
        struct Twice(u32);

        impl Drop for Twice {
            fn drop(&mut self) {
                if self.0 > 0 {
                    panic_any(Self(self.0 - 1));
                }
            }
        }

        assert!(catch(|| panic_any(Twice(3))).is_err());
    }
}
