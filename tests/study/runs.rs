//! The program: missing runs are trained, stopped ones resume, finished ones stay, failed ones are reported.

use super::{FOLDERS, STUDY, place};
use crate::cli::{Place, assert_same, refused, shown, signal, stopped};
use normfree::config::Config;
use normfree::data::Meta;
use normfree::report::study::Study;
use normfree::train::run_folder::RunFolder;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn run(place: &Place, name: &str) -> PathBuf {
    place.path("runs/study/tiny").join(name)
}

fn log(place: &Place, name: &str) -> Vec<u8> {
    fs::read(run(place, name).join("metrics.jsonl")).unwrap()
}

#[test]
fn missing_runs_are_trained_and_none_twice() {
    let place = place();
    let plan = place.succeeds(&["study", "tiny.toml", "--dry-run"]);
    assert_eq!(plan.matches("missing").count(), 5, "{plan}");
    assert!(plan.contains("parameters") && plan.contains("5 runs, 0 done"), "{plan}");
    assert!(plan.contains("--measure"), "{plan}");
    assert!(!place.path("runs").exists(), "a plan leaves nothing");

    // Two shards, one after the other, make the whole.
    let told = place.succeeds(&["study", "tiny.toml", "--shard", "1/2"]);
    assert!(told.contains("3 of 3 runs of shard 1/2 done"), "{told}");
    assert!(!run(&place, FOLDERS[1]).exists() && run(&place, FOLDERS[2]).exists());
    let plan = place.succeeds(&["study", "tiny.toml", "--dry-run"]);
    assert!(plan.contains("5 runs, 3 done") && plan.matches("missing").count() == 2, "{plan}");
    assert!(plan.contains("the steps that 3 runs of this study logged on this device"), "{plan}");
    let before = log(&place, FOLDERS[0]);
    let told = place.succeeds(&["study", "tiny.toml"]);
    assert!(told.contains("5 of 5 runs done"), "{told}");
    assert!(log(&place, FOLDERS[0]) == before, "a run was trained twice");
    let study = Study::load(&place.path("runs/study/tiny")).unwrap().unwrap();
    let folders: Vec<_> = study.runs.iter().map(|run| run.folder.to_str().unwrap()).collect();
    assert_eq!((folders, study.baseline.as_str()), (FOLDERS.to_vec(), "ln_g"));
    let plan = place.succeeds(&["study", "tiny.toml", "--dry-run"]);
    assert!(plan.contains("5 runs, 5 done") && !plan.contains("time: "), "{plan}");

    // Leftovers of a process that is killed after the last checkpoint are removed later.
    let checkpoints = run(&place, "r-seed1").join("checkpoints");
    let left = ["step-00000005", ".step-00000004.removing"].map(|name| checkpoints.join(name));
    for folder in &left {
        fs::create_dir(folder).unwrap();
        fs::copy(checkpoints.join("step-00000010/trainer_state.json"), folder.join("trainer_state.json"))
            .unwrap();
    }
    place.succeeds(&["study", "tiny.toml"]);
    assert!(!left.iter().any(|folder| folder.exists()) && checkpoints.join("step-00000010").exists());
    // A run that cannot be read is reported, and the plan continues.
    let config = run(&place, "r-seed2").join("config.toml");
    let whole = fs::read(&config).unwrap();
    fs::write(&config, "[model\n").unwrap();
    let plan = place.succeeds(&["study", "tiny.toml", "--dry-run"]);
    assert!(plan.contains("r-seed2 cannot be resumed: this is not TOML"), "{plan}");
    fs::write(&config, whole).unwrap();

    // A run that only looks done is trained on from the checkpoint before, to the same bytes.
    let weights = run(&place, "free-seed2").join("checkpoints/step-00000012/model.safetensors");
    let whole = fs::read(&weights).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&weights, damaged).unwrap();
    let told = place.succeeds(&["study", "tiny.toml"]);
    assert!(told.contains("5 of 5 runs done") && fs::read(&weights).unwrap() == whole, "{told}");

    // Each run is the one that `train` makes; sharing one device changes no bit.
    let config = run(&place, "free-seed2").join("config.toml");
    let command = ["train", config.to_str().unwrap(), "--run", "alone"];
    place.succeeds(&command);
    assert_same(&run(&place, "free-seed2"), &place.path("alone"));
}

