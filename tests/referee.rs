//! Claims, judged by runs that are made up, and by runs that are trained.

use crate::cli::Place;
use crate::study::{STUDY, place};
use normfree::fault::{Fault, Kind};
use normfree::observe::quantities::*;
use normfree::observe::record::{Eval, Measured, Record, Values};
use normfree::referee::{Ruling, Verdict, json, judge, markdown, picture, table};
use normfree::study::{Claim, Grid};
use std::fs;
use std::path::Path;

/// A study of five seeds each, whose names say what is written for them.
fn study() -> String {
    let mut text =
        STUDY.split("[[configuration]]").next().unwrap().replace("seeds = [1, 2]", "seeds = [1, 2, 3, 4, 5]");
    for name in ["ln_g", "low", "same", "loose", "late", "lost"] {
        text.push_str(&format!("[[configuration]]\nname = \"{name}\"\nlabel = \"{name}\"\n\n"));
    }
    text
}

fn claim(of: &str, is: &str, quantity: &str, margin: f64) -> String {
    format!(
        "[claim]\nname = \"{of}\"\ntext = \"Of {of}.\"\nsource = \"a paper\"\nreported = \"a number\"\n\
         study = \"tiny.toml\"\nown_size = \"tiny.toml\"\n\n[[expect]]\nquantity = \"{quantity}\"\nof = \"{of}\"\n\
         is = \"{is}\"\ncompared_with = \"ln_g\"\nmargin = {margin}\n"
    )
}

/// Writes the runs of the study: losses of about 3 at the end, with the same noise of each seed for all.
fn write(folder: &Path, grid: &Grid) {
    for run in &grid.runs {
        let seed = run.seed as f64;
        let noise = (seed * 12.9898).sin() * 0.1;
        let own = (seed * 78.233).sin();
        // At the best checkpoint, in the middle, and at the end.
        let (middle, end) = match run.configuration.as_str() {
            "low" => (2.9 + 0.01 * own, 2.8 + 0.01 * own),
            "same" => (3.1 + 0.002 * own, 3.0 + 0.002 * own),
            "loose" => (3.1, 3.0 - 0.15 + 0.3 * own),
            // Better in the middle than the others ever are, and worse at the end.
            "late" => (2.5 + 0.01 * own, 3.5 + 0.01 * own),
            "lost" => (3.1, f64::NAN),
            _ => (3.1, 3.0),
        };
        let path = folder.join(&run.folder);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("config.toml"), run.config.to_toml()).unwrap();
        let mut log = String::new();
        let mut write = |record: Record| log.push_str(&(serde_json::to_string(&record).unwrap() + "\n"));
        for (step, loss) in [(0, 5.7), (5, middle + noise), (11, end + noise)] {
            let values = Measured::from([
                (&LOSS, Values::Step(loss)),
                (&LEARNING_RATE, Values::Step(1e-3)),
                (&GRAD_NORM, Values::Step(1.0)),
                (&TOKENS, Values::Step((step + 1) as f64 * 32.0)),
                (&TOKENS_PER_S, Values::Step(1000.0)),
            ]);
            write(Record::Measured { kind: &STEP, step, values });
            if loss.is_finite() && step > 0 {
                let step = step + 1;
                write(Record::Measured {
                    kind: &EVAL,
                    step,
                    values: Eval { step, loss, ppl: loss.exp() }.values(),
                });
            }
        }
        fs::write(path.join("metrics.jsonl"), log).unwrap();
    }
}

/// The ruling on claims about these runs.
fn ruling(claims: &[String]) -> Result<Ruling, Fault> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tiny.toml"), study()).unwrap();
    let claims = claims.iter().enumerate().map(|(number, text)| {
        let path = folder.path().join(format!("claim{number}.toml"));
        fs::write(&path, text).unwrap();
        let claim = Claim::load(&path)?;
        let mut grid = claim.grid(false, &[])?;
        grid.out = folder.path().join("runs");
        if number == 0 {
            write(&grid.out, &grid);
        }
        Ok((claim, grid))
    });
    judge(claims.collect::<Result<Vec<_>, Fault>>()?)
}

fn verdicts(ruling: &Ruling) -> Vec<Verdict> {
    ruling.claims.iter().map(|ruled| ruled.verdict).collect()
}

