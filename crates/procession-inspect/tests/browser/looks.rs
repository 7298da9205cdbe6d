//! Sizes, contrast, and what is there without a script.

use std::time::Duration;

use procession::{Main, Process};
use procession_inspect::MainExt;
use procession_test_browser::{LIMIT, Page, browser};

use crate::scene::{NARROW, SCREENS, Scene, WIDE, address, picture, stubborn};

/// The texts and the borders of controls whose contrast is too low, one on each line.
pub(crate) const CONTRAST: &str = r#"(() => {
  const color = (text) => text.match(/[\d.]+/g).map(Number);
  const light = (c) => { const [r, g, b] = c.map((x) => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((x, y) => y - x); return (x + 0.05) / (y + 0.05); };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = color(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
  const bad = [];
  const check = (what, limit, a, b) => { if (ratio(a, b) < limit) bad.push(what + ": " + ratio(a, b).toFixed(2)); };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0, controls = 0;
  for (let node; node = walker.nextNode();) {
    const e = node.parentElement;
    if (!node.data.trim() || e.closest("script, style, noscript, .quiet") || !e.checkVisibility()) continue;
    check("text " + node.data.trim().slice(0, 40), 4.5, color(getComputedStyle(e).color), ground(e));
    texts++;
  }
  for (const e of document.querySelectorAll("button, .button, input[type=search], section")) {
    const style = getComputedStyle(e);
    if (!e.checkVisibility() || style.borderTopWidth === "0px") continue;
    check("border of " + e.outerHTML.slice(0, 60), 3, color(style.borderTopColor), ground(e.parentElement));
    if (e.placeholder) check("placeholder", 4.5, color(getComputedStyle(e, "::placeholder").color), ground(e));
    controls++;
  }
  for (const e of document.querySelectorAll(".badge, .tag")) if (!/^[●◐▲○✕■⚠] \S/.test(e.textContent)) bad.push("badge " + e.textContent);
  if (texts < 10 || controls < 2) bad.push("nothing was checked");
  return bad.join("\n");
})()"#;

/// On a small screen, everything that can be touched is large enough.
pub(crate) const TARGETS: &str = r#"[...document.querySelectorAll("a, button, input, summary")]
  .map((e) => e.closest("label") || e).filter((e) => e.checkVisibility())
  .map((e) => [e, e.getBoundingClientRect()]).filter(([e, r]) => r.width < 44 || r.height < 44)
  .map(([e, r]) => e.outerHTML.slice(0, 100) + " " + r.width + " × " + r.height).join("\n")"#;

/// Nothing is cut off, and nothing must be scrolled sideways.
fn fits(page: &Page, name: &str) {
    let overflow = page.value("document.scrollingElement.scrollWidth - innerWidth");
    assert!(overflow.as_i64().unwrap() <= 0, "{name}: {overflow} px too wide");
    let rows = page.value("document.querySelectorAll('[role=row]').length").as_i64().unwrap();
    assert!(rows > 0 && rows <= 500, "{name}: {rows} rows");
}

#[test]
fn the_first_blocker_is_seen_at_once() {
    let Some(browser) = browser() else { return };
    for processes in [5, 200, 100_000] {
        let scene = if processes == 5 { Scene::stuck() } else { Scene::large(processes) };
        scene.app.close();
        let page = browser.page(WIDE);
        page.open(&scene.url(""));
        page.wait_for(
            "document.querySelector('#live.live') && document.querySelector('#blockers li')",
        );
        for (name, screen) in SCREENS {
            let name = format!("{processes}-{name}");
            page.set_screen(screen);
            page.settle();
            fits(&page, &name);
            let bottom =
                page.value("document.querySelector('#blockers li').getBoundingClientRect().bottom");
            assert!(bottom.as_f64().unwrap() <= 400.0, "{name}: its bottom is at {bottom}");
            if screen.width == NARROW.width {
                assert_eq!(page.text(TARGETS), "", "{name}");
            }
            page.screenshot(&picture(&name));
        }
        assert_eq!(page.complaints(), "");
        scene.end();
    }
}

