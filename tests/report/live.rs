//! The page that is given to browsers while runs train.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::browser::Browser;
use super::study::{CONFIGURATIONS, Size, write};

const SIZE: Size = Size { layers: 3, heads: 4, steps: 200, every: 20 };

/// The program that serves, ended with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn over(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_normfree"));
        command.args(["-q", "report"]).arg(folder).args(["--serve", "0"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned() }
    }

    /// Status and text.
    fn get(&self, path: &str, host: Option<&str>) -> (u16, String) {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut request = agent.get(format!("{}{path}", self.address));
        if let Some(host) = host {
            request = request.header("Host", host);
        }
        let mut answer = request.call().unwrap();
        (answer.status().as_u16(), answer.body_mut().with_config().limit(1 << 26).read_to_string().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds a line to a run's log, as training does.
fn go_on(folder: &Path) {
    let path = folder.join("sm_r-seed1/metrics.jsonl");
    let line = r#"{"kind":"eval","step":220,"loss":3.25,"ppl":25.8}"#;
    let mut log = fs::File::options().append(true).open(path).unwrap();
    writeln!(log, "{line}").unwrap();
}

#[test]
fn the_page_is_given_to_this_machine_alone() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "Live", &CONFIGURATIONS[..3], &[1], SIZE);
    let server = Server::over(folder.path());
    assert!(server.address.starts_with("http://127.0.0.1:"), "{}", server.address);
    let (status, page) = server.get("", None);
    assert!(status == 200 && page.contains("connect-src 'self'") && page.contains("SM+LN+G"), "{status}");
    let (_, state) = server.get("state", None);
    assert!(page.contains(&format!("\"live\":\"{state}\"")), "{state}");
    go_on(folder.path());
    assert_ne!(server.get("state", None).1, state);
    assert_eq!(server.get("", Some("rebound.example")).0, 403);
    assert_eq!(server.get("other", None).0, 404);
    assert!(!folder.path().join("report.html").exists(), "nothing is written");

    // A damaged log is told where it is looked for, and does not end the program.
    fs::write(folder.path().join("sm_g-seed1/metrics.jsonl"), "{\"kind\":1}\n{}\n").unwrap();
    let (status, told) = server.get("", None);
    assert!(status == 500 && told.contains("sm_g-seed1"), "{told}");
    assert_eq!(server.get("state", None).0, 200);
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "Live", &CONFIGURATIONS[..2], &[1], SIZE);
    let mut server = Server::over(folder.path());
    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    // It is how the command ends.
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_page_follows_its_runs_and_keeps_what_the_reader_chose() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "Live", &CONFIGURATIONS[..3], &[1], SIZE);
    let server = Server::over(folder.path());
    let browser = Browser::open(&folder.path().join("study.json"));
    browser.visit_address(&server.address);
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
    let shown = "return document.querySelectorAll('#heatmap-grid .panel').length";
    assert_eq!(browser.run(shown), json!(3));
    browser.point("#picks label:nth-child(2) input", (0.5, 0.5), true);
    browser.run("const s = document.getElementById('curve'); s.value = 'perplexity'; s.dispatchEvent(new Event('change')); window.before = true");
    let curve = browser.run("return document.getElementById('curve').value");
    go_on(folder.path());
    browser
        .wait("return window.before === undefined && document.documentElement.dataset.drawn !== undefined");
    assert_eq!(browser.run(shown), json!(2), "the runs that were chosen");
    assert_eq!(browser.run("return document.getElementById('curve').value"), curve);
    let told = browser.run(
        "return JSON.parse(document.getElementById('data').textContent).runs[2].curves.held_out[0].at(-1)",
    );
    assert_eq!(told, json!(220), "the new evaluation is on the page");
    drop(server);
    browser.wait("return document.getElementById('live').textContent.includes('has ended')");
}
