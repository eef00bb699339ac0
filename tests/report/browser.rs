//! Chromium, driven over the WebDriver protocol: opens a page as a reader does.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// The message if there is no Chromium. Nothing is skipped silently.
const MISSING: &str = "the report page is tested in Chromium: install it with its driver (Debian: apt-get install \
                       chromium chromium-driver; or .ci/bring-chromium), or name them in NORMFREE_CHROMIUM and \
                       NORMFREE_CHROMEDRIVER";

/// A headless browser with one window; dropping this ends it.
pub struct Browser {
    driver: Child,
    /// The session's address at the driver.
    session: String,
    agent: ureq::Agent,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Opens a file.
    pub fn open(page: &Path) -> Self {
        let driver = std::env::var("NORMFREE_CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".into());
        let started =
            Command::new(driver).arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = started.unwrap_or_else(|error| panic!("no ChromeDriver ({error}): {MISSING}"));
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        let port = port.unwrap_or_else(|| panic!("ChromeDriver does not start: {MISSING}"));
        // A process that writes into a pipe that nobody reads blocks eventually.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let mut options = json!({ "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            format!("--user-data-dir={}", profile.path().display()),
        ]});
        if let Ok(binary) = std::env::var("NORMFREE_CHROMIUM") {
            options["binary"] = binary.into();
        }
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut browser =
            Self { driver, session: format!("http://127.0.0.1:{port}/session"), agent, _profile: profile };
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        }}});
        let made = browser.post("", &wanted);
        let id = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session ({made}): {MISSING}"));
        browser.session = format!("{}/{id}", browser.session);
        browser.visit(page);
        browser
    }

    /// Opens another file, or the same one anew.
    pub fn visit(&self, page: &Path) {
        self.visit_address(&format!("file://{}", page.display()));
    }

    /// Opens an address.
    pub fn visit_address(&self, address: &str) {
        self.post("/url", &json!({ "url": address }));
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.agent.post(format!("{}{path}", self.session));
        let answer = request.header("Content-Type", "application/json").send(body.to_string());
        let text = answer.unwrap().body_mut().with_config().limit(1 << 26).read_to_string().unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert!(answer["value"]["error"].is_null(), "{path} {body}: {}", answer["value"]);
        answer["value"].clone()
    }

    /// What a script returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What a script returns, as text.
    pub fn text(&self, script: &str) -> String {
        let value = self.run(script);
        value.as_str().unwrap_or_else(|| panic!("{script} returned {value}")).to_owned()
    }

    /// Runs a script until it returns true.
    pub fn wait(&self, script: &str) {
        for _ in 0..200 {
            if self.run(script) == json!(true) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("this did not come true: {script}");
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Sets the window's size in CSS pixels.
    pub fn size(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Sets whether the reader prefers dark mode.
    pub fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Moves the pointer to a point in the element that a selector finds, given as a part of its width and height, and clicks
    /// there if asked.
    pub fn point(&self, selector: &str, (across, down): (f64, f64), click: bool) {
        let script = format!(
            "const e = document.querySelector({selector:?}); e.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
             const b = e.getBoundingClientRect(); \
             return [Math.round(b.left + b.width * {across}), Math.round(b.top + b.height * {down})];"
        );
        let at = self.run(&script);
        let near =
            json!({ "type": "pointerMove", "duration": 0, "x": at[0].as_i64().unwrap() + 2, "y": at[1] });
        let mut actions =
            vec![near, json!({ "type": "pointerMove", "duration": 50, "x": at[0], "y": at[1] })];
        if click {
            actions.push(json!({ "type": "pointerDown", "button": 0 }));
            actions.push(json!({ "type": "pointerUp", "button": 0 }));
        }
        let mouse = json!({ "type": "pointer", "id": "mouse", "actions": actions });
        self.post("/actions", &json!({ "actions": [mouse] }));
    }

    /// Presses keys one after the other on whatever has the focus; the protocol names special keys from U+E000 on.
    pub fn press(&self, keys: &str) {
        let key = |key: char| {
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        };
        let actions: Vec<Value> = keys.chars().flat_map(key).collect();
        self.post("/actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }));
    }

    /// Messages of a log, as the driver returns them: `browser` for the console, `performance` for the network.
    pub fn log(&self, kind: &str) -> Vec<Value> {
        self.post("/se/log", &json!({ "type": kind })).as_array().unwrap().clone()
    }

    /// A picture of the whole page, for a person to look at.
    pub fn picture(&self, file: &Path) {
        let size = self.run("return [innerWidth, Math.min(9000, document.documentElement.scrollHeight)];");
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
        let wanted = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let made = self.devtools("Page.captureScreenshot", &wanted);
        fs::write(file, decode(made["data"].as_str().unwrap())).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends first, or it outlives its driver.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Base64, which the protocol uses for pictures.
fn decode(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => u32::from(c - b'A'),
        b'a'..=b'z' => u32::from(c - b'a') + 26,
        b'0'..=b'9' => u32::from(c - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().fold(0, |bits, &c| bits << 6 | digit(c)) << (6 * (4 - four.len()));
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    out
}
