//! `normfree card`, in its small sizes: whole, cut short, and beside programs that crash.

use normfree::card::{Card, FILE, SHEET, State, table};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn card(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_normfree"));
    command.current_dir(folder).args(["card", "--quick", "--quiet"]).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Stands in for an interpreter with PyTorch: answers for products, crashes in one step, and talks nonsense in others.
#[cfg(unix)]
fn interpreter(folder: &Path) -> String {
    use std::os::unix::fs::PermissionsExt;
    let script = r#"#!/bin/sh
case "$*" in
*torch_product.py*)
    rows=
    for layout in 'A · B' 'A · Bᵀ' 'Aᵀ · B'; do
        rows="$rows${rows:+,}{\"layout\":\"$layout\",\"seconds\":[0.002,0.001,0.003]}"
    done
    echo "{\"version\":\"PyTorch of a test\",\"device\":\"none\",\"products\":[$rows]}" ;;
*--entropy*) echo 'a driver says something' >&2; kill -SEGV $$ ;;
*--compile*) echo 'no JSON' ;;
*) echo '{"version":"PyTorch of a test","device":"none","seconds_per_step":[0.5,0.25,1.0]}' ;;
esac
"#;
    let path = folder.join("interpreter");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[cfg(unix)]
#[test]
fn a_quick_card_is_complete() {
    let place = tempfile::tempdir().unwrap();
    let python = interpreter(place.path());
    // Far more than it takes, even on a machine that is busy with other tests.
    let output = card(place.path(), &["--minutes", "60", "--python", &python]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let folder = place.path().join("card");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().last(), Some("card/card.md"));
    let card_made = Card::load(&folder).unwrap();
    assert!(card_made.whole && card_made.quick);
    for part in &card_made.parts {
        let wanted = match part.key.as_str() {
            key if key.starts_with("torch_") && (key.ends_with("entropy") || key.ends_with("compiled")) => {
                State::Failed
            }
            _ if card_made.adapter["f16"] != true
                && (part.key.contains("mixed") || part.key.contains("f16")) =>
            {
                State::LeftOut
            }
            _ => State::Done,
        };
        // Without 16-bit floats there is no step to compare with a compiled one.
        if part.key.ends_with("compiled") && part.state == State::LeftOut {
            continue;
        }
        assert_eq!(part.state, wanted, "{}: {:?}", part.key, part.why);
        assert!(part.seconds <= part.limit + 5.0, "{}: {} of {}", part.key, part.seconds, part.limit);
    }
    let why = |key: &str| card_made.part(key).unwrap().why.clone().unwrap();
    assert_eq!(why("torch_32_entropy"), "it crashed: signal 11: a driver says something");
    let verify = card_made.results("verify");
    // At least one case of each op; `ops::` runs all of them.
    let ops = normfree::ops::CASES.len();
    assert!(verify["cases"].as_u64().unwrap() >= ops as u64, "{verify}");
    assert!(verify["failed"].as_array().unwrap().is_empty(), "{verify}");
    for key in ["steps_32_f32", "steps_64_f32"] {
        let steps = card_made.results(key);
        assert_eq!(steps["steps"].as_array().unwrap().len(), 2, "entropy on and off: {steps}");
        assert!(steps["steps"][0]["floor"].as_f64().unwrap() > 0.0);
        assert!(steps["kernels"].as_array().unwrap().len() > 10 || card_made.adapter["timestamps"] != true);
        assert!(steps["host"]["start"].as_f64().unwrap() > 0.0);
    }
    let resume = card_made.results("resume");
    for file in ["model.safetensors", "optimizer.safetensors", "metrics.jsonl"] {
        assert_eq!(resume[file], true, "{resume}");
    }
    for key in ["sm_ln_g", "sm_ln_r", "sm_g", "sm_r"] {
        let model = card_made.results(key);
        assert_eq!(model["done"], model["steps"], "{key}: {model}");
        assert_eq!(model["steps"], card_made.results("sm_r")["steps"], "not the same steps");
        assert!(model["perplexity"].as_f64().unwrap() < 600.0, "{model}");
        assert_eq!(model["head_entropy"].as_array().unwrap().len(), 2);
    }

    let sheet = fs::read_to_string(folder.join(SHEET)).unwrap();
    for heading in ["## Kernels", "## Ceilings", "## Whole steps", "## One matrix product", "## Commands"] {
        assert!(sheet.contains(heading), "no {heading} in\n{sheet}");
    }
    assert!(sheet.contains("PyTorch of a test on none, eager, f32 |"), "{sheet}");
    assert!(sheet.contains("![Entropy of every head](pictures/heatmap.png)"), "{sheet}");
    assert!(folder.join("pictures/heatmap.png").is_file());
    assert!(!folder.join("work").exists(), "data and weights are nothing to send");
    // It contains none of the user's paths.
    let path = place.path().display().to_string();
    for text in [sheet, fs::read_to_string(folder.join(FILE)).unwrap()] {
        assert!(!text.contains(&path), "{path} in {text}");
        assert!(std::env::home_dir().is_none_or(|home| !text.contains(&home.display().to_string())));
    }

    // A complete card is not overwritten.
    let again = card(place.path(), &[]);
    assert_eq!(again.status.code(), Some(6), "{}", said(&again));
    assert_eq!(Card::load(&folder).unwrap(), card_made);
    // Data that the user gave is not removed either.
    let mine = place.path().join("mine");
    let mut prepare = Command::new(env!("CARGO_BIN_EXE_normfree"));
    prepare.args([
        "prepare",
        "auto",
        "--vocab-size",
        "300",
        "--chunk",
        "32",
        "--max-bytes",
        "100000",
        "--out",
    ]);
    let prepared = prepare.arg(&mine).output().unwrap();
    assert!(prepared.status.success(), "{}", said(&prepared));
    let given = card(place.path(), &["--out", "given", "--minutes", "0.1", "--data", "mine"]);
    assert_eq!(given.status.code(), Some(0), "{}", said(&given));
    let text = fs::read_to_string(place.path().join("given").join(FILE)).unwrap();
    assert_eq!(Card::load(&place.path().join("given")).unwrap().part("data").unwrap().state, State::Done);
    assert!(!text.contains(&path) && !text.contains(&mine.display().to_string()), "{text}");
    fs::remove_dir_all(place.path().join("given")).unwrap();
    // The table of cards.
    let rows = table(place.path()).unwrap().rows;
    assert_eq!(rows.len(), 1);
    assert!(rows[0].contains(&"equal bytes".to_owned()), "{rows:?}");
}

