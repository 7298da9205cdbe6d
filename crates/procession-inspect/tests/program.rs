//! Timelines of programs that run `Main`. Each program is this test, run again as a child process.

#![cfg(all(unix, not(loom)))]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use procession::{Main, Process};
use procession_inspect::{Inspect, MainExt};
use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = "PROCESSION_TEST_PROGRAM";
const OUTPUT: &str = "PROCESSION_TEST_OUTPUT";

/// Long, because machines are slow.
const LIMIT: Duration = Duration::from_secs(60);

/// The program. In the parent process, this test does nothing.
#[test]
fn program() {
    let (Ok(program), Ok(path)) = (std::env::var(PROGRAM), std::env::var(OUTPUT)) else { return };
    let main = Main::new().name("app").timeline(path);
    let wait = |p: Process| {
        println!("\nready");
        p.closing().wait();
    };
    let exit = match &*program {
        "quick" => main.run(|p| drop(p.close())),
        "quiet" => main.quiet().run(|p| drop(p.close())),
        "slow" => main.run(move |p| {
            let pause = || thread::sleep(Duration::from_millis(100));
            let _db = Process::builder().name("db").parent(&p).teardown(pause).build()?;
            wait(p);
            procession::ok()
        }),
        "grace" => main.grace(Duration::from_millis(100)).run(move |p| {
            let stubborn = Process::builder().name("stubborn").parent(&p);
            stubborn.spawn_thread(|p| assert!(p.aborting().wait()))?;
            wait(p);
            procession::ok()
        }),
        // It ignores its abort.
        "stuck" => {
            let main = main.grace(Duration::from_millis(100));
            main.abort_grace(Duration::from_millis(100)).run(stuck(wait))
        }
        // The same with a page.
        "page" => {
            let main = main.grace(Duration::from_millis(100)).abort_grace(Duration::from_secs(1));
            let page = |page: Inspect| {
                let page = page.address(([127, 0, 0, 1], 0));
                page.on_ready(|url| println!("\npage {url}"))
            };
            main.inspect(page).run(stuck(wait))
        }
        "third" => main.abort_grace(Duration::MAX).run(stuck(wait)),
        other => panic!("no program is called {other}"),
    };
    std::process::exit(exit.code().into());
}

fn stuck(wait: impl FnOnce(Process)) -> impl FnOnce(Process) -> Result<(), procession::BoxError> {
    move |p| {
        let stuck = Process::builder().name("stuck").parent(&p);
        stuck.spawn_thread(|_| thread::sleep(Duration::from_secs(600)))?;
        wait(p);
        procession::ok()
    }
}

struct Running {
    child: Child,
    path: PathBuf,
}

fn start(program: &str, file: &str) -> Running {
    let directory = std::env::temp_dir();
    let path = directory.join(format!("procession-{program}-{}-{file}", std::process::id()));
    drop(std::fs::remove_file(&path));
    start_at(program, &path)
}

fn start_at(program: &str, path: &Path) -> Running {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "program", "--nocapture", "--test-threads=1"])
        .env(PROGRAM, program)
        .env(OUTPUT, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Running { child, path: path.to_owned() }
}

impl Running {
    fn ready(&mut self) {
        let output = BufReader::new(self.child.stdout.as_mut().unwrap());
        assert!(output.lines().any(|line| line.unwrap() == "ready"));
    }

    fn signal(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).unwrap();
    }

    /// The exit status, what it said, and the file.
    fn end(mut self) -> (i32, String, Option<String>) {
        let pid = Pid::from_child(&self.child);
        let (ended, has_ended) = mpsc::channel::<()>();
        let watch = thread::spawn(move || {
            let is_late = has_ended.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
            if is_late {
                kill_process(pid, Signal::KILL).ok();
            }
        });
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        // Only this test waits for the child, so the number of the child is not used again before that.
        drop(ended);
        watch.join().unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.code().is_some(), "it does not end: {said}");
        let file = std::fs::read_to_string(&self.path).ok();
        drop(std::fs::remove_file(&self.path));
        (status.code().unwrap(), said, file)
    }
}

#[test]
fn a_program_that_simply_ends_writes_its_timeline() {
    for program in ["quick", "quiet"] {
        let (code, said, svg) = start(program, "a.svg").end();
        assert_eq!((code, &*said), (0, ""));
        let svg = svg.expect("a file");
        roxmltree::Document::parse(&svg).unwrap();
        assert!(svg.contains("app: closed in"));
    }
}

