//! Keys, the held order, and what is spoken.

use procession::Process;
use procession_test_browser::{Page, browser};

use crate::scene::{Scene, WIDE, child, picture, stubborn};

/// Counts the events of streams, and notes what is spoken.
pub(crate) const COUNT: &str = "window.counts = {}; { const add = EventSource.prototype.addEventListener; \
    EventSource.prototype.addEventListener = function (name, f) { \
      return add.call(this, name, (e) => { f(e); window.counts[name] = (window.counts[name] || 0) + 1; }); } } \
    window.said = []; addEventListener('DOMContentLoaded', () => { const e = document.getElementById('said'); \
      if (e) new MutationObserver(() => window.said.push(e.textContent)).observe(e, { childList: true, characterData: true, subtree: true }); });";

fn open(scene: &Scene, query: &str) -> Option<Page> {
    let page = browser()?.page(WIDE);
    page.before_scripts(COUNT);
    page.open(&scene.url(query));
    page.wait_for("document.querySelector('#live.live')");
    Some(page)
}

const FOCUS: &str = "(() => { const e = document.activeElement; return e === document.body ? 'body' : e.tagName + ' ' + (e.id || e.name) })()";
const LABEL: &str = "document.activeElement.querySelector('.label').textContent";
const EXPANDED: &str = "document.activeElement.getAttribute('aria-expanded')";

fn press(page: &Page, key: &str) {
    page.press(key);
    page.settle();
    assert_ne!(page.text(FOCUS), "body", "after {key}");
}

#[test]
fn everything_works_with_keys() {
    let mut scene = Scene::large(60);
    // It has failed, but is not Closed.
    let importer = Process::builder().name("importer").parent(&scene.app);
    let importer = importer.spawn_thread(|p| {
        stubborn("reader", &p);
        Err("no such table")
    });
    scene.keep(importer.unwrap());
    scene.app.close();
    let Some(page) = open(&scene, "") else { return };
    page.allow_clipboard();

    press(&page, "/");
    assert_eq!(page.text(FOCUS), "INPUT q");
    page.type_text("cache");
    press(&page, "Enter");
    page.wait_for(
        "location.search === '?q=cache' && document.querySelectorAll('#rows tr').length === 3",
    );
    page.wait_for("document.activeElement.closest('#rows')");
    assert_eq!(page.text(LABEL), "cache");
    assert!(page.text("document.getElementById('matches').textContent").starts_with("1 of "));
    press(&page, "k");
    assert_eq!(page.text(LABEL), "db");
    press(&page, "b");
    assert_eq!(page.text(LABEL), "cache");
    // Nothing that has failed matches, so it is found in the panel.
    press(&page, "n");
    assert!(
        page.text("document.activeElement.textContent").contains("disk full")
            || page.text("document.activeElement.textContent").contains("no such table")
    );
    press(&page, "/");
    press(&page, "Escape");
    page.wait_for("location.search === '' && document.querySelectorAll('#rows tr').length > 3");
    assert_eq!(page.text(FOCUS), "INPUT q");
    press(&page, "Escape");
    page.wait_for("document.activeElement.matches('tr')");
    press(&page, "n");
    assert_eq!(page.text(LABEL), "importer");
    assert!(page.text("document.activeElement.textContent").contains("✕ Failed"));

    assert_eq!(page.text(EXPANDED), "true");
    press(&page, "ArrowLeft");
    page.wait_for(&format!("{EXPANDED} === 'false'"));
    press(&page, "ArrowRight");
    page.wait_for(&format!("{EXPANDED} === 'true'"));
    press(&page, "ArrowDown");
    assert_eq!(page.text(LABEL), "reader");
    press(&page, "ArrowLeft");
    assert_eq!(page.text(LABEL), "importer");

    // A failure leads to its details, though the process is Closed.
    page.click("#failures li:last-child .label");
    page.wait_for("document.querySelector('#details[open] pre')?.textContent === 'disk full'");
    press(&page, "Escape");
    page.wait_for("!document.getElementById('details').open");
    press(&page, "b");
    press(&page, "n");
    assert_eq!(page.text(LABEL), "importer");

    press(&page, "y");
    page.wait_for(
        "navigator.clipboard.readText().then((text) => text.includes('importer  ✕ Failed'))",
    );
    press(&page, "Enter");
    page.wait_for("document.getElementById('details').open");
    assert!(page.text("document.getElementById('details').textContent").contains("no such table"));
    press(&page, "?");
    page.wait_for("document.getElementById('help').open");
    press(&page, "Escape");
    page.wait_for(
        "!document.getElementById('help').open && document.getElementById('details').open",
    );
    press(&page, "Escape");
    page.wait_for("!document.getElementById('details').open");
    page.wait_for(&format!("document.activeElement.matches('tr') && {LABEL} === 'importer'"));

    press(&page, "s");
    page.wait_for("document.getElementById('sorts').open");
    press(&page, "ArrowDown");
    press(&page, "Enter");
    let sort = "document.querySelector('th[data-sort=name]').getAttribute('aria-sort')";
    page.wait_for(&format!("!document.getElementById('sorts').open && {sort} === 'ascending'"));
    assert!(
        page.text("document.querySelector('th[data-sort=name]').textContent")
            .starts_with("Process ▲")
    );
    page.click("th[data-sort=name] a");
    page.wait_for(&format!("{sort} === 'descending'"));
    page.value("history.back()");
    page.wait_for(&format!("{sort} === 'ascending' && location.search.endsWith('sort=name')"));

    page.wait_for("document.querySelector('#filter [value=open]').checked");
    page.press("o");
    page.wait_for("document.querySelector('#filter [value=all]').checked && location.search.includes('scope=all')");
    press(&page, "j");
    let held = "document.getElementById('held').checkVisibility()";
    page.wait_for(held);
    press(&page, " ");
    page.wait_for(&format!("!{held}"));
    assert_eq!(page.complaints(), "");
    page.press("t");
    page.wait_for(
        "location.pathname === '/timeline' && document.documentElement.tagName === 'svg'",
    );
    page.screenshot(&picture("timeline"));
    scene.end();
}

