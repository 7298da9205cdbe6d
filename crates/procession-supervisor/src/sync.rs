//! The locks of this crate. Under `--cfg loom`, they are loom's.

pub(crate) use procession::support::sync::Mutex;
