//! The page of units.

use procession::{ChildFailure, Process};
use procession_inspect::Inspect;
use procession_runnable::{Start, body};
use procession_supervisor::{Manager, MemoryTable, Restart, Unit};
use procession_test_browser::browser;

use crate::looks::{CONTRAST, TARGETS};
use crate::scene::{NARROW, SCREENS, WIDE, picture, serve_page};

/// The cells of the rows that can be seen, but not completely.
const CUT_OFF: &str = r##"[...document.querySelectorAll("#units td")].filter((e) => e.checkVisibility())
  .filter((e) => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => e.outerHTML.slice(0, 100)).join("\n")"##;

/// For each unit, the parts of it that can be seen, and whether the last three have lines of their own.
const CARDS: &str = r##"JSON.stringify([...document.querySelectorAll("#units tbody tr")].map((row) => {
  const seen = [...row.children].filter((e) => e.checkVisibility()), places = seen.map((e) => e.getBoundingClientRect());
  return [seen.map((e) => e.className).join(" "), places.slice(3).every((p, i) => p.top >= places[i ? i + 2 : 0].bottom - 1)];
}))"##;

#[test]
fn units_on_a_small_screen() {
    let Some(browser) = browser() else { return };
    let app = Process::builder().name("app").on_child_failure(ChildFailure::Ignore);
    let app = app.build().unwrap();
    let serving = || {
        Unit::new(body(|run| async move {
            run.ready();
            run.closing().await;
        }))
    };
    let failing = Unit::new(body(|run| async move {
        run.ready();
        Err::<(), _>("x".repeat(300))
    }));
    let table = MemoryTable::new();
    table.insert("orders".to_owned(), serving());
    table.insert("k".repeat(300), serving());
    table.insert("importer".to_owned(), failing.restart(Restart::Temporary));
    let manager = Manager::builder(table).name("workers").build();
    let (start, readiness) = Start::under(&app);
    drop(manager.runnable().start(start).unwrap());
    futures_lite::future::block_on(readiness).unwrap();
    let url = format!("http://{}/units", serve_page(Inspect::new(&app).units(manager), &app));
    let page = browser.page(WIDE);
    page.open(&url);
    page.wait_for(
        "[...document.querySelectorAll('#units .badge')].map((e) => e.textContent).sort().join() \
         === '○ Ended,● Running,● Running'",
    );
    for (name, screen) in SCREENS {
        page.set_screen(screen);
        page.settle();
        page.screenshot(&picture(&format!("units-{name}")));
        let overflow = page.value("document.scrollingElement.scrollWidth - innerWidth");
        assert!(overflow.as_i64().unwrap() <= 0, "{name}: {overflow} px too wide");
        assert_eq!(page.text(CONTRAST), "", "{name}");
        let is_narrow = screen.width == NARROW.width;
        let has_head = "document.querySelector('#units thead').checkVisibility()";
        assert_eq!(page.value(has_head), !is_narrow, "{name}");
        if !is_narrow {
            continue;
        }
        assert_eq!(page.text(CUT_OFF), "", "{name}");
        assert_eq!(page.text(TARGETS), "", "{name}");
        // Three things are beside each other, and the others below them, unless they are empty.
        let (serving, failed) = ("process phase for manager", "process phase for last manager");
        let expected = format!(r#"[["{serving}",true],["{serving}",true],["{failed}",true]]"#);
        assert_eq!(page.text(CARDS), expected, "{name}");
    }
    assert_eq!(page.complaints(), "");
    drop(app.abort());
    drop(app.closed().wait());
}