#[test]
fn a_study_prepares_its_data_and_times_its_steps() {
    let place = place();
    fs::remove_dir_all(place.path("data")).unwrap();
    let study = ["study", "tiny.toml", "--out", "s", "--set", "train.steps=2"];
    let told =
        ["the data folder is missing", "normfree prepare SOURCE --out data --vocab-size 300 --chunk 16"];
    place.fails(&study, 4, &told);
    fs::write(place.path("tiny.toml"), STUDY.replace("seeds = [1, 2]", "prepare = [\"text\"]")).unwrap();
    let plan = place.succeeds(&["study", "tiny.toml", "--dry-run", "--measure", "--quiet"]);
    assert!(plan.contains("steps of 1 configuration timed just now"), "{plan}");
    assert!(!place.path("data").exists() && !place.path("runs").exists(), "a plan leaves nothing");
    // What a killed preparation may leave.
    fs::create_dir(place.path("data")).unwrap();
    fs::write(place.path("data/train.bin"), "half").unwrap();
    let told = place.succeeds(&study);
    assert!(told.contains("held out") && told.contains("3 of 3 runs done"), "{told}");
    assert!(place.path("s/study.json").is_file() && place.path("data/meta.json").is_file());
}

/// Sizes that the study leaves out are those of its data: guessed while there are none, and taken once they are prepared. The
/// text is short, so its vocabulary is smaller than what is asked for.
#[test]
fn a_study_takes_its_sizes_from_its_data() {
    let place = place();
    let unsized_study = STUDY.replace("n_positions = 16\nvocab_size = 300\n", "");
    fs::write(place.path("tiny.toml"), &unsized_study).unwrap();
    place.succeeds(&["study", "tiny.toml"]);
    let sizes = |folder: &str| {
        let config = Config::load(&run(&place, folder).join("config.toml"), &[]).unwrap();
        (config.model.vocab_size, config.model.n_positions, config.train.sequence_length)
    };
    let data = Meta::read(&place.path("data")).unwrap().unwrap();
    assert_eq!(sizes("r-seed2"), (data.vocab_size, data.chunk, data.chunk));
    // The folder is that of the file which names the same sizes.
    let named = STUDY.replace("vocab_size = 300", &format!("vocab_size = {}", data.vocab_size));
    fs::write(
        place.path("tiny.toml"),
        named.replace("n_positions = 16", &format!("n_positions = {}", data.chunk)),
    )
    .unwrap();
    let plan = place.succeeds(&["study", "tiny.toml", "--dry-run"]);
    assert!(plan.contains("5 runs, 5 done"), "{plan}");

    fs::remove_dir_all(place.path("data")).unwrap();
    fs::remove_dir_all(place.path("runs")).unwrap();
    let prepares = unsized_study.replace("seeds = [1, 2]", "prepare = [\"text\"]");
    fs::write(
        place.path("tiny.toml"),
        prepares.replace("batch_size = 2", "batch_size = 2\nsequence_length = 32"),
    )
    .unwrap();
    let plan = place.succeeds(&["study", "tiny.toml", "--dry-run"]);
    assert!(plan.contains("3 runs, 0 done"), "{plan}");
    let told = place.succeeds(&["study", "tiny.toml"]);
    assert!(told.contains("3 of 3 runs done"), "{told}");
    let data = Meta::read(&place.path("data")).unwrap().unwrap();
    assert!(data.vocab_size < 2048, "the text is short enough for this test: {}", data.vocab_size);
    assert_eq!(sizes("r-seed1"), (data.vocab_size, 32, 32));

    // Where nothing says them, they are asked for, as by `train`.
    let bare = place.path("bare");
    fs::create_dir(&bare).unwrap();
    for name in ["train.bin", "val.bin"] {
        fs::write(bare.join(name), [7, 0].repeat(4096)).unwrap();
    }
    fs::write(place.path("tiny.toml"), unsized_study.replace("\"data\"", "\"bare\"")).unwrap();
    place.fails(
        &["study", "tiny.toml"],
        3,
        &["required keys are missing", "model.vocab_size", "model.n_positions"],
    );
}

