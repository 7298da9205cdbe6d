//! [`TableError`]: why a call of a shared table failed.

use procession::BoxError;

/// Why a call of a shared table failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The lease of the manager has ended, or the claim is not the current one. Another attempt fails as well.
    #[error("the lease has ended, or the unit has been claimed again")]
    Refused,
    /// There is no such unit.
    #[error("there is no unit `{}`", procession::support::text::Escaped::name(key))]
    NotFound {
        /// Its key.
        key: String,
    },
    /// The store cannot keep this key, kind or spec.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The store cannot be reached, or did not answer. Another attempt may succeed.
    #[error("the shared table cannot be reached")]
    Unavailable(#[source] BoxError),
    /// The store cannot be used, for example because its file is corrupt or read-only. Another attempt fails as well,
    /// unless somebody repairs it.
    #[error("the shared table cannot be used")]
    Unusable(#[source] BoxError),
    /// The schema needs a newer version of this program.
    #[error(
        "the shared table needs a newer version of this program: it has schema {schema}, which programs older than \
         schema {oldest} must not use, and this program is made for schema {supported}"
    )]
    Incompatible {
        /// The version of the schema.
        schema: u32,
        /// The oldest version that may use the schema.
        oldest: u32,
        /// The version that this program is made for.
        supported: u32,
    },
}