/// Finished parts stay, the part under way ends with the process, and the same command starts over.
#[cfg(unix)]
#[test]
fn an_interrupted_card_keeps_the_finished_parts() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::process::Stdio;
    use std::time::{Duration, Instant};
    let place = tempfile::tempdir().unwrap();
    let mut made = Command::new(env!("CARGO_BIN_EXE_normfree"));
    made.current_dir(place.path()).args(["card", "--quick", "--quiet", "--minutes", "60"]);
    let mut made = made.stdout(Stdio::null()).spawn().unwrap();
    let folder = place.path().join("card");
    let began = Instant::now();
    // In the middle of the part after the kernels.
    let at_work = || {
        let card = Card::load(&folder).ok()?;
        let done = card.part("verify")?.state == State::Done;
        (done && card.parts.last()?.state == State::Running).then_some(())
    };
    while at_work().is_none() {
        assert!(began.elapsed() < Duration::from_secs(300), "no part ends");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_child(&made), Signal::TERM).unwrap();
    assert_eq!(made.wait().unwrap().code(), Some(130));
    let cut = Card::load(&folder).unwrap();
    assert!(!cut.whole && cut.part("verify").unwrap().state == State::Done, "{cut:?}");
    let sheet = fs::read_to_string(folder.join(SHEET)).unwrap();
    assert!(sheet.contains("This card is incomplete") && sheet.contains("cut with the card"), "{sheet}");
    // None of its processes is still running.
    #[cfg(target_os = "linux")]
    while let Some(process) = within(&folder) {
        assert!(began.elapsed() < Duration::from_secs(300), "{process} lives on");
        std::thread::sleep(Duration::from_millis(50));
    }

    // With next to no time, every part is cut or left out, and the card is still complete.
    let output = card(place.path(), &["--minutes", "0.1"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let short = Card::load(&folder).unwrap();
    assert!(short.whole && short.part("devices").unwrap().state == State::Done);
    assert!(short.parts.iter().skip(1).any(|part| part.state == State::Cut), "{short:?}");
    assert!(began.elapsed() < Duration::from_secs(400));
}

/// A process whose working folder is the given one.
#[cfg(target_os = "linux")]
fn within(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let mut there = processes.filter(|path| fs::read_link(path.join("cwd")).is_ok_and(|at| at == folder));
    there.next().map(|path| path.display().to_string())
}

#[test]
fn impossible_requests_are_refused_before_anything_is_written() {
    let place = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], code: i32, told: &str| {
        let output = card(place.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(told), "{}", said(&output));
    };
    refused(&["--python", "./no/python"], 2, "there is no such interpreter");
    refused(&["--data", "nothing"], 4, "there is no such data folder");
    refused(&["--minutes", "0"], 2, "0.1 to 600");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    // A user's folder stays as it is.
    fs::write(place.path().join("mine"), "text").unwrap();
    refused(&["--out", "."], 6, "the folder is not empty");
    fs::write(place.path().join(FILE), "{}").unwrap();
    refused(&["--out", "."], 4, "this is not the card");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
}

/// The README shows the cards that are kept.
#[test]
fn the_readme_has_the_table_of_all_cards() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = table(&root.join("benches/cards")).unwrap().markdown();
    let readme = fs::read_to_string(root.join("benches/cards/README.md")).unwrap();
    assert!(readme.contains(table.trim_end()), "renew it: normfree card --table benches/cards\n{table}");
}
