//! Makes the pictures of the page in `docs/`: `cargo run -p procession-inspect --example pictures`. It needs Chromium.
//!
//! They show the program of the example `page`, which got a signal and hangs.

#[cfg(unix)]
#[allow(dead_code, reason = "its `main` belongs to the other example")]
#[path = "page.rs"]
mod page;

#[cfg(unix)]
fn main() {
    use std::path::Path;
    use std::sync::{Mutex, mpsc};
    use std::time::Duration;

    use procession::Main;
    use procession_inspect::MainExt;
    use procession_test_browser::{LIMIT, Screen, browser};
    use rustix::process::{Signal, getpid, kill_process};

    let Some(browser) = browser() else { return };
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let program = std::thread::spawn(move || {
        let main = Main::new().name("app").grace(Duration::from_secs(60)).quiet();
        let main = main.inspect(move |page| {
            let sender = sender.lock().expect("nobody panics").clone();
            let ready = move |url: &str| sender.send(url.to_owned()).expect("someone listens");
            page.address(([127, 0, 0, 1], 0)).on_ready(ready)
        });
        main.run(page::run).code()
    });
    let url = receiver.recv_timeout(LIMIT).expect("the page is served");
    let interrupt = || kill_process(getpid(), Signal::INT).expect("a signal to this program");

    let screen = |width, height, is_dark| Screen { width, height, is_dark };
    let tab = browser.page(screen(1400, 690, false));
    tab.open(&url);
    tab.wait_for("document.querySelectorAll('#rows tr').length > 8 && document.querySelector('#failures li')");
    interrupt();
    tab.wait_for("document.getElementById('badges').textContent.includes('STALLED')");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (name, screen) in [
        ("page-light", screen(1400, 690, false)),
        ("page-dark", screen(1400, 690, true)),
        ("page-narrow", screen(390, 1000, false)),
    ] {
        tab.set_screen(screen);
        tab.value("document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 900))))");
        let path = directory.join(format!("{name}.png"));
        tab.screenshot(&path);
        let size = std::fs::metadata(&path).expect("the picture").len();
        println!("{}: {} KiB", path.display(), size / 1024);
        assert!(size <= 150 << 10, "the picture is too large");
    }
    interrupt();
    let code = program.join().expect("the program ends");
    println!("the program has ended with code {code}");
}

#[cfg(not(unix))]
fn main() {
    eprintln!("this example needs Unix");
}
