//! Run by tests in `foreign.rs`: the signal thread meets a value whose drop panics. The argument says where.

#![forbid(unsafe_code)]

use std::sync::mpsc::channel;

use procession::Process;
use procession::signal::{self, SIGINT, SIGUSR1};
use procession_tests::foreign::{keep, panics_on_drop};

fn main() {
    let (tell, _told) = channel();
    let held = panics_on_drop(&tell);
    let app = Process::new();
    signal::bind(&app, [SIGINT]).unwrap();
    match std::env::args().nth(1).as_deref() {
        Some("child") => app.child().on_failure(move |_, _| keep(&held)),
        Some("bound") => {
            let ended = Process::new();
            ended.on_failure(move |_, _| keep(&held));
            signal::bind(&ended, [SIGUSR1]).unwrap();
            ended.close_blocking().unwrap();
        }
        other => panic!("{other:?}"),
    }
    let body = app.spawn_thread(|p| {
        p.closing().wait();
        println!("closing");
        p.aborting().wait();
        println!("aborting");
        hang()
    });
    println!("bound");
    body.unwrap().closed().wait().unwrap();
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}
