//! A study that is killed at any moment, and called again, ends with the bytes of an undisturbed one.

use crate::cli::{Place, assert_same};
use crate::support::seed;
use rand::{Rng, SeedableRng};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The total number of kills.
const KILLS: u32 = 10;

/// The four configurations with three seeds each; checkpoints as often as possible, so that many are caught unfinished.
const STUDY: &str = "\
[study]
name = \"killed\"
baseline = \"sm_ln_g\"
seeds = [1, 2, 3]
prepare = [\"text\"]

[model]
n_layer = 2
n_head = 2
n_embd = 16
n_positions = 16
vocab_size = 300
norm = \"none\"
activation_function = \"relu\"

[data]
path = \"own data\"

[train]
steps = 45
batch_size = 2
learning_rate = 1e-3
checkpoint_every = 3
eval_every = 15
eval_chunks = 4

[observe]
entropy_every = 1

[[configuration]]
name = \"sm_ln_g\"
model.norm = \"layer_norm\"
model.activation_function = \"gelu\"

[[configuration]]
name = \"sm_ln_r\"
model.norm = \"layer_norm\"

[[configuration]]
name = \"sm_g\"
model.activation_function = \"gelu\"

[[configuration]]
name = \"sm_r\"
";

/// Runs `study` into `out` with one job or two, and kills it after this time. Returns whether it had ended by itself.
fn study(place: &Place, out: &str, jobs: &str, patience: Option<Duration>) -> bool {
    let study = ["study", "killed.toml", "--out", out, "--quiet", "--threads", "2", "--jobs", jobs];
    let mut command = place.command(&study);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    if let Some(patience) = patience {
        let began = Instant::now();
        while began.elapsed() < patience && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if child.try_wait().unwrap().is_none() {
            // SIGKILL: none of the program's code runs after this.
            child.kill().unwrap();
            child.wait().unwrap();
            return false;
        }
    }
    assert!(child.wait().unwrap().success());
    true
}

/// Names in a study's folder, except the lock of the process that prepared the data.
fn names(out: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "study.lock");
    names.sort();
    names
}

fn assert_same_study(whole: &Path, killed: &Path) {
    assert_eq!(names(whole), names(killed));
    let mut runs = 0;
    for name in names(whole) {
        let (a, b) = (whole.join(&name), killed.join(&name));
        if a.is_dir() {
            assert_same(&a, &b);
            let config = |run: &Path| fs::read(run.join("config.toml")).unwrap();
            assert!(config(&a) == config(&b), "{name}");
            runs += 1;
        }
    }
    assert_eq!(runs, 12);
    assert!(fs::read(whole.join("study.json")).unwrap() == fs::read(killed.join("study.json")).unwrap());
}

#[test]
fn killed_at_any_moment_ends_with_the_same_bytes() {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed());
    let place = Place::with_data();
    fs::write(place.path("killed.toml"), STUDY).unwrap();
    let began = Instant::now();
    study(&place, "whole", "1", None);
    let whole = began.elapsed();
    let data = fs::read(place.path("own data/train.bin")).unwrap();
    // The killed study also prepares its data.
    fs::remove_dir_all(place.path("own data")).unwrap();

    let (mut kills, mut attempt) = (0, 0);
    while kills < KILLS {
        attempt += 1;
        let out = format!("killed {attempt}");
        let moment = |random: &mut rand_chacha::ChaCha8Rng| whole.mul_f64(random.random_range(0.0..0.4));
        let jobs = |random: &mut rand_chacha::ChaCha8Rng| if random.random() { "2" } else { "1" };
        while kills < KILLS && !study(&place, &out, jobs(&mut random), Some(moment(&mut random))) {
            kills += 1;
        }
        study(&place, &out, "1", None);
        assert_same_study(&place.path("whole"), &place.path(&out));
        assert!(attempt < 20, "the study was hardly ever met alive");
    }
    assert!(fs::read(place.path("own data/train.bin")).unwrap() == data, "the data was prepared otherwise");
    println!("{kills} kills in {attempt} attempts; a study left alone took {whole:.1?}");
}