#[test]
fn the_signal_is_marked() {
    let mut running = start("slow", "a.json");
    running.ready();
    running.signal();
    let (code, said, trace) = running.end();
    assert_eq!(code, 0, "{said}");
    let trace: serde_json::Value = serde_json::from_str(&trace.expect("a file")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert!(events.iter().any(|event| event["cat"] == "signal" && event["name"] == "SIGINT"));
    let path = trace["otherData"]["critical_path"].as_str().unwrap();
    assert!(path.contains("db: teardown"), "{path}");
}

#[test]
fn the_end_of_the_grace_is_marked() {
    let mut running = start("grace", "a.svg");
    running.ready();
    running.signal();
    let (code, said, svg) = running.end();
    assert_eq!(code, 130, "{said}");
    let svg = svg.expect("a file");
    for kind in ["signal", "grace_over", "abort"] {
        assert!(svg.contains(&format!("data-kind=\"{kind}\"")), "{kind}: {svg}");
    }
    assert!(svg.contains("app: closed in"));
}

#[test]
fn the_file_is_written_when_the_abort_grace_ends_the_program() {
    let mut running = start("stuck", "a.svg");
    running.ready();
    running.signal();
    let (code, said, svg) = running.end();
    assert_eq!(code, 130, "{said}");
    assert!(said.contains("not closed 100 ms after the abort: exiting with code 130"), "{said}");
    let svg = svg.expect("a file");
    roxmltree::Document::parse(&svg).unwrap();
    assert!(svg.contains("app: closing for") && svg.contains("data-kind=\"exit\""), "{svg}");
    assert!(svg.contains("seg body aborted open critical"), "{svg}");
}

/// The viewers of a page are told the exit status of a program that gives up.
#[test]
fn a_page_tells_the_exit_status() {
    let mut running = start("page", "a.svg");
    let mut output = BufReader::new(running.child.stdout.take().unwrap()).lines();
    let mut next = |start: &str| {
        let line = output.find_map(|line| Some(line.unwrap().strip_prefix(start)?.to_owned()));
        line.expect("the line")
    };
    let address = next("page http://");
    next("ready");
    let mut viewer = TcpStream::connect(address.trim_end_matches('/')).unwrap();
    viewer.set_read_timeout(Some(LIMIT)).unwrap();
    viewer.write_all(b"GET /events HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
    let mut events = BufReader::new(viewer).lines().map(Result::unwrap);
    assert!(events.any(|line| line == "event: frame"));
    running.signal();
    assert!(events.any(|line| line == "event: bye"), "it says goodbye");
    let bye = events.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).unwrap();
    let bye: serde_json::Value = serde_json::from_str(&bye).unwrap();
    assert_eq!((&bye["outcome"], &bye["exit_code"]), (&"forced".into(), &130.into()));
    assert_eq!(running.end().0, 130);
}

#[test]
fn the_file_is_written_when_a_third_signal_ends_the_program() {
    let mut running = start("third", "a.svg");
    running.ready();
    let mut said = BufReader::new(running.child.stderr.take().unwrap()).lines();
    let mut next = || said.next().unwrap().unwrap();
    running.signal();
    assert!(next().contains("A second SIGINT aborts"));
    running.signal();
    assert!(next().contains("A third SIGINT exits at once"));
    running.signal();
    assert!(next().contains("exiting with code 130"));
    assert_eq!(running.child.wait().unwrap().code(), Some(130));
    let svg = std::fs::read_to_string(&running.path).expect("a file");
    std::fs::remove_file(&running.path).unwrap();
    roxmltree::Document::parse(&svg).unwrap();
    assert!(svg.contains("data-kind=\"exit\""));
}

#[test]
fn an_error_is_reported() {
    let (code, said, _) = start_at("quick", Path::new("/nonexistent/a.svg")).end();
    assert_eq!(code, 0);
    let expected = "app: cannot write the timeline to `/nonexistent/a.svg`: ";
    assert!(said.starts_with(expected) && said.lines().count() == 1, "{said}");
    let (_, said, _) = start("quick", "a.png").end();
    assert_eq!(said, "app: the name of a timeline ends in `.svg`, `.json` or `.json.gz`\n");
    let (_, said, _) = start_at("quiet", Path::new("/nonexistent/a.svg")).end();
    assert_eq!(said, "");
}

/// Clones of a `Main` may run at the same time.
#[test]
fn each_run_has_a_timeline_of_its_own() {
    let path = std::env::temp_dir().join(format!("procession-runs-{}.svg", std::process::id()));
    let main = Main::new().name("app").signals([]).no_exit().quiet().timeline(&path);
    let start = |name: &'static str| {
        let (main, (end, has_ended)) = (main.clone(), mpsc::channel::<()>());
        let (started, has_started) = mpsc::channel();
        let run = thread::spawn(move || {
            main.run(move |p| {
                let _child = Process::builder().name(name).parent(&p).build()?;
                started.send(()).expect("the test waits");
                has_ended.recv_timeout(LIMIT).expect("the test ends it");
                drop(p.close());
                procession::ok()
            })
        });
        has_started.recv_timeout(LIMIT).expect("it starts");
        (run, end)
    };
    let shown = |name: &str| {
        let svg = std::fs::read_to_string(&path).expect("a file");
        svg.contains(&format!("data-path=\"app/{name}\""))
    };
    let (one, end_one) = start("one");
    let (two, end_two) = start("two");
    end_one.send(()).expect("it runs");
    assert_eq!(one.join().expect("no panic").code(), 0);
    assert!(shown("one") && !shown("two"));
    end_two.send(()).expect("it runs");
    assert_eq!(two.join().expect("no panic").code(), 0);
    assert!(shown("two") && !shown("one"));
    drop(std::fs::remove_file(&path));
}
