//! A headless Chromium for tests and pictures.
//!
//! [`browser`] is the one that all tests of a program share; each [`Page`] has cookies and a clipboard permission of its own.
//! Chromium is driven over two pipes, with the messages of its
//! [DevTools protocol](https://chromedevtools.github.io/devtools-protocol/), *because* it ends when a pipe is closed: none
//! survives the program, even one that is killed.
//!
//! | file | subject |
//! |---|---|
//! | `chromium` | the program, its pipes, and the answers to commands |
//! | `page` | a tab: what it shows, and keys and pointers |
#![cfg(unix)]

mod chromium;
mod page;

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

pub use self::chromium::Chromium;
pub use self::page::{Page, Screen};

/// Fails instead of skipping tests if it is set.
const REQUIRE: &str = "PROCESSION_REQUIRE_CHROMIUM";
/// The path of a browser to use.
const PATH: &str = "PROCESSION_CHROMIUM";

/// The time in which anything that a test waits for must happen. It is long because machines are slow.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The browser that all tests of this program share. `None`, and a line on standard error, if none is installed; tests that
/// need it should pass then.
///
/// # Panics
///
/// If it does not start, or if none is installed and `PROCESSION_REQUIRE_CHROMIUM` is set.
pub fn browser() -> Option<&'static Chromium> {
    static BROWSER: OnceLock<Option<Chromium>> = OnceLock::new();
    let browser = BROWSER.get_or_init(|| {
        let path = installed();
        if path.is_none() && env::var_os(REQUIRE).is_none() {
            // Tests do not show what they print with a macro if they pass.
            let _written = writeln!(
                std::io::stderr(),
                "skipped the tests that need Chromium: install it, or set {PATH} to its path",
            );
        }
        path.map(Chromium::start)
    });
    assert!(
        browser.is_some() || env::var_os(REQUIRE).is_none(),
        "{REQUIRE} is set, but no Chromium is installed"
    );
    browser.as_ref()
}

fn installed() -> Option<PathBuf> {
    if let Some(path) = env::var_os(PATH) {
        return Some(path.into());
    }
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).flat_map(|place| names.map(|name| place.join(name)));
    places.into_iter().find(|path| path.is_file())
}
