//! The guide: everything that is not the documentation of a single item. The pages are also in the directory `docs` of
//! the repository.
//!
//! Their examples use the other crates of procession and popular libraries. The tests of the project run them.

#[doc = include_str!("../docs/guide/getting-started.md")]
pub mod getting_started {}

#[doc = include_str!("../docs/guide/recipes.md")]
pub mod recipes {}

#[doc = include_str!("../docs/guide/hanging-shutdowns.md")]
pub mod hanging_shutdowns {}

#[doc = include_str!("../docs/guide/supervision.md")]
pub mod supervision {}

#[doc = include_str!("../docs/guide/many-machines.md")]
pub mod many_machines {}

#[doc = include_str!("../docs/guide/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/model-checking.md")]
pub mod model_checking {}

#[doc = include_str!("../docs/guide/deployment.md")]
pub mod deployment {}

#[doc = include_str!("../docs/guide/guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("../docs/guide/faq.md")]
pub mod faq {}

/// Each page maps the names of another library to those of procession, and shows one program before and after.
pub mod coming_from {
    #[doc = include_str!("../docs/guide/coming-from/cancellation-token.md")]
    pub mod cancellation_token {}

    #[doc = include_str!("../docs/guide/coming-from/tokio-graceful-shutdown.md")]
    pub mod tokio_graceful_shutdown {}

    #[doc = include_str!("../docs/guide/coming-from/select.md")]
    pub mod select {}

    #[doc = include_str!("../docs/guide/coming-from/channels.md")]
    pub mod channels {}

    #[doc = include_str!("../docs/guide/coming-from/erlang.md")]
    pub mod erlang {}

    #[doc = include_str!("../docs/guide/coming-from/suture.md")]
    pub mod suture {}

    #[doc = include_str!("../docs/from-goprocess.md")]
    pub mod goprocess {}
}
