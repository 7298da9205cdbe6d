//! Run by the tests in `systemd.rs`: a service whose closing, and whose executor, the test controls through standard
//! input. With an argument, it looks at the labels of all processes.

#![forbid(unsafe_code)]

use std::io::{self, BufRead};

use procession::{Exit, Main, Process, systemd};
use procession_tests::labels::Labels;

fn main() -> Exit {
    let _labels = std::env::args().nth(1).map(|_| Labels::watch());
    // An executor with one thread, which a task can block.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
    let runtime = runtime.expect("a runtime");
    let _inside = runtime.enter();
    Main::new().name("app").run(|p| {
        // Each line on standard input ends one of these processes. They close one after another, the last one first.
        let mut last = None;
        for number in 0..3 {
            let step = Process::builder().name(format!("step-{number}")).parent(&p);
            let step = match &last {
                Some(last) => step.close_before(last),
                None => step,
            };
            last = Some(step.teardown(|| read_line().map(drop)).build()?);
        }
        println!("started");
        systemd::ready(&p);
        if read_line()? == "block" {
            p.spawn(|_| async { read_line().map(drop) })?;
        }
        println!("has started");
        procession::ok()
    })
}

fn read_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
