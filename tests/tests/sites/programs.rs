//! Programs, and the helpers for tests of programs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use futures_lite::future::block_on;
use procession::{Exit, Main, Process, main, main_async};
use procession_inspect::Inspect;
use procession_runnable::{Run, Runnable, body, run, run_async, run_in, run_with, run_with_async};
use procession_test::{Sweep, TestApp, TestExecutor, sweep};

use procession_tests::LIMIT;

use super::{Labels, assert_made_here, stay_blocked};

#[test]
fn site_of_a_program() {
    let _labels = Labels::watch();
    let exit = main(|p| {
        p.spawn_thread(stay_blocked)?;
        assert_made_here(&p, 2);
        p.close();
        procession::ok()
    });
    let task = |p: Process| async move {
        p.spawn_thread(stay_blocked)?;
        assert_made_here(&p, 2);
        p.close();
        procession::ok()
    };
    let exits = [
        exit,
        block_on(main_async(task)),
        Main::new().run(|p| assert_made_here(&p, 1)),
        block_on(Main::new().run_async(task)),
    ];
    assert!(exits.iter().all(|exit| exit.code() == 0), "{exits:?}");
}

/// The root of a program that runs a runnable has the line that runs it.
#[test]
fn sites_of_programs_of_runnables() {
    let _labels = Labels::watch();
    let looked = Arc::new(AtomicUsize::new(0));
    let looking = looked.clone();
    let described = body(move |run: Run| {
        assert_made_here(&run, 1);
        looking.fetch_add(1, Ordering::SeqCst);
        async move { run.ready() }
    });
    let runs: [fn(&Runnable) -> Exit; 4] = [
        |runnable| run(runnable),
        |runnable| block_on(run_async(runnable)),
        // A root without a name, so that its site is part of the path.
        |runnable| run_with(Main::new().name(""), runnable),
        |runnable| block_on(run_with_async(Main::new().name(""), runnable)),
    ];
    for run in runs {
        assert_eq!(run(&described).code(), 0);
    }
    assert_eq!(looked.load(Ordering::SeqCst), runs.len());
}

#[test]
fn site_of_the_live_page() {
    let _labels = Labels::watch();
    let app = Process::new();
    let (tell, told) = mpsc::channel();
    let page = Inspect::new(&app).address(([127, 0, 0, 1], 0));
    let page = page.on_ready(move |url| tell.send(url.to_owned()).unwrap()).runnable().unwrap();
    block_on(run_in(&app, &page, |_| async { assert_made_here(&app, 5) })).unwrap();
    let url = told.recv_timeout(LIMIT).unwrap();
    // A client in the middle of its request holds up the end of the server, which is then aborted.
    let address = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    app.close_blocking().unwrap();
    // The abort ends the connection, perhaps with an error.
    let _ended = client.read_to_end(&mut Vec::new());
}

#[test]
fn sites_of_the_helpers_for_tests() {
    let _labels = Labels::watch();
    for app in [TestApp::new(), TestApp::on(TestExecutor::new()), TestApp::default()] {
        let _child = app.process().child();
        assert_made_here(app.process(), 2);
        app.close_and_run().unwrap();
    }
    let graph = |app: &Process| {
        assert_made_here(app, 1);
        app.spawn(|_| async {}).map(drop)
    };
    sweep(graph);
    Sweep::new().run(graph);
    Sweep::new().run_checked(graph, |case, _| {
        assert!(case.events().iter().all(|event| event.site().file() == file!()), "{case:?}");
    });
}
