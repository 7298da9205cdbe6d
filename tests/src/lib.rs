//! End-to-end tests of procession.
