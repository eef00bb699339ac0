//! What a user can get wrong: one clear message, its exit code, and nothing lost.

use super::{Place, refused, sets};
use std::fs;

#[test]
fn invalid_command_lines_are_refused() {
    let place = Place::new();
    place.fails(&["trian"], 2, &["trian", "train"]);
    place.fails(&["train"], 2, &["CONFIG"]);
    place.fails(&["train", "--resume"], 2, &["--run"]);
    place.fails(
        &["prepare", "x", "--out", "y", "--tokenizer", "t.json", "--vocab-size", "300"],
        2,
        &["--vocab-size"],
    );
    place.fails(&["verify", "--op", "matmull"], 2, &["matmull", "matmul"]);
    place.fails(&["prepare", "x", "--out", "y", "--chunk", "-1"], 2, &["invalid value '-1'"]);
    place.fails(&["devices", "--device", ""], 2, &["--device"]);
    place.fails(&["bench", "tiny.toml", "--picture", "roof.gif"], 2, &["--picture", "roof.gif", ".svg"]);
    place.fails(&["bench", "--only", "steps", "--picture", "roof.svg"], 2, &["--only", "kernels"]);
    place.fails(&["train", "tiny.toml", "--memory"], 2, &["--dry-run"]);
    let picture = ["train", "tiny.toml", "--dry-run", "--memory-picture", "plan.pdf"];
    place.fails(&picture, 2, &["plan.pdf", ".svg or .png"]);
}

#[test]
fn an_impossible_configuration_is_refused() {
    let place = Place::new();
    let set = |set: &str, parts: &[&str]| place.fails(&["train", "tiny.toml", "--set", set], 3, parts);
    set("model.n_layers=3", &["n_layers", "did you mean model.n_layer?"]);
    set("train.optimiser=adamw", &["did you mean train.optimizer?"]);
    set("model.n_embd=18", &["n_embd", "18"]);
    set("model.n_head=3", &["n_embd is not divisible by n_head", "use n_embd = 12 or 24"]);
    set("model.norm=\"rms\"", &["model.norm", "layer_norm"]);
    set("train.steps=-1", &["train.steps"]);
    fs::write(place.path("broken.toml"), "[model\n").unwrap();
    place.fails(&["train", "broken.toml"], 3, &["broken.toml"]);
    place.fails(&["train", "nowhere.toml"], 9, &["nowhere.toml"]);
    assert!(!place.path("runs").exists(), "a refused configuration left a folder");
}

#[test]
fn files_that_are_not_text_are_refused() {
    let place = Place::new();
    let prepare = |source: &str, parts: &[&str]| place.fails(&["prepare", source, "--out", "d"], 4, parts);
    fs::create_dir(place.path("empty")).unwrap();
    prepare("empty", &["the corpus is empty"]);
    prepare("nowhere", &["nowhere"]);
    fs::create_dir(place.path("short")).unwrap();
    fs::write(place.path("short/a.txt"), "too short").unwrap();
    prepare("short", &["too small"]);
}

#[test]
fn tokens_that_are_not_the_models() {
    let place = Place::with_data();
    let train = |place: &Place, set: &str, parts: &[&str]| {
        place.fails(&["train", "tiny.toml", "--run", "r", "--set", set], 4, parts);
        assert!(!place.path("r").exists(), "a run that could not begin left a folder");
    };
    train(&place, "model.vocab_size=1000", &["different vocabularies", "set model.vocab_size = 300"]);
    train(&place, "data.path=nowhere", &["nowhere", "normfree prepare"]);
    train(&place, "train.sequence_length=12", &["chunks of 16 tokens, sequences of 12"]);
    // An id outside the vocabulary, then a file cut short.
    let bin = place.path("data/train.bin");
    let whole = fs::read(&bin).unwrap();
    let mut foreign = whole.clone();
    foreign[10..12].copy_from_slice(&60_000_u16.to_le_bytes());
    fs::write(&bin, foreign).unwrap();
    train(&place, "train.seed=1", &["60000", "train.bin"]);
    fs::write(&bin, &whole[..whole.len() - 7]).unwrap();
    train(&place, "train.seed=1", &["not as long as meta.json says", "train.bin"]);
}

