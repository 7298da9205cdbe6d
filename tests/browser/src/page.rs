//! [`Page`]: a tab, what it shows, and the keys and clicks that it is given.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::LIMIT;
use crate::chromium::Link;

/// The size and the colours of a tab.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// In CSS pixels.
    pub width: u32,
    /// In CSS pixels.
    pub height: u32,
    /// Does the user prefer dark colours?
    pub is_dark: bool,
}

/// A tab. Dropping it closes it.
#[derive(Debug)]
pub struct Page {
    link: Arc<Link>,
    session: String,
    context: String,
}

/// The time between two looks at a page.
const LOOK: Duration = Duration::from_millis(25);

/// Collects the reports of a violated policy, before any script of the page runs.
const REPORTS: &str = "window.reports = []; \
    addEventListener('securitypolicyviolation', e => window.reports.push(e.violatedDirective + ' ' + e.blockedURI))";

impl Page {
    pub(crate) fn new(link: Arc<Link>, session: String, context: String, screen: Screen) -> Self {
        let page = Self { link, session, context };
        for domain in ["Page", "Runtime", "Log"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.before_scripts(REPORTS);
        // As if it were the tab in front, which has the focus.
        page.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }));
        page.set_screen(screen);
        page
    }

    fn call(&self, method: &str, parameters: Value) -> Value {
        self.link.call(Some(&self.session), method, parameters)
    }

    /// Changes the size and the colours.
    pub fn set_screen(&self, screen: Screen) {
        let Screen { width, height, is_dark } = screen;
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Runs a script in each new document, before its own ones.
    pub fn before_scripts(&self, source: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source }));
    }

    /// Switches scripts of pages off.
    pub fn without_script(&self) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    }

    /// Opens an address, and waits until the page is complete.
    pub fn open(&self, url: &str) {
        let answer = self.call("Page.navigate", json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{url}: {}", answer["errorText"]);
        let address = serde_json::to_string(url).expect("a string");
        // The old document is there until the new one comes.
        self.wait_for(&format!(
            "document.readyState === 'complete' && location.href.split('#')[0] === new URL({address}).href.split('#')[0]"
        ));
    }

    /// The value of an expression. A promise is waited for.
    ///
    /// # Panics
    ///
    /// If it throws.
    pub fn value(&self, expression: &str) -> Value {
        let evaluate =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", evaluate);
        let exception = &answer["exceptionDetails"];
        assert!(exception.is_null(), "{expression}: {exception}");
        answer["result"]["value"].take()
    }

    /// The text that an expression yields.
    pub fn text(&self, expression: &str) -> String {
        match self.value(expression) {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    /// Waits until the expression is true, or an element. A promise is waited for.
    ///
    /// # Panics
    ///
    /// If it does not become true within [`LIMIT`].
    pub fn wait_for(&self, condition: &str) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let seen = self.link.events(&self.session).len();
            let evaluate =
                json!({ "expression": condition, "returnByValue": true, "awaitPromise": true });
            // There is no answer if the document goes away before.
            let answer = self.link.try_call(Some(&self.session), "Runtime.evaluate", evaluate);
            let result = answer.as_ref().map_or(&Value::Null, |answer| &answer["result"]);
            // An element is an object without content.
            if result["value"] == true || result["value"].is_object() {
                return;
            }
            let is_late = Instant::now() > deadline;
            assert!(!is_late, "it does not become true: {condition}\n{answer:?}\n{}", self.dump());
            // Something has happened, or may have happened in the page.
            self.link.wait_for_event(&self.session, seen, LOOK);
        }
    }

    /// Waits until what has changed is on the screen.
    pub fn settle(&self) {
        self.value(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))",
        );
    }

    fn dump(&self) -> String {
        self.text(
            "location.href + '\\n' + (document.body ? document.body.innerText.slice(0, 4000) : '')",
        )
    }

    /// Presses a key, such as `a`, `?`, `Enter` or `ArrowRight`.
    pub fn press(&self, key: &str) {
        let (code, text): (u32, &str) = match key {
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "Tab" => (9, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            key => (key.chars().next().map_or(0, |key| key.to_ascii_uppercase().into()), key),
        };
        let kind = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        let mut event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code });
        if !text.is_empty() {
            event["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", event);
        let up = json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code });
        self.call("Input.dispatchKeyEvent", up);
    }

    /// Types a text, a key at a time.
    pub fn type_text(&self, text: &str) {
        text.chars().for_each(|key| self.press(&key.to_string()));
    }

    /// Moves the pointer to the middle of the first element that the selector finds.
    pub fn point_at(&self, selector: &str) -> (f64, f64) {
        let place = self.value(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{ block: 'nearest' }}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        ));
        let at = (place[0].as_f64().unwrap(), place[1].as_f64().unwrap());
        self.call(
            "Input.dispatchMouseEvent",
            json!({ "type": "mouseMoved", "x": at.0, "y": at.1 }),
        );
        at
    }

    /// Clicks on it.
    pub fn click(&self, selector: &str) {
        let (x, y) = self.point_at(selector);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Allows the page to write to the clipboard, and to read it.
    pub fn allow_clipboard(&self) {
        let permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"];
        let grant = json!({ "permissions": permissions, "browserContextId": self.context });
        self.link.call(None, "Browser.grantPermissions", grant);
    }

    /// The reports of a violated policy, exceptions, and errors that the browser has logged. A connection that ends is none.
    pub fn complaints(&self) -> String {
        let mut complaints = self.text("window.reports.join('\\n')");
        for event in self.link.events(&self.session) {
            let entry = &event["params"]["entry"];
            let is_complaint = match event["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Log.entryAdded") => entry["level"] == "error" && entry["source"] != "network",
                _ => false,
            };
            if is_complaint {
                let _written = writeln!(complaints, "{event}");
            }
        }
        complaints
    }

    /// Writes what is visible to a file.
    pub fn screenshot(&self, path: &Path) {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let picture = STANDARD.decode(picture["data"].as_str().unwrap()).expect("base64");
        std::fs::write(path, picture).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let end = json!({ "browserContextId": self.context });
        // The test may have failed because the browser has ended.
        self.link.try_call(None, "Target.disposeBrowserContext", end).ok();
    }
}
