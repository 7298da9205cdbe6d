//! [`Chromium`]: the program, its pipes, and the answers to commands.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::LIMIT;
use crate::page::{Page, Screen};

/// A browser that runs.
#[derive(Debug)]
pub struct Chromium {
    link: Arc<Link>,
    child: Child,
    _profile: TempDir,
}

/// The pipes, and what has come from the browser.
#[derive(Debug)]
pub(crate) struct Link {
    to: Mutex<(u64, ChildStdin)>,
    from: Mutex<From>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct From {
    /// By the number of the command.
    answers: HashMap<u64, Value>,
    /// By the session.
    events: HashMap<String, Vec<Value>>,
    has_ended: bool,
}

impl Chromium {
    /// Starts the browser at this path.
    pub(crate) fn start(path: PathBuf) -> Self {
        let profile = tempfile::Builder::new().prefix("procession-browser-").tempdir().unwrap();
        let mut command = Command::new("sh");
        // It reads commands from descriptor 3, and writes to 4.
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"]);
        command.arg(path).arg(format!("--user-data-dir={}", profile.path().display()));
        command.args([
            "--remote-debugging-pipe",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--disable-background-timer-throttling",
            "--disable-backgrounding-occluded-windows",
            "--disable-renderer-backgrounding",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
        ]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell that starts the browser");
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let link = Arc::new(Link {
            to: Mutex::new((0, to)),
            from: Mutex::default(),
            came: Condvar::new(),
        });
        let reader = link.clone();
        thread::spawn(move || reader.read(from));
        Self { link, child, _profile: profile }
    }

    /// An empty tab of this size.
    pub fn page(&self, screen: Screen) -> Page {
        let id = |answer: &Value, name: &str| answer[name].as_str().unwrap().to_owned();
        let context = self.link.call(None, "Target.createBrowserContext", json!({}));
        let context = id(&context, "browserContextId");
        let new = json!({ "url": "about:blank", "browserContextId": context });
        let target = id(&self.link.call(None, "Target.createTarget", new), "targetId");
        let attach = json!({ "targetId": target, "flatten": true });
        let session = id(&self.link.call(None, "Target.attachToTarget", attach), "sessionId");
        Page::new(self.link.clone(), session, context, screen)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Its profile can be removed once it has ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Link {
    /// Sends a command, and waits for the answer.
    pub(crate) fn call(&self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        self.try_call(session, method, parameters).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The answer, or why there is none.
    pub(crate) fn try_call(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value, String> {
        let number = {
            let mut to = self.to.lock();
            to.0 += 1;
            let mut command = json!({ "id": to.0, "method": method, "params": parameters });
            if let Some(session) = session {
                command["sessionId"] = session.into();
            }
            let mut bytes = command.to_string().into_bytes();
            bytes.push(0);
            to.1.write_all(&bytes).map_err(|error| format!("{method}: {error}"))?;
            to.0
        };
        let deadline = Instant::now() + LIMIT;
        let mut from = self.from.lock();
        loop {
            if let Some(mut answer) = from.answers.remove(&number) {
                return match answer["error"].take() {
                    Value::Null => Ok(answer["result"].take()),
                    error => Err(format!("{method}: {error}")),
                };
            }
            if from.has_ended {
                return Err(format!("{method}: the browser has ended"));
            }
            if self.came.wait_until(&mut from, deadline).timed_out() {
                return Err(format!("{method}: the browser does not answer"));
            }
        }
    }

    /// The events of a session until now.
    pub(crate) fn events(&self, session: &str) -> Vec<Value> {
        self.from.lock().events.get(session).cloned().unwrap_or_default()
    }

    /// Waits until the session has more than this number of events, for this time.
    pub(crate) fn wait_for_event(&self, session: &str, seen: usize, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut from = self.from.lock();
        while from.events.get(session).is_none_or(|events| events.len() <= seen) {
            if self.came.wait_until(&mut from, deadline).timed_out() {
                return;
            }
        }
    }

    fn read(&self, from: ChildStdout) {
        for message in BufReader::new(from).split(0) {
            let Ok(message) = message else { break };
            let Ok(message) = serde_json::from_slice::<Value>(&message) else { break };
            let mut from = self.from.lock();
            if let Some(number) = message["id"].as_u64() {
                from.answers.insert(number, message);
            } else if let Some(session) = message["sessionId"].as_str() {
                from.events.entry(session.to_owned()).or_default().push(message);
            }
            self.came.notify_all();
        }
        self.from.lock().has_ended = true;
        self.came.notify_all();
    }
}