#[test]
fn weights_that_are_not_the_models() {
    let place = Place::with_data();
    let begin = |file: &str, parts: &[&str]| {
        place.fails(
            &["train", "tiny.toml", "--run", "r", "--set", &format!("train.init_from={file}")],
            5,
            parts,
        );
        assert!(!place.path("r").exists());
    };
    fs::write(place.path("junk.safetensors"), b"this is no safetensors file at all").unwrap();
    begin("junk.safetensors", &["junk.safetensors"]);
    place.succeeds(&[
        "train",
        "tiny.toml",
        "--run",
        "other",
        "--set",
        "model.n_embd=8",
        "--set",
        "train.steps=1",
    ]);
    let foreign = "other/checkpoints/step-00000001/model.safetensors";
    begin(foreign, &["another model", "trainer_state.json", "n_embd = 8 there, 16 here"]);
    begin(
        "other",
        &["the folder of a run, other", "give its newest checkpoint: other/checkpoints/step-00000001"],
    );
    // Alone, weights tell only their tensors.
    fs::copy(place.path(foreign), place.path("alone.safetensors")).unwrap();
    begin("alone.safetensors", &["transformer.wte.weight", "transformer.h.1.mlp.c_proj.weight", "[300, 8]"]);
    let bytes = fs::read(place.path(foreign)).unwrap();
    fs::write(place.path("cut.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    begin("cut.safetensors", &["cut.safetensors"]);
}

/// A checkpoint that does not fit is refused by the keys that differ, each with both values, and what would do.
#[test]
fn a_checkpoint_of_another_model() {
    let place = Place::with_data();
    let two = ["train", "tiny.toml", "--run", "r", "--set", "train.steps=2"];
    place.succeeds(&two);
    let begin = |keys: &[&str], parts: &[&str]| {
        let from = ["train.init_from=r/checkpoints/step-00000002"];
        let arguments = [&["train", "tiny.toml", "--dry-run"], &sets(&from)[..], &sets(keys)].concat();
        let output = place.command(&arguments).output().unwrap();
        refused(
            &output,
            5,
            &[&["weights are of another model", "r/checkpoints/step-00000002"], parts].concat(),
        );
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!told.contains("transformer.") && told.lines().count() == 1, "{told}");
    };
    begin(&["model.n_layer=3"], &["found n_layer = 2 there, 3 here; change these keys of [model]"]);
    begin(&["model.n_positions=32"], &["found n_positions = 16 there, 32 here; change"]);
    begin(&["model.bias=none"], &["found bias = \"query_key\" there, \"none\" here; change"]);
    begin(&["model.norm=layer_norm"], &["found norm = \"none\" there, \"layer_norm\" here; change"]);
    begin(&["model.n_head=4"], &["found n_head = 2 there, 4 here; change"]);
    let both = ["model.n_embd=32", "model.activation_function=gelu"];
    begin(
        &both,
        &["n_embd = 16 there, 32 here", "n_inner = 64 there, 128 here", "activation_function = \"relu\""],
    );
    place.succeeds(&["prepare", "text", "--out", "other", "--vocab-size", "280", "--chunk", "16"]);
    begin(
        &["data.path=other", "model.vocab_size=280"],
        &[
            "found vocab_size = 300 there, 280 here; vocab_size is that of the data",
            "normfree prepare --tokenizer",
        ],
    );
}

#[test]
fn a_second_key_behind_one_set() {
    let place = Place::new();
    let two = ["train", "tiny.toml", "--set", "train.steps=2", "train.seed=1"];
    place.fails(&two, 2, &["'train.seed=1'", "every key has a --set of its own: --set train.seed=1"]);
}

/// A folder of runs is no run: one of them is named.
#[test]
fn a_folder_of_runs_in_place_of_one() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml", "--run", "runs/r", "--set", "train.steps=1"]);
    for command in [&["eval"][..], &["sample"], &["train", "--resume"]] {
        let parts = ["a folder with runs in it", "give one run, such as runs/r"];
        place.fails(&[command, &["runs"]].concat(), 6, &parts);
    }
}

