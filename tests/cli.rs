//! The program as users run it: the real binary, its exit codes, its messages, and its files on the disk.

mod bad_input;
mod default_device;
#[cfg(unix)]
mod documented;
mod finite;
mod first_minutes;
mod leftovers;
mod moved;
mod sealed;
#[cfg(unix)]
mod terminal;
#[cfg(unix)]
mod view;
mod whole;
mod width;
mod words;

use normfree::gpu::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use tempfile::TempDir;

/// A tiny model: seconds on any device.
pub const MODEL: &str = "\
[model]
family = \"gpt2\"
n_layer = 2
n_head = 2
n_embd = 16
n_positions = 16
vocab_size = 300
norm = \"none\"
activation_function = \"relu\"
embd_pdrop = 0.1

[data]
path = \"data\"

[train]
steps = 12
batch_size = 2
gradient_accumulation_steps = 2
learning_rate = 1e-3
checkpoint_every = 5
eval_every = 6
eval_chunks = 4

[observe]
entropy_every = 1
layers_every = 7
sample_every = 2
";

/// A folder in which the program runs: `tiny.toml`, and prepared data in `data`.
pub struct Place {
    folder: TempDir,
    /// Whether commands compute on an adapter, a software driver if there is no GPU, and not on the CPU itself.
    on_driver: bool,
}

impl Place {
    /// An empty folder with only the configuration.
    pub fn new() -> Self {
        // Child processes inherit the width of a software driver, instead of each measuring it.
        let _ = normfree::gpu::candidates(&OpenOptions::default());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tiny.toml"), MODEL).unwrap();
        Self { folder, on_driver: false }
    }

    /// The same with commands that compute on an adapter.
    pub fn on_driver(self) -> Self {
        Self { on_driver: true, ..self }
    }

    /// The same with data of 300 tokens.
    pub fn with_data() -> Self {
        let place = Self::new();
        let text = place.path("text");
        std::fs::create_dir(&text).unwrap();
        for file in 0..12 {
            let line =
                |i: usize| format!("def f_{}(x):\n    return x * {} + {}\n", i * 7 % 31, i * i % 97, file);
            std::fs::write(text.join(format!("{file}.py")), (0..60).map(line).collect::<String>()).unwrap();
        }
        let prepare = ["prepare", "text", "--out", "data", "--vocab-size", "300", "--chunk", "16"];
        place.succeeds(&[&prepare[..], &["--valid-share", "0.2"]].concat());
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_normfree"));
        command.args(arguments).current_dir(self.folder.path());
        command.env("NORMFREE_CACHE", self.path("cache"));
        // What needs any device runs on the CPU itself, which starts at once.
        command.env("NORMFREE_DEVICE", if self.on_driver { "adapter" } else { "cpu" });
        command
    }

    #[track_caller]
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The command fails with one line that contains all of `parts`, and with this exit code.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        refused(&self.command(arguments).output().unwrap(), code, parts);
    }
}

/// The options that set these keys.
pub fn sets<'a>(keys: &[&'a str]) -> Vec<&'a str> {
    keys.iter().flat_map(|&key| ["--set", key]).collect()
}

#[track_caller]
pub fn refused(output: &Output, code: i32, parts: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{}", shown(output));
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{}", shown(output));
    for part in parts {
        assert!(stderr.contains(part), "`{part}` is missing in {}", shown(output));
    }
}

/// A requested stop: code 130, no error, and the command line that resumes. Returns the output.
#[track_caller]
pub fn stopped(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{}", shown(output));
    assert!(!stderr.contains("error") && stderr.contains("; continue with: "), "{}", shown(output));
    stderr
}

/// Sends a process a signal.
#[cfg(unix)]
pub fn signal(name: &str, child: &Child) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "{name}");
}

pub fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\nstdout: {}\nstderr: {}", output.status, text(&output.stdout), text(&output.stderr))
}

/// What must be equal between two runs of the same training: the log without its speeds, and every checkpoint without the
/// length and digest of that log.
pub fn essence(run: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![("metrics.jsonl".to_owned(), without(&run.join("metrics.jsonl"), "tokens_per_s"))];
    let mut checkpoints: Vec<_> =
        std::fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
    checkpoints.sort();
    for folder in checkpoints {
        for name in ["model.safetensors", "optimizer.safetensors"] {
            let path = folder.join(name);
            found
                .push((path.strip_prefix(run).unwrap().display().to_string(), std::fs::read(&path).unwrap()));
        }
        let state = std::fs::read(folder.join("trainer_state.json")).unwrap();
        let mut state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        let state = state.as_object_mut().unwrap();
        for key in ["metrics_bytes", "metrics_sha256", "sha256"] {
            state.shift_remove(key).unwrap();
        }
        // Timing decides which of several kernels with the same bits is the fastest.
        state.shift_remove("kernels");
        found.push((
            format!("{} state", folder.display()).split_off(run.display().to_string().len()),
            serde_json::to_vec(state).unwrap(),
        ));
    }
    found
}

/// The lines of a log without one key.
fn without(path: &Path, key: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().shift_remove(key);
        value.to_string() + "\n"
    };
    text.lines().map(line).collect::<String>().into_bytes()
}

#[track_caller]
pub fn assert_same(one: &Path, other: &Path) {
    let (a, b) = (essence(one), essence(other));
    let names = |list: &[(String, Vec<u8>)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    let unlike: Vec<String> = (a.iter().zip(&b))
        .filter(|((_, a), (_, b))| a != b)
        .map(|((name, a), (_, b))| format!("{name}: {}", difference(name, a, b)))
        .collect();
    // Which kernels computed them may be the reason.
    let kernels = |run: &Path| std::fs::read_to_string(run.join("env.json")).unwrap_or_default();
    assert!(
        unlike.is_empty(),
        "{} and {} differ:\n{}\n{}\n{}",
        one.display(),
        other.display(),
        unlike.join("\n"),
        kernels(one),
        kernels(other)
    );
}

/// How two files differ, in a few lines.
fn difference(name: &str, one: &[u8], other: &[u8]) -> String {
    let (text, other_text) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
    match name {
        name if name.ends_with("state") => format!("{text}\n{other_text}"),
        "metrics.jsonl" => {
            let lines = || text.lines().zip(other_text.lines()).enumerate().filter(|(_, (a, b))| a != b);
            let first = lines().take(3).map(|(at, (a, b))| format!("\nline {}: {a}\nand: {b}", at + 1));
            format!("{} of {} lines{}", lines().count(), text.lines().count(), first.collect::<String>())
        }
        _ => format!("{} bytes", one.iter().zip(other).filter(|(a, b)| a != b).count()),
    }
}
