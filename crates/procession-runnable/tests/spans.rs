//! Tasks and regions are `tracing` spans. This is a test program of its own, because a program has one global
//! subscriber.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use futures_lite::future::block_on;
use procession::Process;
use procession_runnable::{
    body, body_thread, concurrent, run_to_end, sequence, task, trace_region,
};

/// Events inside a task or a region, and inside its parts, are in its span, for async and blocking bodies. Events after
/// it are not.
#[test]
fn spans() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let inner = trace_region("inner", body(|_| async { tracing::info!("async inside") }));
    let thread = body_thread(|_| tracing::info!("thread inside"));
    let after = body(|_| async { tracing::info!("outside") });
    let nightly = task("nightly", concurrent([inner, thread]));
    let nights = sequence([nightly, after]);
    block_on(run_to_end(&Process::new(), &nights)).unwrap();
    let line = |text: &str| log.all().lines().find(|line| line.contains(text)).unwrap().to_owned();
    assert!(line("async inside").contains(r#"task{kind="nightly"}:region{kind="inner"}:"#));
    assert!(line("thread inside").contains(r#"task{kind="nightly"}:"#));
    assert!(!line("thread inside").contains("region"));
    assert!(!line("outside").contains("task"));
}

/// The log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn all(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