#[test]
fn a_description_of_other_data() {
    let place = Place::with_data();
    for (text, found) in [
        ("{\"name\": \"someone's\"}", "no `format` (line 1"),
        ("\"words\"", "\"words\" in place of an object"),
        ("{\"format\": ", "the end of the file"),
        ("{\"format\": 7}", "format 7, where this program reads 1"),
        ("{\"format\": 1}", "no `vocab_size`"),
    ] {
        fs::write(place.path("data/meta.json"), text).unwrap();
        let parts =
            ["the description of the data cannot be used", "data/meta.json", found, "prepare --replace"];
        place.fails(&["train", "tiny.toml", "--dry-run"], 4, &parts);
    }
}

#[test]
fn a_run_folder_that_exists() {
    let place = Place::with_data();
    let train = ["train", "tiny.toml", "--run", "r"];
    place.succeeds(&[&train[..], &["--set", "train.steps=2"]].concat());
    place.fails(&train, 6, &["already exists", "--resume"]);
    // Resuming with the original settings works; with others it does not.
    place.succeeds(&["train", "--resume", "--run", "r"]);
    let free = sets(&["train.on_nonfinite=\"skip\"", "train.checkpoint_every=3", "observe.entropy_every=5"]);
    place.succeeds(&[&["train", "--resume", "--run", "r"], &free[..]].concat());
    let kept = fs::read_to_string(place.path("r/config.toml")).unwrap();
    assert!(kept.contains("on_nonfinite = \"skip\"") && kept.contains("checkpoint_every = 3"), "{kept}");
    place.fails(
        &[&train[..], &["--resume"]].concat(),
        3,
        &["another configuration", "train.steps = 2 there, 12 here"],
    );
    place.fails(&["train", "--resume", "--run", "nowhere"], 6, &["nowhere"]);
    // A demo has other flags.
    fs::create_dir_all(place.path("demo/sm_ln_g")).unwrap();
    fs::write(place.path("demo/sm_ln_g/mine"), "").unwrap();
    place.fails(&["demo", "--data", "data", "--out", "demo"], 6, &["mine in it", "with --out"]);
    place.fails(&["plot", "nowhere"], 6, &["nowhere"]);
    place.fails(&["plot", "r", "r"], 2, &["given twice"]);
    place.fails(&["plot", "r", "--difference", "r", "s"], 2, &["`s`", "choose among"]);
    assert!(!place.path("r/table.md").exists(), "something was written before all was made");
    place.fails(&["report", "nowhere"], 6, &["nowhere"]);
    place.fails(&["report", "r", "-o", "r/metrics.jsonl"], 2, &[".html"]);
    fs::write(place.path("r/study.json"), "{").unwrap();
    place.fails(&["report", "r"], 6, &["study.json", "normfree study"]);
    place.fails(&["eval", "text"], 6, &["text"]);
}

#[test]
fn data_that_changed_under_a_run() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml", "--run", "r", "--set", "train.steps=2"]);
    let prepare = ["prepare", "text", "--out", "data", "--vocab-size", "300", "--chunk", "16", "--seed", "7"];
    let before = fs::read(place.path("data/train.bin")).unwrap();
    place.fails(&prepare, 2, &["not empty", "data prepared from", "--replace"]);
    assert!(fs::read(place.path("data/train.bin")).unwrap() == before);
    place.succeeds(&[&prepare[..], &["--replace"]].concat());
    assert!(fs::read(place.path("data/train.bin")).unwrap() != before);
    place.fails(&["train", "--resume", "--run", "r"], 4, &["not what the run was started with", "init_from"]);
    // Other folders are not overwritten either.
    for folder in ["text", "r"] {
        place.fails(&["prepare", "text", "--out", folder, "--replace"], 2, &["not empty", "--out"]);
    }
}

#[test]
fn a_model_larger_than_the_device() {
    let place = Place::with_data().on_driver();
    let huge = ["--set", "model.n_embd=16384", "--set", "model.n_head=64", "--set", "model.n_layer=100"];
    place.fails(&[&["train", "tiny.toml", "--run", "r"], &huge[..]].concat(), 8, &["needed", "allowed"]);
    place.fails(&[&["train", "tiny.toml", "--dry-run"], &huge[..]].concat(), 8, &["needed", "allowed"]);
    assert!(!place.path("r").exists());
}

