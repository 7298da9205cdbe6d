//! A service of `Type=notify`: `READY=1` when it is ready, `STOPPING=1` and the reason for a slow stop, and the watchdog.
//!
//! ```ini
//! [Service]
//! Type=notify
//! ExecStart=/usr/local/bin/app
//! TimeoutStopSec=40s
//! WatchdogSec=30s
//! ```

use std::time::Duration;

use procession::{Main, systemd};

fn main() -> procession::Exit {
    // Everything but `READY=1` is sent without being asked, if systemd has started the program.
    Main::new().name("app").grace(Duration::from_secs(30)).run(|app| {
        app.spawn_thread(|worker| {
            worker.closing().wait();
            println!("closed in order");
        })?;
        systemd::ready(&app);
        println!("ready");
        app.close(); // an example should end; a service waits for SIGTERM
        procession::ok()
    })
}
