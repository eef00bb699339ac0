//! Runs a target for a while, on new inputs.

use crate::edits::{apply, edits};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// No input may take longer, even on a busy machine; the slowest valid ones take a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// Memory that the process may use: many times what any input needs, far below what a wrong size could ask for.
#[cfg(unix)]
const MEMORY: u64 = 8 << 30;

/// How long a target runs.
fn time() -> Duration {
    let seconds = std::env::var("NORMFREE_FUZZ_SECONDS").map_or(2.0, |text| text.parse().expect("seconds"));
    Duration::from_secs_f64(seconds)
}

/// The seed of the edits; `make fuzz` and `make soak` use a new one each time.
fn seed() -> u64 {
    std::env::var("NORMFREE_SEED").map_or(1, |text| text.parse().expect("NORMFREE_SEED is a whole number"))
}

/// The inputs that a target starts from: all files of `tests/fuzz/corpus/NAME`.
pub fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no input in {}", folder.display());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs `check` on every input as it is, then on edited ones until time is up. `check` panics or returns a complaint if an
/// input is not handled correctly.
pub fn run(name: &'static str, inputs: &[Vec<u8>], check: impl Fn(&[u8]) -> Result<(), String>) {
    limit_memory();
    let watch = Watch::new(name);
    for input in inputs {
        watch.over(input, || check(input)).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
    }
    let (seed, until) = (seed(), Instant::now() + time());
    println!("{name}: NORMFREE_SEED={seed}");
    let mut cases = 0_u64;
    for round in 0.. {
        if Instant::now() >= until {
            break;
        }
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&u64::to_le_bytes(round));
        const CASES: u32 = 16;
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(config, random);
        let outcome = runner.run(&(any::<Index>(), edits()), |(which, edits)| {
            let input = apply(&inputs[which.index(inputs.len())], &edits);
            // Inputs that panic are kept as well: the file of the input stays until the next one.
            keep(name, "last", &input);
            watch.over(&input, || check(&input)).map_err(TestCaseError::fail)
        });
        if let Err(error) = outcome {
            panic!("{name}: {error}\nthe input is in target/fuzz; NORMFREE_SEED={seed} repeats it");
        }
        cases += u64::from(CASES);
    }
    println!("{name}: {cases} inputs");
    let _ = fs::remove_file(place(name, "last"));
}

fn place(name: &str, what: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz").join(format!("{name}.{what}"))
}

fn keep(name: &str, what: &str, input: &[u8]) {
    let path = place(name, what);
    fs::create_dir_all(path.parent().expect("a folder")).unwrap();
    fs::write(path, input).unwrap();
}

/// A request for more memory than any input may need ends the process, with a message.
fn limit_memory() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let limit = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
        setrlimit(Resource::As, limit).expect("a limit of memory");
    }
}

/// The current input, and when it began.
type Running = Mutex<Option<(Instant, Vec<u8>)>>;

/// Ends the process if an input takes too long, and keeps the input.
struct Watch(Arc<Running>);

impl Watch {
    fn new(name: &'static str) -> Self {
        let running: Arc<Running> = Arc::default();
        let watched = Arc::downgrade(&running);
        thread::spawn(move || {
            while let Some(running) = watched.upgrade() {
                if let Some((since, input)) = &*running.lock().unwrap()
                    && since.elapsed() > PATIENCE
                {
                    keep(name, "hang", input);
                    eprintln!(
                        "{name}: an input takes more than {PATIENCE:?}; it is in target/fuzz/{name}.hang"
                    );
                    std::process::abort();
                }
                drop(running);
                thread::sleep(Duration::from_millis(200));
            }
        });
        Self(running)
    }

    fn over<T>(&self, input: &[u8], work: impl FnOnce() -> T) -> T {
        *self.0.lock().unwrap() = Some((Instant::now(), input.to_vec()));
        let result = work();
        *self.0.lock().unwrap() = None;
        result
    }
}