/// Every size that the configuration accepts either runs or is refused with a message.
#[test]
fn sizes_beyond_a_device() {
    let place = Place::with_data().on_driver();
    for (keys, parts) in [
        (&["train.batch_size=65536"][..], &["train.batch_size"][..]),
        (&["train.batch_size=65536", "observe.entropy=false"], &["train.batch_size"]),
        (&["train.batch_size=20000"], &["needed", "allowed"]),
        (&["model.n_inner=1000000", "model.n_layer=1"], &["needed", "allowed"]),
        (&["model.n_embd=65536", "model.n_head=4096", "model.n_inner=4"], &["needed", "use a smaller model"]),
        (&["model.n_embd=3072", "model.n_head=12", "model.n_layer=1"], &["mlp.c_", "model.n_inner"]),
    ] {
        let sets = sets(keys);
        for command in [&["train", "tiny.toml", "--run", "r"][..], &["train", "tiny.toml", "--dry-run"]] {
            place.fails(&[command, &sets].concat(), 8, parts);
        }
        assert!(!place.path("r").exists(), "{sets:?} left a folder");
    }
    // For a vocabulary that no data here has, only the limits can be tested.
    let table = sets(&["model.vocab_size=16777216", "model.n_embd=256", "data.path=nowhere"]);
    place.fails(&[&["train", "tiny.toml", "--dry-run"], &table[..]].concat(), 8, &["needed", "allowed"]);
}

#[test]
fn missing_adapters_are_refused() {
    let place = Place::new().on_driver();
    place.fails(&["devices", "--device", "nosuch"], 7, &["nosuch", "--device"]);
    // These digits are in the name of Mesa's software driver: "llvmpipe (LLVM 15.0.6, 256 bits)".
    for index in ["5", "15", "256", "512"] {
        for command in ["devices", "verify"] {
            place.fails(
                &[command, "--device", index],
                7,
                &[&format!("no adapter has the index {index}: there "), "--device"],
            );
        }
    }
    let elsewhere = if cfg!(target_os = "linux") { "dx12" } else { "vulkan" };
    if cfg!(any(target_os = "linux", target_os = "macos")) {
        place.fails(
            &["devices", "--backend", elsewhere],
            7,
            &[elsewhere, "not available on this system", "--backend"],
        );
        let mut command = place.command(&["devices"]);
        command.env_remove("NORMFREE_DEVICE");
        let output = command.env("WGPU_BACKEND", elsewhere).output().unwrap();
        refused(&output, 7, &[elsewhere, "not available on this system", "WGPU_BACKEND"]);
        // An option overrides the variable.
        let here = if cfg!(target_os = "linux") { "vulkan" } else { "metal" };
        let output = command.args(["--backend", here]).output().unwrap();
        assert!(output.status.success(), "{}", super::shown(&output));
    }
    place.fails(&["devices", "--backend", "cuda"], 2, &["--backend", "vulkan", "dx12", "metal"]);
    let output = place.command(&["devices"]).env("WGPU_BACKEND", "vulkan,cuda").output().unwrap();
    refused(&output, 2, &["`cuda`", "WGPU_BACKEND", "vulkan, dx12 or metal"]);
    if cfg!(target_os = "linux") {
        for arguments in [&["devices"][..], &["verify"], &["train", "tiny.toml", "--dry-run"]] {
            let mut command = place.command(arguments);
            for variable in ["VK_ICD_FILENAMES", "VK_DRIVER_FILES"] {
                command.env(variable, place.path("no_driver.json"));
            }
            refused(&command.output().unwrap(), 7, &["no GPU adapter was found", "mesa-vulkan-drivers"]);
        }
    }
}

#[test]
fn the_documentation_has_every_key_and_exit_code() {
    let keys_page = include_str!("../../docs/configuration.md");
    let guide = include_str!("../../docs/guide.md");
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml", "--run", "r", "--set", "train.steps=1"]);
    let resolved: toml::Table = fs::read_to_string(place.path("r/config.toml")).unwrap().parse().unwrap();
    for (table, keys) in &resolved {
        assert!(keys_page.contains(&format!("| `[{table}]` |")), "{table}");
        for key in keys.as_table().unwrap().keys() {
            assert!(keys_page.contains(&format!("`{key}`")), "{table}.{key}");
        }
    }
    for code in [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130] {
        assert!(guide.contains(&format!("{code} ")), "{code}");
    }
}
