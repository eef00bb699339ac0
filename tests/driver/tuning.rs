//! Variants of an op that end the process, hang or compute something else, as a driver may: planted here as an op whose recipe
//! does so. The op is tuned in a separate process, which runs this test again.

use crate::support::open;
use normfree::cache::attempts::Attempts;
use normfree::fault::Kind;
use normfree::gpu::OpenOptions;
use normfree::ops::{Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning};
use normfree::plan::{Finding, Search, tune};
use normfree::tape::Io;
use normfree::tape::{DType, Tape};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, abort, exit};
use std::time::{Duration, Instant};

const KEY: &str = "twice of 64";
const TEXT: &str = "
override FACTOR: f32;
override BELOW: f32; // smaller inputs are rounded differently
override ROUNDS: u32; // of work without an effect
@group(0) @binding(0) var<storage, read> a: array<f32>; // [64]
@group(0) @binding(1) var<storage, read_write> c: array<f32>; // [64]
@compute @workgroup_size(64)
fn twice(@builtin(local_invocation_index) i: u32) {
    var work = a[i];
    for (var round = 0u; round < ROUNDS; round++) { work = fract(work * 1.37); }
    let double = FACTOR * select(a[i], work, work > 2.0);
    c[i] = select(double, bitcast<f32>(bitcast<u32>(double) + 1u), a[i] < BELOW);
}
";
/// The exit code of a process whose variant is overdue.
const OVERDUE: i32 = 7;

/// Twice its input, in variants that do what their names say.
#[derive(Debug)]
struct Twice(Vec<String>);

impl Op for Twice {
    fn stem(&self) -> &'static str {
        "twice"
    }

    fn name(&self) -> &'static str {
        "twice"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        for (c, a) in outputs[0].iter_mut().zip(inputs[0]) {
            *c = 2.0 * a;
        }
    }

    fn tuning(&self, _: &Shapes<'_>, _: &Traits) -> Option<Tuning> {
        Some(Tuning { key: KEY.to_owned(), variants: self.0.clone() })
    }

    fn recipe(&self, _: &Shapes<'_>, device: &Traits) -> Recipe {
        let (factor, below, rounds) = match Tuning::chosen(KEY, &self.0, device).as_str() {
            "abort" => abort(),
            "hang" => loop {
                std::thread::park();
            },
            "wrong" => (2.01, -9.0, 0.0),
            // No operand of the first comparison is that small.
            "seldom" => (2.0, -0.8, 0.0),
            "slow" => (2.0, -9.0, 300_000.0),
            _ => (2.0, -9.0, 0.0),
        };
        let constants = [("FACTOR", factor), ("BELOW", below), ("ROUNDS", rounds)];
        let kernel = Kernel::new(TEXT, "twice", &constants);
        // Reading and writing one buffer at once is an error that no error scope catches: it arrives in the same way as a
        // device loss.
        let failing = Tuning::chosen(KEY, &self.0, device) == "fail";
        let a = if failing { Operand::Output(0) } else { Operand::Input(0) };
        Recipe::one(kernel, &[("a", a), ("c", Operand::Output(0))], [1; 3])
    }
}

/// A search in a separate process.
#[derive(Clone, Copy)]
struct Start<'a> {
    /// The test that runs again in that process.
    test: &'a str,
    variants: &'a [&'a str],
    folder: &'a Path,
    thorough: bool,
    /// How often the op is used, from which a search that is not thorough concludes whether it pays.
    uses: u64,
}

const VARIANTS: &str = "NORMFREE_TEST_VARIANTS";
const FOLDER: &str = "NORMFREE_TEST_FOLDER";
const THOROUGH: &str = "NORMFREE_TEST_THOROUGH";
const USES: &str = "NORMFREE_TEST_USES";

impl<'a> Start<'a> {
    /// A search of all keys.
    fn thorough(test: &'a str, variants: &'a [&'a str], folder: &'a Path) -> Self {
        Self { test, variants, folder, thorough: true, uses: 1 }
    }

    fn run(&self) -> Output {
        let began = Instant::now();
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", &format!("driver::tuning::{}", self.test), "--nocapture"]);
        command.env(VARIANTS, self.variants.join(",")).env(FOLDER, self.folder);
        command.env(THOROUGH, if self.thorough { "yes" } else { "" }).env(USES, self.uses.to_string());
        let output = command.output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(60), "{output:?}");
        output
    }

    /// The output of a search that finishes: the variant it chooses, then the variants it skips.
    #[track_caller]
    fn ends(&self) -> String {
        let output = self.run();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        said.lines().find(|line| line.starts_with("takes ")).expect("it says what it takes").to_owned()
    }
}