#[test]
fn claims_hold_or_do_not_or_stay_open() {
    use Verdict::{Held, NotDecided, NotHeld};
    let claims = [
        (claim("low", "less", "loss", 0.05), Held),
        (claim("low", "greater", "loss", 0.05), NotHeld),
        (claim("same", "equal", "loss", 0.05), Held),
        // A difference within the margin is none.
        (claim("same", "less", "loss", 0.05), NotHeld),
        (claim("low", "equal", "loss", 0.05), NotHeld),
        (claim("loose", "less", "loss", 0.05), NotDecided),
        // The end and the best checkpoint say the opposite.
        (claim("late", "less", "loss", 0.05), NotDecided),
        // All of five against none of five.
        (claim("lost", "less", "loss", 0.05), NotHeld),
        (claim("lost", "less", "trained", 0.5), Held),
    ];
    let texts = claims
        .iter()
        .enumerate()
        .map(|(number, (text, _))| text.replacen("name = \"", &format!("name = \"claim{number}-"), 1));
    let ruling = ruling(&texts.collect::<Vec<_>>()).unwrap();
    assert_eq!(verdicts(&ruling), claims.map(|claim| claim.1));
    assert_eq!(ruling.comparisons, 9);
    // What is not decided says how many seeds would: more than the five there are.
    let loose = &ruling.claims[5].judged[0];
    assert!(loose.seeds_needed.is_some_and(|seeds| seeds > 5), "{:?}", loose.seeds_needed);
    assert_eq!(ruling.claims[0].judged[0].seeds_needed, None);
    let told = table(&ruling).plain();
    for part in [
        "low against ln_g: held-out loss",
        "−0.19", // the mean difference of `low`
        "not decided at this size: not held at the end, held at the best checkpoint",
        "5 of 5 against 0 of 5 diverged",
        "within the margin of 0.05",
        "corrected for 9 comparisons (Holm)",
    ] {
        assert!(told.contains(part), "no `{part}` in:\n{told}");
    }
    assert!(markdown(&ruling).contains("| Of low. (a paper) | a number |"), "{}", markdown(&ruling));
    let written = json(&ruling);
    assert_eq!(written["claims"][0]["verdict"], "held");
    assert_eq!(written["claims"][0]["expectations"][0]["readings"]["end"]["differences"]["n"], 5);
    let picture = picture(&ruling).unwrap();
    assert!(picture.svg().contains("low − ln_g"));
    assert!(picture.width > picture.height / 2.0);
}

/// The runs of another configuration in the study's folder are no witness, and one seed is none either.
#[test]
fn one_seed_decides_nothing() {
    let place = tempfile::tempdir().unwrap();
    let text = study().replace("[1, 2, 3, 4, 5]", "[1]");
    fs::write(place.path().join("tiny.toml"), text).unwrap();
    fs::write(place.path().join("claim.toml"), claim("low", "less", "loss", 0.05)).unwrap();
    let claim = Claim::load(&place.path().join("claim.toml")).unwrap();
    let mut grid = claim.grid(false, &[]).unwrap();
    grid.out = place.path().join("runs");
    write(&grid.out, &grid);
    let ruling = judge(vec![(claim.clone(), grid.clone())]).unwrap();
    assert_eq!(verdicts(&ruling), [Verdict::NotDecided]);
    assert!(table(&ruling).plain().contains("not decided at this size: too few seeds"));
    assert!(picture(&ruling).is_none());

    let run = grid.path(&grid.runs[0]);
    let other = fs::read_to_string(run.join("config.toml")).unwrap().replace("steps = 12", "steps = 13");
    fs::write(run.join("config.toml"), other).unwrap();
    let fault = judge(vec![(claim, grid)]).unwrap_err();
    assert_eq!(fault.kind, Kind::RunFolder);
    assert!(fault.to_string().contains("train.steps = 13 there, 12 here"), "{fault}");
}