#[test]
fn a_failing_run_does_not_stop_the_others() {
    let place = place();
    let breaks =
        "name = \"r\"\nmodel.embd_pdrop = 0.0\ntrain.learning_rate = 1e15\ntrain.max_grad_norm = 0.0";
    fs::write(place.path("tiny.toml"), STUDY.replace("name = \"r\"", breaks)).unwrap();
    // A user's folder, and one with a run of other settings.
    fs::create_dir_all(run(&place, "free-seed1")).unwrap();
    fs::write(run(&place, "free-seed1").join("letter.txt"), "dear").unwrap();
    let output = place.command(&["study", "tiny.toml", "--quiet"]).output().unwrap();
    refused(
        &output,
        10,
        &[
            "3 of 5 runs failed",
            "r-seed1: training stopped before the update",
            "r-seed2: ",
            "train.on_nonfinite = \"record\", in the study",
            "free-seed1: the run folder already exists",
            "letter.txt",
        ],
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("2 of 5 runs done"), "{}", shown(&output));

    // A failure may pass, so the command is offered again; what is refused would be refused again.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.lines().next_back().unwrap().contains("3 of 5 runs failed, at tiny.toml; continue with: "),
        "{said}"
    );
    let others = ["study", "tiny.toml", "--set", "train.batch_size=1"];
    let plan = place.succeeds(&[&others[..], &["--dry-run"]].concat());
    assert!(plan.contains("free-seed2 holds a run with another configuration"), "{plan}");
    let parts = ["another configuration", "train.batch_size = 2 there, 1 here", "delete it", "--out"];
    place.fails(&others, 6, &parts);
    let output = place.command(&others).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.ends_with("runs failed, at tiny.toml\n") && !said.contains("continue with"), "{said}");
}

/// A folder of a study that is done may be one that can only be read: nothing in it is written again.
#[cfg(unix)]
#[test]
fn a_study_that_is_done_is_left_as_it_is() {
    use std::os::unix::fs::MetadataExt;
    let place = place();
    place.succeeds(&["study", "tiny.toml", "--quiet"]);
    let record = || fs::metadata(run(&place, "study.json")).unwrap();
    let before = record().ino();
    place.succeeds(&["study", "tiny.toml", "--quiet"]);
    assert_eq!(record().ino(), before, "another file has taken its place");
}

#[test]
fn runs_of_another_process_are_left_alone() {
    let place = place();
    let held = RunFolder::create(&run(&place, "r-seed2")).unwrap();
    let plan = place.succeeds(&["study", "tiny.toml", "--dry-run"]);
    assert!(plan.contains(&format!("in use by process {}", std::process::id())), "{plan}");
    let output = place.command(&["study", "tiny.toml"]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("4 of 5 runs done"), "{}", shown(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("left to other processes: r-seed2"), "{said}");
    drop(held);
    let told = place.succeeds(&["study", "tiny.toml"]);
    assert!(told.contains("5 of 5 runs done"), "{told}");
}

/// Two processes take runs from one study; each takes those that the other has not.
#[test]
fn two_processes_share_a_study() {
    let place = place();
    let start = || {
        let mut command = place.command(&["study", "tiny.toml"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in [start(), start()] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
    }
    place.succeeds(&["study", "tiny.toml"]);
    place.succeeds(&["study", "tiny.toml", "--out", "alone"]);
    for name in FOLDERS {
        assert_same(&run(&place, name), &place.path("alone").join(name));
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_with_a_checkpoint() {
    let place = place();
    let long = ["study", "tiny.toml", "--set", "train.steps=4000", "--out", "s"];
    let mut command = place.command(&long);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while fs::metadata(place.path("s/ln_g-seed3/metrics.jsonl")).map_or(0, |file| file.len()) == 0 {
        assert!(began.elapsed() < Duration::from_secs(120), "the study does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    signal("TERM", &child);
    let told = stopped(&child.wait_with_output().unwrap());
    assert!(told.contains("a checkpoint was written, at s/ln_g-seed3"), "{told}");
    let plan = place.succeeds(&[&long[..], &["--dry-run"]].concat());
    assert!(plan.contains(" of 4,000") && plan.matches("missing").count() == 4, "{plan}");
}

#[test]
fn an_impossible_command_is_refused() {
    let place = place();
    place.fails(&["study"], 2, &["STUDY"]);
    place.fails(&["study", "nowhere.toml"], 9, &["nowhere.toml"]);
    place.fails(&["study", "tiny.toml", "--shard", "3/2"], 2, &["--shard", "1/4"]);
    place.fails(&["study", "tiny.toml", "--measure"], 2, &["--dry-run"]);
    place.fails(
        &["study", "tiny.toml", "--set", "train.seed=4"],
        3,
        &["--set train.seed", "seeds = [1, 2, 3]"],
    );
    place.fails(&["study", "tiny.toml", "--set", "model.vocab_size=100"], 4, &["different vocabularies"]);
    assert!(!run(&place, FOLDERS[0]).exists(), "a refused study began a run");
}