/// The search, if this process is the one that was started for it.
fn searched_here() -> bool {
    let Ok(variants) = env::var(VARIANTS) else { return false };
    let variants: Vec<String> = variants.split(',').map(str::to_owned).collect();
    let mut gpu = open(&OpenOptions::default());
    let mut tape = Tape::new();
    let a = tape.input("a", &[64], DType::F32);
    let c = tape.observation("c", &[64]);
    tape.record(Twice(variants), &[a], &[c]);
    let folder = PathBuf::from(env::var_os(FOLDER).unwrap());
    let mut attempts = Attempts::open(Some(&folder), "card");
    attempts.limit(
        Duration::from_secs(3),
        Box::new(|tried| {
            println!("overdue: {} of {}", tried.how, tried.what);
            exit(OVERDUE);
        }),
    );
    let thorough = env::var(THOROUGH).is_ok_and(|value| !value.is_empty());
    let uses: u64 = env::var(USES).unwrap().parse().unwrap();
    let mut search =
        Search { again: false, thorough, progress: &mut |_| (), keep: &mut |_| (), attempts: &mut attempts };
    let findings: Vec<Finding> = match tune(gpu.gpu_mut().unwrap(), &[(&tape, uses)], &mut search) {
        Ok(findings) => findings,
        Err(fault) => {
            println!("\nfault: {fault}");
            exit(fault.kind as i32);
        }
    };
    let taken: Vec<&str> = findings.iter().map(|finding| finding.variant.as_str()).collect();
    let wrong: Vec<&String> = findings.iter().flat_map(|finding| &finding.wrong).collect();
    let met: Vec<&str> = attempts.met().iter().map(|tried| tried.how.as_str()).collect();
    println!("\ntakes {taken:?}, wrong {wrong:?}, skipped {met:?}");
    true
}

#[test]
fn a_variant_that_ends_the_process_is_skipped_by_the_next_start() {
    if searched_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let start = Start::thorough(
        "a_variant_that_ends_the_process_is_skipped_by_the_next_start",
        &["plain", "abort"],
        folder.path(),
    );
    assert!(!start.run().status.success(), "it aborts");
    let wanted = "takes [\"plain\"], wrong [], skipped [\"abort\"]";
    assert_eq!(start.ends(), wanted);
    // And by every later one, until the file is deleted.
    assert_eq!(start.ends(), wanted);
    let file = Attempts::open(Some(folder.path()), "card").file().unwrap();
    fs::remove_file(file).unwrap();
    assert!(!start.run().status.success(), "it is tried again");
}

/// Also if no search would pay.
#[test]
fn a_default_that_ends_the_process_is_replaced() {
    if searched_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let start = Start::thorough(
        "a_default_that_ends_the_process_is_replaced",
        &["abort", "plain", "also"],
        folder.path(),
    );
    let start = Start { thorough: false, uses: 1, ..start };
    assert!(!start.run().status.success(), "it aborts");
    assert_eq!(start.ends(), "takes [\"plain\"], wrong [], skipped [\"abort\"]");
}

#[test]
fn a_variant_that_hangs_ends_the_process_in_time_and_is_skipped_afterwards() {
    if searched_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let start = Start::thorough(
        "a_variant_that_hangs_ends_the_process_in_time_and_is_skipped_afterwards",
        &["plain", "hang"],
        folder.path(),
    );
    let output = start.run();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(OVERDUE), "{output:?}");
    assert!(said.contains("overdue: hang of twice of 64"), "{said}");
    assert_eq!(start.ends(), "takes [\"plain\"], wrong [], skipped [\"hang\"]");
}

#[test]
fn a_variant_that_computes_something_else_is_not_chosen() {
    if searched_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let start = Start::thorough(
        "a_variant_that_computes_something_else_is_not_chosen",
        &["plain", "wrong"],
        folder.path(),
    );
    assert_eq!(start.ends(), "takes [\"plain\"], wrong [\"wrong\"], skipped []");
    // If it is the default, any other is better.
    let start = Start { variants: &["wrong", "plain"], ..start };
    assert_eq!(start.ends(), "takes [\"plain\"], wrong [\"wrong\"], skipped []");
}

/// Without `--retune`, a search changes no bit.
#[test]
fn a_faster_variant_that_seldom_rounds_differently_is_not_chosen() {
    if searched_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let start = Start::thorough(
        "a_faster_variant_that_seldom_rounds_differently_is_not_chosen",
        &["slow", "seldom"],
        folder.path(),
    );
    let start = Start { thorough: false, uses: 1_000_000_000, ..start };
    // So short a kernel is not always seen to be slower, so the search is repeated.
    let takes = |start: Start<'_>, variant: &str| {
        (0..20).any(|_| start.ends() == format!("takes [\"{variant}\"], wrong [], skipped []"))
    };
    for _ in 0..5 {
        assert_eq!(start.ends(), "takes [\"slow\"], wrong [], skipped []");
    }
    // It agrees with the reference.
    assert!(takes(Start { thorough: true, ..start }, "seldom"));
    // What has the same bits is chosen.
    assert!(takes(Start { variants: &["slow", "seldom", "plain"], ..start }, "plain"));
}

#[test]
fn a_variant_on_which_the_device_fails_ends_the_search_and_is_skipped_afterwards() {
    if searched_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let start = Start::thorough(
        "a_variant_on_which_the_device_fails_ends_the_search_and_is_skipped_afterwards",
        &["plain", "fail"],
        folder.path(),
    );
    let output = start.run();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(Kind::Device as i32), "{output:?}");
    for part in ["failed", "`twice of 64` computed with fail", "it is skipped from now on: start again"] {
        assert!(said.contains(part), "`{part}` is missing in {said}");
    }
    assert_eq!(start.ends(), "takes [\"plain\"], wrong [], skipped [\"fail\"]");
}