#[test]
fn a_claim_that_cannot_be_read_says_where() {
    let good = claim("low", "less", "loss", 0.05);
    let table = [
        (good.replace("\"less\"", "\"fewer\""), "line 12, key is", "use one of less, greater, equal"),
        (good.replace("of = \"low\"", "of = \"lwo\""), "line 11, key of", "did you mean \"low\"?"),
        (good.replace("0.05", "0"), "line 14, key margin", "a number above 0"),
        (good.replace("[[expect]]", "[[expected]]"), "line 9", "a claim has [claim] and [[expect]]"),
        (good.split("[[expect]]").next().unwrap().to_owned(), "claim0.toml", "add [[expect]]"),
        (good.replace("reported", "told"), "line 5, key told", "[claim] takes name, text"),
        (study(), "line ", "a claim has [claim] and [[expect]]"),
    ];
    for (text, place, remedy) in table {
        let fault = ruling(std::slice::from_ref(&text)).map(|_| ()).unwrap_err();
        let told = fault.to_string();
        assert_eq!(fault.kind, Kind::Config, "{told}");
        assert!(told.contains(place) && told.contains(remedy), "{told}\n{text}");
    }
}

/// Two seeds of two configurations, trained by `study CLAIM` and judged by `referee`.
#[test]
fn a_claim_is_trained_and_judged() {
    let place: Place = place();
    let text = STUDY.replacen("seeds = [3]\n", "", 1);
    fs::write(place.path("tiny.toml"), text).unwrap();
    fs::write(place.path("claim.toml"), claim("r", "less", "entropy", 0.05)).unwrap();
    let told = place.succeeds(&["study", "claim.toml", "--quiet"]);
    assert!(told.contains("4 of 4 runs done"), "{told}");
    let runs = place.path("runs/study/tiny");
    assert!(runs.join("r-seed2").is_dir() && !runs.join("free-seed1").exists());
    // The study's own record has all of its runs, so that claims can share it.
    assert!(fs::read_to_string(runs.join("study.json")).unwrap().contains("free-seed1"));
    let told = place.succeeds(&["referee", "claim.toml", "--out", "ruling"]);
    assert!(told.contains("SM+R against SM+LN+G: mean entropy") && told.contains("Of r: "), "{told}");
    for name in ["referee.md", "referee.json", "referee.png", "referee.svg"] {
        assert!(place.path("ruling").join(name).is_file(), "{name}");
    }
    // What was set for the study is repeated for those who read it.
    let set = ["--set", "train.steps=14"];
    place.fails(
        &[&["referee", "claim.toml"][..], &set].concat(),
        6,
        &["every --set with which it was trained"],
    );
    place.fails(
        &[&["report", "claim.toml", "-o", "r.html"][..], &set].concat(),
        6,
        &["train.steps = 12 there, 14"],
    );
    place.succeeds(&["report", "claim.toml", "-o", "r.html", "--set", "train.steps=12"]);
    place.fails(&["study", "tiny.toml", "--own-size"], 2, &["--own-size is about a claim"]);
    place.fails(
        &["referee", "claim.toml", "--runs", "elsewhere"],
        6,
        &["no run of these claims has begun", "elsewhere", "--runs"],
    );
    place.fails(&["referee", "claim.toml", "claim.toml"], 2, &["a claim is given twice"]);
    fs::remove_dir_all(runs.join("ln_g-seed1")).unwrap();
    let told = place.succeeds(&["referee", "claim.toml"]);
    assert!(told.contains("not trained to the end: SM+LN+G, seed 1."), "{told}");
}

/// The claims that come with the program.
#[test]
fn every_claim_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/study/referee");
    let mut claims = 0;
    for entry in walkdir::WalkDir::new(&folder) {
        let path = entry.unwrap().into_path();
        if path.is_dir() {
            continue;
        }
        // `normfree referee FOLDER/*.toml` must find claims alone.
        assert_eq!(Claim::is_claim(&path).unwrap(), path.parent() == Some(&folder), "{}", path.display());
        if path.parent() != Some(&folder) {
            let grid = Grid::load(&path, &[]).unwrap_or_else(|fault| panic!("{fault}"));
            for run in &grid.runs {
                run.config.validate().unwrap_or_else(|fault| panic!("{}: {fault}", run.configuration));
            }
            continue;
        }
        let claim = Claim::load(&path).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(path.file_stem().unwrap().to_str(), Some(claim.name.as_str()));
        for own_size in [false, true] {
            let grid = claim.grid(own_size, &[]).unwrap_or_else(|fault| panic!("{fault}"));
            // No claim is decided by less than five seeds.
            for name in grid.chosen.as_ref().unwrap() {
                let seeds = grid.runs.iter().filter(|run| run.configuration == *name).count();
                assert!(seeds >= 5, "{}: {name} has {seeds} seeds", claim.name);
            }
        }
        claims += 1;
    }
    assert_eq!(claims, 10);
}
