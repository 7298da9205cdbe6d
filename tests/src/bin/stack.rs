//! Run by the tests in `stack.rs`: a program that runs a stack of three parts. The argument says what the last part
//! does.

#![forbid(unsafe_code)]

use std::env;

use procession::Exit;
use procession_runnable::{Runnable, body, body_thread, named, run, sequential, start_stop};

fn main() -> Exit {
    let database =
        start_stop(|_| async { println!("database up") }, || async { println!("database down") });
    let worker = body_thread(|unit| {
        println!("worker up");
        unit.ready();
        unit.closing().wait();
        println!("worker down");
    });
    let stack = [named("database", database), named("worker", worker), named("http", http())];
    run(&sequential(stack))
}

fn http() -> Runnable {
    body(|unit| async move {
        println!("http up");
        match env::args().nth(1).as_deref() {
            Some("fail-to-start") => return Err("no such port"),
            Some("fail-later") => {
                unit.ready();
                return Err("the listener broke");
            }
            _ => unit.ready(),
        }
        println!("serving");
        unit.closing().await;
        println!("http down");
        Ok(())
    })
}
