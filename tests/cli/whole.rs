//! From text to pictures; and runs that are stopped, killed and broken.

use super::{Place, assert_same, refused, sets, shown, signal, stopped};
use crate::support::{gpu, seed};
use normfree::config::Config;
use normfree::fault::Kind;
use normfree::train::run_folder::RunFolder;
use normfree::train::trainer::{Event, Trainer};
use rand::{Rng, SeedableRng};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn from_text_to_pictures() {
    let place = Place::with_data();
    let dry = place.succeeds(&["train", "tiny.toml", "--dry-run"]);
    assert!(dry.contains("parameters") && dry.contains("peak of the process"), "{dry}");
    let plan = place.succeeds(
        &[
            &["train", "tiny.toml", "--dry-run", "--memory"][..],
            &["--memory-picture", "plan.svg", "--memory-picture", "plan.png"],
        ]
        .concat(),
    );
    for part in [
        "peak of the process",
        "tensors in them over time",
        "largest tensors",
        "peak of a training pass",
        "with train.recompute",
    ] {
        assert!(plan.contains(part), "`{part}` is missing in {plan}");
    }
    assert!(fs::read_to_string(place.path("plan.svg")).unwrap().contains("kept for the backward pass"));
    assert!(fs::read(place.path("plan.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(!place.path("runs").exists());
    place.succeeds(&["train", "tiny.toml"]);
    let log = fs::read_to_string(place.path("runs/tiny/metrics.jsonl")).unwrap();
    let kinds =
        |kind: &str| log.lines().filter(|line| line.contains(&format!("\"kind\":\"{kind}\""))).count();
    assert_eq!([kinds("step"), kinds("attention"), kinds("eval")], [12, 12, 2], "{log}");
    // Of steps 0, 7 and 11; the model has ReLU and two layers.
    assert_eq!(kinds("layers"), 3, "{log}");
    let layers = log.lines().rfind(|line| line.contains("\"layers\"")).unwrap();
    let layers: serde_json::Value = serde_json::from_str(layers).unwrap();
    for layer in 0..2 {
        let value = |name: &str| layers[name][layer].as_f64().unwrap_or_else(|| panic!("{name} in {layers}"));
        assert!(value("zeros") > 0.1 && value("zeros") < 0.9, "{layers}");
        assert!(value("dead") < value("zeros") && value("grad_norm") > 0.0, "{layers}");
        assert!(
            value("residual_max") > value("residual_median") && value("residual_median") > 0.0,
            "{layers}"
        );
    }
    let environment = fs::read_to_string(place.path("runs/tiny/env.json")).unwrap();
    let environment: serde_json::Value = serde_json::from_str(&environment).unwrap();
    assert!(environment["parameters"].as_u64().unwrap() > 0 && environment["adapter"]["name"].is_string());

    // The newest checkpoint gives the loss that training wrote down, on the chunks it used.
    let eval = place.succeeds(&["eval", "runs/tiny", "--json", "--chunks", "4"]);
    let eval: serde_json::Value = serde_json::from_str(&eval).unwrap();
    let last = log.lines().rfind(|line| line.contains("\"eval\"")).unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!((&eval["loss"], &eval["step"]), (&last["loss"], &last["step"]));
    let one = place.succeeds(&["eval", "runs/tiny/checkpoints/step-00000010", "--data", "data"]);
    assert!(one.contains("step 10") && one.contains("perplexity"), "{one}");

    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/published_head_entropies.toml");
    let table = place.succeeds(&["plot", "runs/tiny", published.to_str().unwrap(), "--out", "figures"]);
    assert!(table.contains("SM+LN+G") && table.contains("58%"), "{table}");
    assert!(table.contains("largest head entropy observed"), "{table}");
    let config = place.path("runs/tiny/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"observed_max\"", "\"causal_ceiling\"")).unwrap();
    let table = place.succeeds(&["plot", "runs/tiny"]);
    assert!(table.contains("causal ceiling"), "the run's own reference was not taken: {table}");
    let table = place.succeeds(&["plot", "runs/tiny", "--reference", "log_context"]);
    assert!(table.contains("ln T") && !table.contains("causal ceiling"), "{table}");
    // Heatmaps without the length of their context have no causal ceiling.
    let text = fs::read_to_string(&published).unwrap();
    fs::write(place.path("untold.toml"), text.replace("context = 128\n", "")).unwrap();
    let page = ["report", "runs/tiny", "untold.toml", "-o", "page.html"];
    place.fails(&page, 3, &["context length", "observed_max"]);
    assert!(!place.path("page.html").exists());
    let page = place.succeeds(&[&page[..], &["--reference", "observed_max"]].concat());
    assert_eq!(page.trim_end(), "page.html");
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("58% of heads overloaded") && page.ends_with("</html>\n"));
    place.succeeds(&["report", "runs/tiny"]);
    assert!(place.path("runs/tiny/report.html").is_file());
    for name in
        ["heatmap.png", "quarters.svg", "layer_entropy.png", "loss.png", "table.md", "table.csv", "table.tex"]
    {
        assert!(fs::metadata(place.path("figures").join(name)).unwrap().len() > 0, "{name}");
    }
}

/// Its weights have the same names as any other model's. Where nothing beside them says what they are, they can start a run with
/// another activation.
#[test]
fn a_model_without_activation_is_saved_and_read_back() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml", "--run", "n", "--set", "model.activation_function=none"]);
    let log = fs::read_to_string(place.path("n/metrics.jsonl")).unwrap();
    let last = log.lines().rfind(|line| line.contains("\"eval\"")).unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    let eval = place.succeeds(&["eval", "n", "--json", "--chunks", "4"]);
    let eval: serde_json::Value = serde_json::from_str(&eval).unwrap();
    assert_eq!((&eval["loss"], &eval["step"]), (&last["loss"], &last["step"]));
    assert_ne!(eval["loss"], 0.0);
    let weights = "n/checkpoints/step-00000012/model.safetensors";
    let parts = ["another model", "config.json", "activation_function = \"none\" there, \"relu\" here"];
    let from = format!("train.init_from={weights}");
    place.fails(&["train", "tiny.toml", "--run", "r", "--set", &from], 5, &parts);
    fs::copy(place.path(weights), place.path("alone.safetensors")).unwrap();
    place.succeeds(&["train", "tiny.toml", "--run", "r", "--set", "train.init_from=alone.safetensors"]);
}

