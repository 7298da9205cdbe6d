//! Model checks of procession, in `tests/`. Run them with `cargo loom`.