/// All blockers of a small screen are behind a link, which needs no script.
#[test]
fn other_blockers_are_folded_on_a_small_screen() {
    let Some(browser) = browser() else { return };
    let scene = Scene::stuck();
    scene.app.close();
    for has_script in [true, false] {
        let page = browser.page(NARROW);
        if !has_script {
            page.without_script();
        }
        page.open(&scene.url(""));
        let seen = "[...document.querySelectorAll('#blockers li')].filter((e) => e.checkVisibility()).length";
        assert_eq!(page.value(seen), 1);
        assert_eq!(
            page.text("document.querySelector('#blockers .others').textContent"),
            "▸ 1 more"
        );
        page.click("#blockers .others");
        page.wait_for(&format!("{seen} === 2"));
        page.screenshot(&picture("all-blockers"));
        page.click("#blockers .fewer");
        page.wait_for(&format!("{seen} === 1"));
    }
    scene.end();
}

fn looks_right(page: &Page, state: &str) {
    for (name, screen) in SCREENS {
        page.set_screen(screen);
        page.settle();
        let name = format!("{state}-{name}");
        page.screenshot(&picture(&name));
        assert_eq!(page.text(CONTRAST), "", "{name}");
        fits(page, &name);
    }
    page.set_screen(WIDE);
}

const BADGES: &str = "document.getElementById('badges').textContent";
const NOTE: &str = "document.getElementById('note').textContent";

#[test]
fn every_state_can_be_read() {
    let Some(browser) = browser() else { return };
    let scene = Scene::large(60);
    let mut proxy = crate::scene::Proxy::start(scene.address);
    let page = browser.page(WIDE);
    page.open(&format!("http://{}/", proxy.address));
    page.wait_for(&format!(
        "document.querySelector('#live.live') && {BADGES}.startsWith('● Running')"
    ));
    assert!(
        page.text("document.getElementById('counts').textContent")
            .contains("1 failed · last failure ")
    );
    assert!(page.text("document.title").starts_with("● app"));
    looks_right(&page, "running");
    page.press("?");
    looks_right(&page, "help");
    page.press("Escape");
    page.press("j");
    page.press("Enter");
    page.wait_for("document.getElementById('details').open");
    looks_right(&page, "details");
    page.press("Escape");
    page.open(&format!("http://{}/", proxy.address));
    page.wait_for("document.querySelector('#live.live')");

    scene.app.close();
    page.wait_for(&format!("{BADGES}.startsWith('◐ Closing')"));
    assert_eq!(page.text("document.getElementById('deadline').textContent"), "no deadline");
    looks_right(&page, "closing");
    page.wait_for(&format!("{BADGES}.includes('■ STALLED')"));
    assert!(page.text("document.title").starts_with("■ "));
    assert!(
        page.text("document.getElementById('progress').textContent")
            .starts_with("nothing closed for")
    );
    looks_right(&page, "stalled");
    proxy.stop();
    page.wait_for(&format!(
        "{BADGES}.startsWith('⚠ Connection lost') && document.title === '⚠ app'"
    ));
    looks_right(&page, "lost");
    assert!(
        page.text(NOTE).contains("The program has probably exited; it had "),
        "{}",
        page.text(NOTE)
    );
    proxy.restart(scene.address);
    page.click("#note-button");
    page.wait_for(&format!("!{BADGES}.includes('⚠') && document.querySelector('#live.live')"));
    scene.end();
    page.wait_for(&format!("{BADGES}.startsWith('○ Closed after')"));
    page.wait_for("document.getElementById('live').textContent.startsWith('ended ')");
    looks_right(&page, "closed");
    // What can be downloaded does not need the program.
    // On a slow machine, the program ends before the page has its timeline; then it is not offered.
    let saved =
        "((a) => a.hidden || a.href.startsWith('blob:'))(document.getElementById('save-timeline'))";
    page.wait_for(saved);
    let svg =
        page.text("fetch(document.getElementById('save-json').href).then((r) => r.text(), String)");
    // The policy does not even allow the page to read it; the browser saves it.
    assert!(svg.contains("Failed to fetch"), "{svg}");
}

