//! The guide in `docs/`, whose examples run as tests.

/// Getting started.
#[doc = include_str!("../../docs/getting-started.md")]
pub struct GettingStarted;

/// Recipes.
#[doc = include_str!("../../docs/recipes.md")]
pub struct Recipes;

/// Hanging shutdowns.
#[doc = include_str!("../../docs/hanging-shutdowns.md")]
pub struct HangingShutdowns;

/// Supervision.
#[doc = include_str!("../../docs/supervision.md")]
pub struct Supervision;

/// Many machines.
#[doc = include_str!("../../docs/many-machines.md")]
pub struct ManyMachines;

/// Testing.
#[doc = include_str!("../../docs/testing.md")]
pub struct Testing;

/// Questions.
#[doc = include_str!("../../docs/faq.md")]
pub struct Faq;

/// Guarantees.
#[doc = include_str!("../../docs/guarantees.md")]
pub struct Guarantees;

/// Coming from tokio-util.
#[doc = include_str!("../../docs/coming-from/cancellation-token.md")]
pub struct CancellationToken;

/// Coming from tokio-graceful-shutdown.
#[doc = include_str!("../../docs/coming-from/tokio-graceful-shutdown.md")]
pub struct TokioGracefulShutdown;

/// Coming from `select!`.
#[doc = include_str!("../../docs/coming-from/select.md")]
pub struct Select;

/// Coming from channels.
#[doc = include_str!("../../docs/coming-from/channels.md")]
pub struct Channels;

/// Coming from Erlang/OTP.
#[doc = include_str!("../../docs/coming-from/erlang.md")]
pub struct Erlang;

/// Coming from suture.
#[doc = include_str!("../../docs/coming-from/suture.md")]
pub struct Suture;

/// Coming from goprocess.
#[doc = include_str!("../../docs/coming-from/goprocess.md")]
pub struct Goprocess;

/// Model checking.
#[doc = include_str!("../../docs/model-checking.md")]
pub struct ModelChecking;

/// Deployment.
#[doc = include_str!("../../docs/deployment.md")]
pub struct Deployment;
