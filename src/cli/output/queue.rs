//! The queue of diagnostics for standard error. Nobody who prints waits for the reader, and the lock is never held
//! during a write, so the panic hook and the signal thread can always take it.

use crate::numbers::counted;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The most bytes that wait; messages beyond them are counted and dropped.
const ROOM: usize = 1 << 20;
/// How long to wait before retrying a reader that has no room.
const RETRY: Duration = Duration::from_millis(10);

struct Queue {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Messages dropped for lack of room.
    lost: u64,
    /// Whether the thread is writing what it has taken.
    writing: bool,
    /// Whether the thread exists.
    begun: bool,
}

static QUEUE: Mutex<Queue> =
    Mutex::new(Queue { waiting: VecDeque::new(), bytes: 0, lost: 0, writing: false, begun: false });
static CHANGED: Condvar = Condvar::new();

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Queues a message, to be written as soon as the reader accepts it.
pub fn put(message: Vec<u8>) {
    let mut queue = queue();
    if !queue.begun {
        queue.begun = thread::Builder::new().name("diagnostics".to_owned()).spawn(write_all).is_ok();
    }
    if queue.begun && queue.bytes + message.len() <= ROOM {
        queue.bytes += message.len();
        queue.waiting.push_back(message);
    } else {
        queue.lost += 1;
    }
    drop(queue);
    CHANGED.notify_all();
}

/// Whether everything has been written.
pub fn is_idle() -> bool {
    queue().is_idle()
}

/// Waits until everything has been written, for at most `patience`, or forever if `None`. Returns whether it was.
pub fn flush(patience: Option<Duration>) -> bool {
    let until = patience.map(|patience| Instant::now() + patience);
    let mut queue = queue();
    while !queue.is_idle() {
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return false;
        }
        // A wait without limit still wakes up now and then.
        let step = left.min(Duration::from_secs(1));
        queue = CHANGED.wait_timeout(queue, step).unwrap_or_else(PoisonError::into_inner).0;
    }
    true
}

impl Queue {
    fn is_idle(&self) -> bool {
        !self.begun || (self.waiting.is_empty() && !self.writing)
    }
}

/// Writes queued messages for the life of the process.
fn write_all() {
    loop {
        let mut queue = queue();
        queue.writing = false;
        CHANGED.notify_all();
        while queue.waiting.is_empty() {
            queue = CHANGED.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.writing = true;
        queue.bytes = 0;
        let lost = std::mem::take(&mut queue.lost);
        let messages = std::mem::take(&mut queue.waiting);
        drop(queue);
        for message in messages {
            write(&message);
        }
        if lost > 0 {
            write(format!("note: nobody read in time what was here: {}\n", counted(lost, "line")).as_bytes());
        }
    }
}

/// Writes one message; whatever cannot be written is dropped.
fn write(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match io::stderr().write(bytes) {
            Ok(count @ 1..) => bytes = &bytes[count..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
            Ok(0) | Err(_) => return,
        }
    }
}