/// With `Main`, its deadlines are shown.
#[test]
fn deadlines_of_a_program() {
    let Some(browser) = browser() else { return };
    let (sender, receiver) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (root_sender, root) = std::sync::mpsc::channel::<Process>();
    let sender = std::sync::Mutex::new(sender);
    let program = std::thread::spawn(move || {
        let main = Main::new().name("app").signals([]).quiet();
        let main = main.grace(Duration::from_secs(10)).abort_grace(Duration::from_secs(600));
        let main = main.inspect(move |page| {
            let sender = sender.lock().unwrap().clone();
            page.address(([127, 0, 0, 1], 0))
                .on_ready(move |url| sender.send(url.to_owned()).unwrap())
        });
        main.run(move |p| {
            let deaf = Process::builder().name("deaf").parent(&p);
            let deaf = deaf.spawn_thread(move |_| assert!(released.recv().is_err())).unwrap();
            let _cache = stubborn("cache", &p);
            root_sender.send(p.clone()).unwrap();
            drop(p);
            drop(deaf.closed().wait());
        })
    });
    let address = address(&receiver.recv_timeout(LIMIT).unwrap());
    let app = root.recv_timeout(LIMIT).unwrap();
    let page = browser.page(WIDE);
    page.open(&format!("http://{address}/"));
    page.wait_for("document.querySelector('#live.live')");
    app.close();
    let deadline = "document.getElementById('deadline').textContent";
    page.wait_for(&format!("/^grace ends in [0-9.]+ s, then abort$/.test({deadline})"));
    // The grace may end on its own; an abort that comes earlier has another text.
    page.wait_for(&format!("/^aborted by grace · exit in .+ with code 70$/.test({deadline})"));
    assert!(page.text(BADGES).starts_with("▲ Aborting"));
    assert!(page.text("document.title").starts_with("▲ app"));
    looks_right(&page, "aborting");
    drop((release, app));
    page.wait_for(&format!("{deadline}.includes('exit code 70')"));
    assert_eq!(program.join().unwrap().code(), 70);
}

/// Everything that is shown, without ages.
const SHOWN: &str = r##"JSON.stringify([
  document.getElementById("badges").textContent, document.getElementById("counts").textContent,
  [...document.querySelectorAll("#rows tr")].map((e) => [e.dataset.key, e.getAttribute("aria-level"), e.getAttribute("aria-expanded"), ...[...e.children].map((td) => td.textContent)]),
  [...document.querySelectorAll("#blockers li")].map((e) => [".who", ".what", ".site"].map((s) => e.querySelector(s).textContent)),
  [...document.querySelectorAll("#failures li")].map((e) => e.textContent),
  [...document.querySelectorAll("th")].map((e) => [e.textContent, e.getAttribute("aria-sort")]),
  [...document.querySelectorAll("#rows a")].map((e) => e.getAttribute("href")),
]).replace(/\d+ min \d+ s|\d+(\.\d+)? m?s/g, "0 s")"##;

#[test]
fn without_a_script_the_same_is_shown() {
    let Some(browser) = browser() else { return };
    let scene = Scene::large(300);
    scene.app.close();
    let (with, without) = (browser.page(WIDE), browser.page(WIDE));
    without.without_script();
    // Then nothing changes any more, except for ages.
    with.open(&scene.url(""));
    with.wait_for(&format!("{BADGES}.includes('■ STALLED')"));
    for query in ["", "?q=cache", "?sort=-for", "?scope=failed", "?q=nothing"] {
        with.open(&scene.url(query));
        with.wait_for("document.querySelector('#live.live')");
        without.open(&scene.url(query));
        let (with, without) = (with.text(SHOWN), without.text(SHOWN));
        assert_eq!(with, without, "{query}");
    }
    without.screenshot(&picture("without-script"));
    assert_eq!(without.value("document.querySelectorAll('#blockers button').length"), 0);
    // Folds are links.
    without.open(&scene.url(""));
    let rows = "document.querySelectorAll('#rows tr').length";
    let before = without.value(rows).as_i64().unwrap();
    assert!(
        without
            .text("document.querySelector('tr.fold a').getAttribute('href')")
            .starts_with("/?open=f")
    );
    without.click("tr.fold a.arrow");
    without.wait_for(&format!("document.querySelectorAll('#rows tr').length > {before}"));
    // Show leads to the row.
    without.click("#blockers .button");
    without.wait_for("document.querySelector('tr:target')");
    assert!(without.text("document.querySelector('tr:target').textContent").contains("■ BLOCKS"));
    // The filter is a form.
    without.click("#filter input[type=search]");
    without.type_text("cache");
    without.press("Enter");
    without.wait_for(
        "location.search.includes('q=cache') && document.querySelectorAll('#rows tr').length === 3",
    );
    assert_eq!(without.complaints(), "");
    scene.end();
}