#[test]
fn compiled_pipelines_are_kept_completely_or_not_at_all() {
    let place = Place::with_data().on_driver();
    let run = |name: &str, cache: &Path| {
        let arguments = [&["train", "tiny.toml", "--run", name][..], &sets(&["train.steps=1"])].concat();
        let output = place.command(&arguments).env("NORMFREE_CACHE", cache).output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        let files = fs::read_dir(cache).into_iter().flatten().map(|entry| entry.unwrap().path());
        let pipelines = |path: &PathBuf| path.to_string_lossy().contains("wgpu_pipeline_cache");
        let files = files.filter(pipelines);
        files.map(|path| (fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
    };
    let cache = place.path("kept");
    let made = run("a", &cache);
    // Backends other than Vulkan keep none.
    let devices = place.succeeds(&["devices"]);
    assert_eq!(made.len(), usize::from(devices.contains("through vulkan")), "{devices}");
    for (whole, path) in &made {
        fs::write(path, &whole[..whole.len() / 2]).unwrap();
    }
    let again = run("b", &cache);
    assert_same(&place.path("a"), &place.path("b"));
    for ((whole, path), (content, other)) in made.iter().zip(&again) {
        assert_eq!(path, other);
        assert!(content.len() > whole.len() / 2, "the damaged file was not replaced");
    }
    // If there can be no cache, the run goes on and says so once.
    run("c", &place.path("tiny.toml"));
    let mut again = place.command(&["eval", "c"]);
    let told = shown(&again.env("NORMFREE_CACHE", place.path("tiny.toml")).output().unwrap());
    assert_eq!(told.matches("nothing is cached").count(), made.len(), "{told}");
    assert_same(&place.path("a"), &place.path("c"));
}

#[test]
fn four_models_in_one_go() {
    let place = Place::with_data();
    let mut arguments = vec!["demo", "--data", "data", "--out", "demo"];
    for set in
        ["model.n_layer=2", "model.n_embd=16", "model.n_positions=16", "train.steps=3", "train.eval_chunks=4"]
    {
        arguments.extend(["--set", set]);
    }
    let told = place.succeeds(&arguments);
    assert!(told.contains("Without normalization, ReLU against GELU"), "{told}");
    assert_eq!(told.lines().last(), Some("demo/report.html"), "{told}");
    // A second device, if there is one.
    let second =
        told.lines().find(|line| line.starts_with("- The same on a second device, sm_g: 3 steps on "));
    if place.succeeds(&["devices"]).contains("through") {
        assert!(second.is_some_and(|line| line.contains("head entropies by")), "{told}");
        assert!(fs::read_to_string(place.path("demo/findings.txt")).unwrap().contains(second.unwrap()));
    }
    for name in ["heatmap.png", "loss.png", "table.md", "findings.txt", "report.html", "sm_r/config.toml"] {
        assert!(place.path("demo").join(name).is_file(), "{name}");
    }
    // Users pass its folder to the other commands.
    for (words, file) in [
        (&["plot", "demo", "--out", "figures"][..], "figures/heatmap.svg"),
        (&["report", "demo", "-o", "page.html"], "page.html"),
        (&["export", "demo", "--parquet", "tables"], "tables/evals.parquet"),
    ] {
        place.succeeds(words);
        assert!(place.path(file).is_file(), "{words:?}");
    }
    let table = fs::read_to_string(place.path("figures/table.md")).unwrap();
    assert_eq!(table.lines().filter(|line| line.starts_with("| SM")).count(), 4, "{table}");
    // Nothing is trained twice, and other settings are not mixed in.
    let before = fs::read(place.path("demo/sm_r/metrics.jsonl")).unwrap();
    assert_eq!(place.succeeds(&arguments), told);
    assert!(fs::read(place.path("demo/sm_r/metrics.jsonl")).unwrap() == before);
    place.fails(
        &[&arguments[..], &["--seed", "2"]].concat(),
        6,
        &["other settings", "train.seed = 1 there, 2 here"],
    );
}

/// The CPU and an adapter; then the same device twice, and a run with numbers that differ.
#[test]
fn a_run_is_repeated_on_a_second_device() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml", "--run", "a"]);
    let before = fs::read(place.path("a/metrics.jsonl")).unwrap();
    let told = place.succeeds(&["verify", "--run", "a", "--steps", "4", "--json", "--quiet"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["steps"], &told["agrees"]),
        (&serde_json::json!(4), &serde_json::json!(true)),
        "{told}"
    );
    assert_ne!(told["devices"][0], told["devices"][1]);
    // Other sums round elsewhere, and nothing else differs.
    for what in ["loss", "entropy"] {
        assert!((0.0..1e-3).contains(&told[what].as_f64().unwrap()), "{told}");
    }
    let told = place.succeeds(&["verify", "--run", "a", "--against", "adapter", "--device", "cpu"]);
    assert!(told.contains("losses differ by at most") && told.contains("head entropies by"), "{told}");
    assert!(fs::read(place.path("a/metrics.jsonl")).unwrap() == before, "it writes nothing");
    place.fails(
        &["verify", "--run", "a", "--against", "cpu"],
        2,
        &["the second device is the first", "--against"],
    );
    place.fails(&["verify", "--against", "cpu"], 2, &["--run"]);
    place.fails(&["verify", "--run", "a", "--op", "add"], 2, &["--op"]);
    place.fails(&["verify", "--run", "none"], 6, &["none"]);
}

/// Needs no data; prints an object for programs, and draws a picture.
#[test]
fn a_device_is_measured() {
    let place = Place::new().on_driver();
    let few = ["--rounds", "1", "--quiet"];
    let told = place.succeeds(&[&["bench", "tiny.toml", "--only", "steps", "--json"], &few[..]].concat());
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let steps = told["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 4, "{told}");
    for step in steps {
        assert!(step["tokens_per_second"].as_f64().unwrap() > 0.0 && step["floor"].is_null(), "{step}");
    }
    assert_eq!((told["tokens"].as_u64(), told.get("kernels")), (Some(64), None), "{told}");
    let picture = ["bench", "tiny.toml", "--only", "kernels", "--picture", "roof.svg"];
    let told = place.succeeds(&[&picture[..], &few].concat());
    assert!(told.contains("attention.backward") && !told.contains("tokens/s"), "{told}");
    assert!(fs::read_to_string(place.path("roof.svg")).unwrap().contains("FLOP/s"));
}

#[test]
fn the_cpu_is_measured_as_an_adapter_is() {
    let place = Place::new();
    let few = ["--device", "cpu", "--rounds", "1", "--quiet", "--picture", "roof.svg"];
    let told = place.succeeds(&[&["bench", "tiny.toml", "--compare", "entropy"], &few[..]].concat());
    for part in ["a task for each thread", "attention.backward", "tokens/s", "host's part"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("dispatch"), "the CPU has none: {told}");
    assert!(fs::read_to_string(place.path("roof.svg")).unwrap().contains("FLOP/s"));
}

/// Once the layers have been observed, a run says what that costs.
#[test]
fn a_run_on_the_cpu_says_what_observing_costs() {
    let place = Place::with_data();
    let output = place.command(&["train", "tiny.toml", "--run", "r"]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.matches("observing the layers takes").count(), 1, "{told}");
}

/// A timing holds for later runs, and a resumed run keeps the kernels that it began with.
#[test]
fn kernels_are_timed_once() {
    let place = Place::with_data().on_driver();
    let train = |run: &str, more: &[&str]| {
        let sets = sets(&["data.path=data", "model.n_layer=1", "train.checkpoint_every=6"]);
        let arguments = [&["train", "tiny.toml", "--run", run], &sets[..], more].concat();
        let output = place.command(&arguments).output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        let environment = fs::read(place.path(run).join("env.json")).unwrap();
        let environment: serde_json::Value = serde_json::from_slice(&environment).unwrap();
        let timed = String::from_utf8_lossy(&output.stderr).contains("timed the kernels");
        (timed, environment["kernels"]["choices"].as_object().unwrap().clone())
    };
    // Twelve tiny steps gain nothing from a search.
    let (timed, none) = train("short", &[]);
    assert!(!timed && none.is_empty(), "{none:?}");
    let (timed, found) = train("searched", &["--retune"]);
    assert!(timed && found.keys().any(|key| key.starts_with("matmul")), "{found:?}");
    assert_eq!(train("known", &[]), (false, found.clone()));
    assert_same(&place.path("searched"), &place.path("known"));
    assert_eq!(train("default", &["--no-tune"]), (false, none));
    place.fails(&["train", "tiny.toml", "--no-tune", "--retune"], 2, &["--no-tune", "--retune"]);
    let cached = fs::read_dir(place.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<_> =
        cached.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("kernels-")).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    fs::write(&kept[0], "damaged").unwrap();
    place.succeeds(&["train", "--resume", "--run", "known"]);
    let (timed, none) = train("damaged", &[]);
    assert!(!timed && none.is_empty(), "{none:?}");
}

#[test]
fn the_same_run_twice_gives_the_same_bytes() {
    let place = Place::with_data();
    for run in ["a", "b"] {
        place.succeeds(&["train", "tiny.toml", "--run", run]);
    }
    assert_same(&place.path("a"), &place.path("b"));
    // Recomputed tensors are the same to the last bit, and the setting may change on resume.
    place.succeeds(&["train", "tiny.toml", "--run", "block", "--set", "train.recompute=block"]);
    assert_same(&place.path("a"), &place.path("block"));
    place.succeeds(&["train", "--resume", "--run", "block", "--set", "train.recompute=ffn"]);
    place.succeeds(&["train", "tiny.toml", "--run", "c", "--set", "train.seed=9"]);
    let weights =
        |run: &str| fs::read(place.path(run).join("checkpoints/step-00000012/model.safetensors")).unwrap();
    assert!(weights("a") != weights("c"), "the seed changes nothing");
}

/// A run long enough to be interrupted in its middle.
const LONG: [&str; 6] =
    ["--set", "train.steps=400", "--set", "train.checkpoint_every=7", "--set", "train.eval_every=50"];

fn long_run(place: &Place, run: &str) -> Command {
    place.command(&[&["train", "tiny.toml", "--run", run], &LONG[..]].concat())
}

/// Starts a command and waits until its log has some lines.
pub fn started(mut command: Command, log: &Path) -> Child {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while fs::metadata(log).map_or(0, |file| file.len()) == 0 {
        assert!(began.elapsed() < Duration::from_secs(120), "the run does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[cfg(unix)]
#[test]
fn stopped_and_resumed_gives_the_same_bytes() {
    let place = Place::with_data();
    let whole = long_run(&place, "whole").output().unwrap();
    assert!(whole.status.success(), "{}", shown(&whole));
    let child = started(long_run(&place, "halved"), &place.path("halved/metrics.jsonl"));
    // SIGINT is ignored by everything that a shell has put into the background, tests among them.
    signal("TERM", &child);
    let halved = child.wait_with_output().unwrap();
    assert!(stopped(&halved).contains("train --resume halved"), "{}", shown(&halved));
    place.succeeds(&["train", "--resume", "--run", "halved"]);
    assert_same(&place.path("whole"), &place.path("halved"));
}

/// Mixed precision with a loss scale that halves and doubles repeatedly: all of it is part of the checkpoint.
#[cfg(unix)]
#[test]
fn mixed_precision_stopped_and_resumed_gives_the_same_bytes() {
    let place = Place::with_data().on_driver();
    let keys = ["train.precision=mixed", "train.loss_scale=16777216", "train.loss_scale_window=3"];
    let arguments = |run| [&["train", "tiny.toml", "--run", run][..], &LONG, &sets(&keys)].concat();
    if !gpu().traits().f16 {
        place.fails(&arguments("none"), 7, &["SHADER_F16", "--device", "train.precision"]);
        assert!(!place.path("none").exists());
        return;
    }
    place.succeeds(&arguments("whole"));
    let child = started(place.command(&arguments("halved")), &place.path("halved/metrics.jsonl"));
    // SIGINT is ignored by everything that a shell has put into the background, tests among them.
    signal("TERM", &child);
    stopped(&child.wait_with_output().unwrap());
    place.succeeds(&["train", "--resume", "--run", "halved"]);
    assert_same(&place.path("whole"), &place.path("halved"));
    let log = fs::read_to_string(place.path("whole/metrics.jsonl")).unwrap();
    let scales: Vec<&str> = log.lines().filter_map(|line| line.split("\"loss_scale\":").nth(1)).collect();
    assert_eq!(scales.len(), 400, "every step tells its loss scale");
    let overflows = log.matches("\"overflow\":true").count();
    assert!(overflows > 4 && overflows < 200, "{overflows} overflows");
}

/// The last name in a run's folder of checkpoints.
#[cfg(unix)]
pub fn newest_checkpoint(run: &Path) -> Option<String> {
    let names = fs::read_dir(run.join("checkpoints")).ok()?;
    names
        .filter_map(|name| name.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("step-"))
        .max()
}

#[cfg(unix)]
#[test]
fn killed_at_any_moment_and_resumed_gives_the_same_bytes() {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed());
    let place = Place::with_data();
    let whole = long_run(&place, "whole").output().unwrap();
    assert!(whole.status.success(), "{}", shown(&whole));
    let mut child = long_run(&place, "killed").stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut kills = 0;
    let mut newest = None;
    loop {
        // After some more checkpoints, and then at any moment of a step, or while the next one is written.
        for _ in 0..random.random_range(1..10) {
            let began = Instant::now();
            while newest_checkpoint(&place.path("killed")) == newest && child.try_wait().unwrap().is_none() {
                assert!(began.elapsed() < Duration::from_secs(120), "the run gets nowhere");
                std::thread::sleep(Duration::from_millis(1));
            }
            newest = newest_checkpoint(&place.path("killed"));
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        // SIGKILL: none of the program's code runs after this.
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let again = match place.path("killed/config.toml").is_file() {
            true => place.command(&["train", "--resume", "--run", "killed"]),
            false => long_run(&place, "killed"),
        };
        let mut again = again;
        child = again.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        assert!(kills < 100, "the run gets nowhere");
    }
    println!("killed {kills} times");
    assert!(child.wait().unwrap().success());
    assert!(kills > 0, "the run was never met alive");
    assert_same(&place.path("whole"), &place.path("killed"));
}

/// Ctrl-C during the last evaluation: a resumed run repeats it, once.
#[test]
fn an_interrupted_evaluation_is_repeated() {
    let place = Place::with_data().on_driver();
    place.succeeds(&["train", "tiny.toml", "--run", "whole"]);
    let data = toml::Value::String(place.path("data").display().to_string());
    let config = Config::load(&place.path("tiny.toml"), &[format!("data.path={data}")]).unwrap();
    let folder = RunFolder::create(&place.path("r")).unwrap();
    folder.write_config(&config.to_toml()).unwrap();
    let mut trainer = Trainer::start(gpu(), &config, folder).unwrap();
    let stop = AtomicBool::new(false);
    let fault = trainer.train(&stop, &mut |event| {
        if let Event::Step { step, .. } = event {
            stop.store(step == 11, Ordering::Relaxed);
        }
    });
    assert_eq!(fault.unwrap_err().kind, Kind::Interrupted);
    drop(trainer);
    let evals = || fs::read_to_string(place.path("r/metrics.jsonl")).unwrap().matches("\"eval\"").count();
    assert_eq!(evals(), 1);
    place.succeeds(&["train", "--resume", "--run", "r"]);
    assert_eq!(evals(), 2);
    assert_same(&place.path("whole"), &place.path("r"));
    let told = place.succeeds(&["train", "--resume", "--run", "r"]);
    assert!(told.contains("all 12 steps are done"), "{told}");
}

#[test]
fn numbers_that_are_not_finite() {
    let place = Place::with_data();
    let broken = |run: &str, policy: &str| {
        let policy = format!("train.on_nonfinite={policy}");
        let sets = ["--set", "train.learning_rate=1e15", "--set", "train.max_grad_norm=0", "--set", &policy];
        let output =
            place.command(&[&["train", "tiny.toml", "--run", run], &sets[..]].concat()).output().unwrap();
        (output, fs::read_to_string(place.path(run).join("metrics.jsonl")).unwrap())
    };
    let steps = |log: &str| log.lines().filter(|line| line.contains("\"kind\":\"step\"")).count();
    let found = |log: &str| log.lines().filter(|line| line.contains("\"kind\":\"nonfinite\"")).count();

    let (output, log) = broken("stop", "stop");
    refused(&output, 10, &["stopped before the update of step", "element", "there is no checkpoint yet"]);
    refused(&output, 10, &["train --resume stop --set train.on_nonfinite=skip`"]);
    assert!(found(&log) == 1 && steps(&log) < 12, "{log}");
    // As the message suggests: training continues, but a result from such weights is not a success.
    let resume = ["train", "--resume", "--run", "stop", "--set", "train.on_nonfinite=\"skip\""];
    place.fails(&resume, 10, &["training is done, but the last evaluation is not finite"]);

    let (output, log) = broken("record", "record");
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!((steps(&log), found(&log)), (12, 1), "{log}");
    assert!(log.contains("\"nan\"") || log.contains("\"inf\""), "{log}");

    let (output, log) = broken("skip", "skip");
    refused(&output, 10, &["training is done, but the last evaluation is not finite"]);
    assert_eq!(steps(&log), 12, "{log}");
    assert!(found(&log) >= 1, "{log}");
    let state = fs::read_to_string(place.path("skip/checkpoints/step-00000012/trainer_state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert!(state["optimizer_steps"].as_u64().unwrap() < 12, "{state}");
}

/// An update can break the weights while its loss and gradient are still finite: no checkpoint is made from them.
#[test]
fn no_checkpoint_holds_broken_weights() {
    let place = Place::with_data();
    let sets = sets(&["train.learning_rate=1e38", "train.warmup_ratio=0.5", "train.checkpoint_every=1"]);
    let train = [&["train", "tiny.toml", "--run", "r"], &sets[..]].concat();
    let output = place.command(&train).output().unwrap();
    refused(&output, 10, &["no checkpoint was written", "inf", "the checkpoint of step 1 is good"]);
    let loss = place.succeeds(&["eval", "r"]);
    assert!(loss.contains("step 1, ") && !loss.contains("NaN"), "{loss}");
    // A run that records such numbers keeps them.
    let record =
        [&["train", "tiny.toml", "--run", "s", "--set", "train.on_nonfinite=\"record\""], &sets[..]].concat();
    place.succeeds(&record);
}