#[test]
fn blockers_are_shown_and_copied() {
    let scene = Scene::stuck();
    scene.app.close();
    let Some(page) = open(&scene, "?q=nothing") else { return };
    page.allow_clipboard();
    assert!(
        page.text("document.getElementById('empty').textContent")
            .starts_with("No process matches “nothing”. Clear filter")
    );
    page.click("#blockers li .button");
    page.wait_for("location.search === '' && document.activeElement.matches('tr.blocks')");
    assert_eq!(page.text(LABEL), "cache");
    page.click("#blockers li button");
    page.wait_for("navigator.clipboard.readText().then((text) => text.startsWith('app › db › cache: thread body `cache` (') && text.endsWith(' ago'))");
    page.wait_for("document.querySelector('#blockers li button').textContent === 'Copied'");
    let key = page.text("document.activeElement.closest('#blockers') ? document.querySelector('tr.here').dataset.key : ''");
    page.press("g");
    page.wait_for(&format!("location.pathname === '/graph' && location.search === '?root={key}'"));
    scene.end();
}

const KEYS: &str =
    "JSON.stringify([...document.querySelectorAll('#rows tr')].map((e) => e.dataset.key))";

/// The rows that the server would send.
const FRESH: &str = "fetch('/snapshot.json' + location.search).then((r) => r.json()).then((f) => JSON.stringify(f.rows.map((r) => String(r.key))))";

#[test]
fn the_order_is_held_while_the_focus_is_in_the_table() {
    let scene = Scene::stuck();
    scene.app.close();
    let Some(page) = open(&scene, "?sort=for") else { return };
    press(&page, "j");
    press(&page, "j");
    let before = page.text(KEYS);
    let mut added: Vec<Process> = Vec::new();
    for number in 0..50 {
        // The newest process comes first, and every second one ends again.
        added.push(stubborn(&format!("new {number}"), &scene.app));
        if number % 2 == 0 {
            drop(added.remove(0).abort());
        }
        let seen = page.value("window.counts.patch || 0");
        page.wait_for(&format!("window.counts.patch > {seen}"));
    }
    assert_eq!(page.text(KEYS), before);
    assert!(
        page.text("document.getElementById('held').textContent").contains("Order is held Resume")
    );
    assert_eq!(page.value("document.getElementById('held').checkVisibility()"), true);
    page.screenshot(&picture("held"));
    page.click("#held button");
    page.wait_for("!document.getElementById('held').checkVisibility()");
    page.settle();
    assert_ne!(page.text(FOCUS), "body");
    // The pointer is where the button was. Nothing changes any more, so both agree soon.
    page.wait_for(&format!("{FRESH}.then((fresh) => fresh === {KEYS})"));
    assert_ne!(page.text(KEYS), before);
    assert_eq!(page.complaints(), "");
    scene.end();
}

/// Only a change of state is spoken, and not a change of rows or ages.
#[test]
fn ages_are_not_spoken() {
    let scene = Scene::stuck();
    let Some(page) = open(&scene, "") else { return };
    assert_eq!(page.value("window.said.length"), 0);
    scene.app.close();
    page.wait_for("window.counts.patch > 20 && document.getElementById('badges').textContent.includes('STALLED')");
    let said = page.value("window.said");
    let said: Vec<&str> =
        said.as_array().unwrap().iter().filter_map(|text| text.as_str()).collect();
    // On a slow machine, it may be stalled when the page first knows that it is closing.
    let all = ["app is closing. no deadline", "app is closing, stalled. no deadline"];
    assert!(said == all || said == all[1..], "{said:?}");
    scene.end();
}

#[test]
fn a_closed_row_is_struck_through_and_then_removed() {
    let scene = Scene::stuck();
    let one = child("short-lived", &scene.app);
    let Some(page) = open(&scene, "") else { return };
    let row = "[...document.querySelectorAll('#rows tr')].find((e) => e.querySelector('.label').textContent === 'short-lived')";
    assert_eq!(page.value(&format!("!!{row}")), true);
    page.value("window.wasGone = false; setInterval(() => { const e = document.querySelector('tr.gone .site'); \
        if (e && getComputedStyle(e).textDecorationLine === 'line-through' && e.parentElement.textContent.includes('○ Closed')) window.wasGone = true }, 20); 1");
    one.close_blocking().unwrap();
    drop(one);
    page.wait_for("window.wasGone");
    page.wait_for(&format!("!{row}"));
    scene.end();
}
