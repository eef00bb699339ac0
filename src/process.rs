//! A child program: in its own process group, under a time limit, read line by line as it writes.

use crate::fault::{Fault, Result};
use crate::files::leftovers::Leftover;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often the limit is checked while the program writes nothing.
const TICK: Duration = Duration::from_millis(50);
/// How long the program's own children may keep its output open after it ends.
const AFTERWARDS: Duration = Duration::from_secs(1);
/// Bytes kept of the end of standard error.
const COMPLAINT: usize = 8 << 10;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    /// A signal with this number ended it: a crash.
    Signal(i32),
    /// It ran out of time.
    Late,
    /// The watcher had seen enough.
    Enough,
}

/// A finished program.
#[derive(Clone, Debug)]
pub struct Finished {
    pub end: End,
    /// Its standard output.
    pub lines: Vec<String>,
    /// The end of its standard error.
    pub complaint: String,
}

/// Runs a program until it ends, until the time `until`, or until `enough` returns true for the lines so far.
/// Everything it started ends with it, and all of it ends with this process.
///
/// # Errors
/// `Io` if it cannot be started.
pub fn run(command: &mut Command, until: Instant, enough: &mut dyn FnMut() -> bool) -> Result<Finished> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut child = command
        .spawn()
        .map_err(|error| Fault::io("start a program", Path::new(command.get_program()), &error))?;
    let id = child.id();
    let _ends_with_us = Leftover::new(move || end_group(id));
    let output = lines(child.stdout.take().expect("its output is piped"));
    let (complaint, complaint_ends) = tail(child.stderr.take().expect("its diagnostics are piped"));
    let mut seen = Vec::new();
    let end = loop {
        match output.recv_timeout(TICK) {
            Ok(line) => seen.push(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK),
        }
        match child.try_wait() {
            Ok(Some(status)) => break ending(status),
            Ok(None) => {}
            Err(error) => return Err(Fault::io("wait for", Path::new(command.get_program()), &error)),
        }
        if Instant::now() >= until {
            stop(&mut child);
            break End::Late;
        }
        if enough() {
            stop(&mut child);
            break End::Enough;
        }
    };
    let rest = Instant::now() + AFTERWARDS;
    while let Ok(line) = output.recv_timeout(rest.saturating_duration_since(Instant::now())) {
        seen.push(line);
    }
    // Its thread may not have read the last words yet.
    let _ = complaint_ends.recv_timeout(rest.saturating_duration_since(Instant::now()));
    let complaint = complaint.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Finished { end, lines: seen, complaint: String::from_utf8_lossy(&complaint).into_owned() })
}

fn ending(status: ExitStatus) -> End {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return End::Signal(signal);
    }
    End::Code(status.code().unwrap_or(-1))
}

/// Ends a program and everything it started, and waits for it.
fn stop(child: &mut Child) {
    end_group(child.id());
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(unix)]
fn end_group(id: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(group) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(not(unix))]
fn end_group(id: u32) {
    let _ = Command::new("taskkill").args(["/T", "/F", "/PID", &id.to_string()]).output();
}

/// The lines of a stream, as they come.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(stream.read_until(b'\n', &mut line), Ok(read) if read > 0) {
            if send.send(String::from_utf8_lossy(line.trim_ascii_end()).into_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });
    receive
}

/// The end of a stream, as far as it has arrived, and a channel that closes when there is no more.
fn tail(mut stream: impl Read + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, Receiver<()>) {
    let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (open, ends) = channel();
    let keeping = Arc::clone(&kept);
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            let mut kept = keeping.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&chunk[..read]);
            let over = kept.len().saturating_sub(COMPLAINT);
            kept.drain(..over);
        }
        drop(open);
    });
    (kept, ends)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str, limit: f64, enough: &mut dyn FnMut() -> bool) -> Finished {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(&mut command, Instant::now() + Duration::from_secs_f64(limit), enough).unwrap()
    }

    #[test]
    fn the_end_of_a_program_is_reported() {
        let end = |script| shell(script, 20.0, &mut || false).end;
        assert_eq!(end("exit 0"), End::Code(0));
        assert_eq!(end("exit 11"), End::Code(11));
        assert_eq!(end("kill -SEGV $$"), End::Signal(11));
        let said = shell("echo one; echo two >&2; printf three", 20.0, &mut || false);
        assert_eq!((said.lines, said.complaint.as_str()), (vec!["one".to_owned(), "three".into()], "two\n"));
    }

    /// Including what it started, which nobody else knows about.
    #[test]
    fn a_program_that_hangs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("echo before; sleep 300 & echo $! > {}; wait", pid.display());
        let began = Instant::now();
        let said = shell(&script, 0.5, &mut || false);
        assert_eq!((said.end, said.lines), (End::Late, vec!["before".to_owned()]));
        assert!(began.elapsed() < Duration::from_secs(10));
        let started: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let started = rustix::process::Pid::from_raw(started).unwrap();
        // The process that adopts orphans may need a moment to reap it.
        let gone = || rustix::process::test_kill_process(started).is_err() || is_zombie(started);
        while !gone() {
            assert!(began.elapsed() < Duration::from_secs(20), "it lives on");
            thread::sleep(TICK);
        }
    }

    fn is_zombie(id: rustix::process::Pid) -> bool {
        let path = format!("/proc/{}/stat", id.as_raw_nonzero());
        std::fs::read_to_string(path).is_ok_and(|stat| stat.contains(") Z "))
    }

    #[test]
    fn a_watcher_can_end_a_program() {
        let mut looks = 0;
        let said = shell("sleep 300", 20.0, &mut || {
            looks += 1;
            looks == 3
        });
        assert_eq!(said.end, End::Enough);
    }
}
