//! The lock of this crate. Under `--cfg loom`, it is loom's.

pub(crate) use procession::support::sync::Mutex;
