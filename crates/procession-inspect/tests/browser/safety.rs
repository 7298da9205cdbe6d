//! Hostile names and errors are only texts.

use procession::Process;
use procession_test_browser::browser;

use crate::scene::{SCREENS, Scene, WIDE, picture};

const HOSTILE: [&str; 7] = [
    "<script>window.pwned=1</script>",
    "\"'><img src=x onerror=alert(1)>",
    "\u{1b}[2J",
    "\u{202e}txet",
    "]]>",
    "</script><!--",
    "javascript:window.pwned=1",
];

#[test]
fn hostile_names_are_only_texts() {
    let Some(browser) = browser() else { return };
    let mut scene = Scene::stuck();
    let long = "A".repeat(1 << 20);
    for name in HOSTILE.into_iter().chain([&*long, ""]) {
        let error = name.to_owned();
        let failing = Process::builder().name(name.to_owned()).parent(&scene.app);
        scene.keep(failing.spawn_thread(move |_| Err(error)).unwrap());
        let hanging = Process::builder().name(name.to_owned()).parent(&scene.app);
        scene.keep(hanging.spawn_thread(|p| assert!(p.aborting().wait())).unwrap());
    }
    let page = browser.page(WIDE);
    let harmless = |place: &str| {
        assert_eq!(page.value("window.pwned === undefined"), true, "{place}");
        assert_eq!(page.value("document.querySelectorAll('img').length"), 0, "{place}");
        assert_eq!(page.complaints(), "", "{place}");
    };
    page.open(&scene.url(""));
    page.wait_for("document.querySelector('#live.live')");
    harmless("running");
    scene.app.close();
    page.wait_for("document.querySelectorAll('#blockers li').length > 5");
    for (name, screen) in SCREENS {
        page.set_screen(screen);
        page.settle();
        page.screenshot(&picture(&format!("hostile-{name}")));
        let overflow = page.value("document.scrollingElement.scrollWidth - innerWidth");
        assert!(overflow.as_i64().unwrap() <= 0, "{name}: {overflow}");
    }
    harmless("closing");
    // Details of every process.
    for _ in 0..8 {
        page.press("b");
        page.press("Enter");
        page.wait_for("document.getElementById('details').open");
        harmless("details");
        page.press("Escape");
        page.wait_for("!document.getElementById('details').open");
    }
    for path in [
        "?sort=name",
        "?q=%3Cscript%3E",
        "?q=%22%3E%3Cimg%20src=x%3E",
        "timeline.svg",
        "snapshot.json",
        "blockers.json",
    ] {
        page.open(&scene.url(path));
        harmless(path);
    }
    scene.end();
}
