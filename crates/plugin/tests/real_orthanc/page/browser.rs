//! A real browser: Debian's Chromium, without a window, told what to do through the `DevTools` protocol.
//!
//! It listens at a pair of pipes, so that there is no port, and no library is needed to talk to it. Killed when dropped.

use std::{
    cell::{Cell, RefCell},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stage::SOON;

/// Chromium reads commands at descriptor 3 and answers at 4; its chatter goes nowhere.
const START: &str = r#"exec chromium "$@" 3<&0 4>&1 0</dev/null 1>/dev/null 2>&1"#;
const OPTIONS: [&str; 9] = [
    "--headless=new",
    // Containers forbid what the sandbox needs, and root may not use it. Nothing but our own page is opened.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
];

/// Light or dark, as the system prefers it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scheme {
    Light,
    Dark,
}

/// A browser with one tab.
pub(super) struct Browser {
    child: Child,
    commands: RefCell<ChildStdin>,
    messages: Receiver<Value>,
    last_id: Cell<u64>,
    session: String,
    events: RefCell<Vec<Value>>,
    _profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Browser {
    pub(super) fn start() -> Self {
        let profile = TempDir::with_prefix("chromium-").unwrap();
        let mut child = Command::new("sh")
            .args(["-c", START, "chromium"])
            .args(OPTIONS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = RefCell::new(child.stdin.take().unwrap());
        let answers = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = mpsc::channel();
        // It ends with the browser.
        std::thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            messages,
            last_id: Cell::new(0),
            session: String::new(),
            events: RefCell::default(),
            _profile: profile,
        };
        let target = browser.send("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.send("Target.attachToTarget", &attach);
        attached["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        for domain in ["Runtime", "Log", "Page", "Network"] {
            browser.send(&format!("{domain}.enable"), &json!({}));
        }
        browser.look(1280, 900, Scheme::Light);
        browser
    }

    /// The window's size in pixels, and the colours wanted.
    pub(super) fn look(&self, width: u32, height: u32, scheme: Scheme) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.send("Emulation.setDeviceMetricsOverride", &size);
        let scheme = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.send("Emulation.setEmulatedMedia", &features);
    }

    pub(super) fn open(&self, url: &str) {
        let opened = self.send("Page.navigate", &json!({"url": url}));
        assert_eq!(opened.get("errorText"), None, "{url}");
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// What an expression of JavaScript is; promises are waited for.
    pub(super) fn value(&self, expression: &str) -> Value {
        self.try_value(expression).unwrap_or_else(|error| panic!("{expression}: {error:#}"))
    }

    fn try_value(&self, expression: &str) -> Result<Value, Value> {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.send("Runtime.evaluate", &asked);
        if answer.get("exceptionDetails").is_some() {
            return Err(answer["exceptionDetails"].take());
        }
        Ok(answer["result"]["value"].take())
    }

    /// The text that the first element of that selector shows; empty if there is none.
    pub(super) fn text(&self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({})?.innerText ?? ''", json!(selector)));
        text.as_str().unwrap().to_owned()
    }

    /// Waits until an expression is true.
    pub(super) fn wait_for(&self, expression: &str) {
        let until = Instant::now() + SOON;
        // While a page goes and another comes, there is nothing that could be asked.
        while !matches!(self.try_value(&format!("Boolean({expression})")), Ok(Value::Bool(true))) {
            if Instant::now() > until {
                let shown = self.try_value("document.body.innerText").unwrap_or_default();
                panic!("waited for {expression}; the page shows:\n{}", shown.as_str().unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the element shows the text somewhere.
    pub(super) fn wait_for_text(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.wait_for(&format!("document.querySelector({selector})?.innerText.includes({text})"));
    }

    /// Clicks at the middle of an element, as a hand does: once it has come to rest there, and nothing covers it.
    pub(super) fn click(&self, selector: &str) {
        let quoted = json!(selector);
        let look = format!(
            "(async () => {{ const e = document.querySelector({quoted}); e?.scrollIntoView({{block: 'center'}}); \
             const at = () => {{ const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }}; \
             const before = e && at(); await new Promise((later) => setTimeout(later, 150)); \
             const rests = e?.isConnected && String(before) === String(at()); \
             return rests && e.contains(document.elementFromPoint(...at())) ? at() : null; }})()"
        );
        let until = Instant::now() + SOON;
        let middle = loop {
            match self.try_value(&look) {
                Ok(middle) if middle.is_array() => break middle,
                _ => assert!(Instant::now() < until, "{selector} cannot be clicked"),
            }
        };
        for kind in ["mousePressed", "mouseReleased"] {
            let at = json!({"type": kind, "x": middle[0], "y": middle[1], "button": "left", "clickCount": 1});
            self.send("Input.dispatchMouseEvent", &at);
        }
    }

    /// Presses a key: `Tab`, `Enter`, `Space`.
    pub(super) fn press(&self, key: &str) {
        let (code, number, text) = match key {
            "Enter" => ("Enter", 13, "\r"),
            "Space" => ("Space", 32, " "),
            other => (other, 9, ""),
        };
        let name = if key == "Space" { " " } else { key };
        let down = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        for kind in [down, "keyUp"] {
            let mut event = json!({"type": kind, "key": name, "code": code, "windowsVirtualKeyCode": number});
            if kind == "keyDown" {
                event["text"] = text.into();
            }
            self.send("Input.dispatchKeyEvent", &event);
        }
    }

    /// Takes a picture of the window.
    pub(super) fn picture(&self, file: &Path) {
        let picture = self.send("Page.captureScreenshot", &json!({"format": "png"}));
        std::fs::write(file, STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    /// All addresses that were asked for so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.value("0");
        let events = self.events.borrow();
        let asked = events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        asked.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// What the console has to complain about: errors, warnings, exceptions, and what the content security policy forbade.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.value("0");
        let complaint = |event: &Value| {
            let params = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled" => Some(params.to_string()),
                "Log.entryAdded" => Some(format!(
                    "{}: {} ({})",
                    params["entry"]["source"], params["entry"]["text"], params["entry"]["url"]
                )),
                "Page.javascriptDialogOpening" => Some(format!("dialog: {params}")),
                _ => None,
            }
        };
        self.events.borrow().iter().filter_map(complaint).collect()
    }

    fn send(&self, method: &str, params: &Value) -> Value {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        let mut command = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            command["sessionId"] = self.session.as_str().into();
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        let sent = self.commands.borrow_mut().write_all(&bytes);
        sent.expect("Chromium is there: install Debian's package chromium");
        loop {
            let message = self.messages.recv_timeout(SOON * 2);
            let mut message = message.unwrap_or_else(|_| {
                panic!("Chromium does not answer {method}: install Debian's package chromium")
            });
            if message["id"] != id {
                self.events.borrow_mut().push(message);
                continue;
            }
            assert_eq!(message.get("error"), None, "{method}");
            return message["result"].take();
        }
    }
}
