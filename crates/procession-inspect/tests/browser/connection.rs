//! A connection that is lost, a program that starts again, and one that ends.

use procession::Process;
use procession_test_browser::browser;

use crate::keyboard::COUNT;
use crate::scene::{Proxy, Scene, WIDE, child};

const NOTE: &str = "document.getElementById('note').textContent";
const LOST: &str = "document.getElementById('badges').textContent.startsWith('⚠ Connection lost')";

#[test]
fn a_lost_connection_and_another_run() {
    let Some(browser) = browser() else { return };
    let (first, mut second) = (Scene::large(60), Scene::stuck());
    let http = child("http", &second.app);
    second.keep(http);
    first.app.close();
    let mut proxy = Proxy::start(first.address);
    let page = browser.page(WIDE);
    page.before_scripts(COUNT);
    page.open(&format!("http://{}/", proxy.address));
    page.wait_for("window.counts.patch > 3");
    page.click("tr.fold a.arrow");
    page.wait_for("location.search.startsWith('?open=f') && window.counts.frame === 2");
    page.value("window.before = 'here'; 1");

    proxy.stop();
    page.wait_for(LOST);
    let ages = "[...document.querySelectorAll('td.for, .since, .badge.closing, #progress')].map((e) => e.textContent).join()";
    let before = page.text(ages);
    let badge = page.text("document.getElementById('badges').textContent");
    page.wait_for(&format!("document.getElementById('badges').textContent !== {badge:?}"));
    assert_eq!(page.text(ages), before, "ages stop");
    assert_eq!(
        page.text("getComputedStyle(document.getElementById('table')).outlineStyle"),
        "dashed"
    );
    page.wait_for(&format!(
        "/The program has probably exited; it had 59 processes open\\./.test({NOTE})"
    ));
    assert!(
        page.text(NOTE).contains("Retrying in ") && page.text(NOTE).ends_with("Retry now"),
        "{}",
        page.text(NOTE)
    );

    // The same run: one frame comes, and nothing else changes.
    let frames = page.value("window.counts.frame").as_u64().unwrap();
    proxy.restart(first.address);
    page.click("#note-button");
    page.wait_for(&format!("!{LOST} && window.counts.frame > {frames}"));
    assert_eq!(page.value("window.counts.frame").as_u64(), Some(frames + 1));
    assert_eq!(page.text(NOTE).trim(), "");

    // Another run, which the page finds without help.
    proxy.restart(second.address);
    page.wait_for(&format!("{NOTE}.startsWith('app was restarted (pid ')"));
    page.wait_for("location.search === '' && document.querySelectorAll('#rows tr').length === 7");
    assert_eq!(page.text("window.before"), "here", "the page was not loaded again");
    let keys = "[...document.querySelectorAll('#rows tr')].map((e) => e.dataset.key)";
    assert_eq!(page.value(&format!("new Set({keys}).size === {keys}.length")), true);
    page.click("#note-button");
    page.wait_for("document.getElementById('note').hidden");
    assert_eq!(page.complaints(), "");
    first.end();
    second.end();
}

/// An answer of a server of streams.
fn answer(status: &str, body: &str) -> Option<String> {
    let head = "content-type: text/event-stream\r\nconnection: close";
    Some(format!("HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

/// The reasons why there is no stream.
#[test]
fn why_there_is_no_stream() {
    let Some(browser) = browser() else { return };
    let scene = Scene::stuck();
    for (events, text, button) in [
        (answer("503 Busy", ""), "100 viewers are connected; trying again in ", "Retry now"),
        (
            answer("401 No", ""),
            "This address needs its token: open the URL the program printed",
            "Retry now",
        ),
        (
            answer("200 OK", "event: frame\ndata: {\"v\":2}\n\n"),
            "The program has changed.",
            "Reload",
        ),
    ] {
        let proxy = Proxy::answering(scene.address, events);
        let page = browser.page(WIDE);
        page.open(&format!("http://{}/", proxy.address));
        page.wait_for(&format!("{NOTE}.includes({text:?})"));
        assert_eq!(page.text("document.getElementById('note-button').textContent"), button);
        if button == "Reload" {
            page.value("window.before = 1");
            page.click("#note-button");
            page.wait_for("window.before === undefined && document.readyState === 'complete'");
        }
        assert_eq!(page.complaints(), "");
    }
    scene.end();
}

/// The program has sent its last event, although its root is not Closed.
#[test]
fn a_program_that_ends_by_force() {
    let Some(browser) = browser() else { return };
    let scene = Scene::stuck();
    scene.app.close();
    let bye = r#"{"v":1,"seq":0,"outcome":"forced","exit_code":130,"elapsed_ms":5,"errors":[]}"#;
    let bye = answer("200 OK", &format!("event: bye\ndata: {bye}\n\n"));
    let proxy = Proxy::answering(scene.address, bye);
    let page = browser.page(WIDE);
    page.open(&format!("http://{}/", proxy.address));
    let deadline = "document.getElementById('deadline').textContent";
    page.wait_for(&format!(
        "/^ended by force · exit code 130; \\d processes were open$/.test({deadline})"
    ));
    page.wait_for("document.getElementById('closed').checkVisibility()");
    assert!(page.text("document.getElementById('badges').textContent").starts_with("◐ Closing"));
    scene.end();
}

#[test]
fn empty_texts() {
    let Some(browser) = browser() else { return };
    let app = Process::builder().name("app").build().unwrap();
    // The page of a process that does not contain the page.
    let host = Process::builder().name("host").build().unwrap();
    let page = browser.page(WIDE);
    let address = crate::scene::serve_in(&app, &host);
    page.open(&format!("http://{address}/"));
    page.wait_for("document.querySelector('#live.live')");
    let text = "document.querySelector('main').innerText";
    for expected in
        ["app has no children yet.", "Nothing has failed.", "No blockers: nothing is closing."]
    {
        page.wait_for(&format!("{text}.includes({expected:?})"));
    }
    assert!(page.text("document.getElementById('counts').textContent").ends_with("last failure –"));
    page.press("t");
    page.wait_for("location.pathname === '/timeline' && document.readyState === 'complete'");
    assert!(page.text(text).contains(
        "Nothing to draw: the timeline begins when closing does. Download what there is"
    ));
    app.close_blocking().unwrap();
    host.close_blocking().unwrap();
}
