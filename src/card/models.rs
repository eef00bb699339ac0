//! What a card trains: a run that is killed and resumed, and the paper's four configurations; and their text.

use super::Card;
use super::job::{Job, Wanted, steps_key};
use super::medians::step_seconds;
use super::session::{Outcome, Session, Stop};
use super::sizes::Sizes;
use crate::data::Meta;
use crate::observe::quantities::{EVAL_PPL, HEAD_ENTROPY, TOKENS_PER_S};
use crate::process::{End, Finished};
use crate::report::run::RunData;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The folder for large files, removed at the end.
const WORK: &str = "work";
const DATA: &str = "work/data";

/// The paper's four models: part key, name and configuration.
pub(super) const EXPERIMENTS: [(&str, &str, &str); 4] = [
    ("sm_ln_g", "SM+LN+G", include_str!("../../configs/paper/sm_ln_g.toml")),
    ("sm_ln_r", "SM+LN+R", include_str!("../../configs/paper/sm_ln_r.toml")),
    ("sm_g", "SM+G", include_str!("../../configs/paper/sm_g.toml")),
    ("sm_r", "SM+R", include_str!("../../configs/paper/sm_r.toml")),
];

pub(super) fn jobs() -> Vec<Job> {
    let mut jobs = vec![
        Job::new(("data", "text to train on", 20.0), |session, _, wanted| data(session, wanted)),
        Job::new(("resume", "a run that is killed and resumed", 20.0), |session, card, wanted| {
            resume(session, card, wanted)
        }),
    ];
    for (key, name, text) in EXPERIMENTS {
        jobs.push(Job::new((key, name, 60.0), move |session, card, wanted| {
            model(session, card, wanted, (key, text))
        }));
    }
    jobs.push(Job::new(("pictures", "pictures of the four models", 10.0), |session, card, _| {
        pictures(session, card)
    }));
    jobs
}

/// Removes large files that nobody sends to others: data and weights.
pub(super) fn tidy(wanted: &Wanted) {
    let _ = std::fs::remove_dir_all(wanted.folder.join(WORK));
}

/// The folder of tokens: the given one, or one made from this machine's source code, or from synthetic text.
fn data(session: &mut Session<'_>, wanted: &Wanted) -> Outcome {
    let sizes = &wanted.sizes;
    let described = |path: &Path, source: &str| -> Outcome {
        let Some(meta) = Meta::read(path)? else {
            return Err(Stop::failed("the data folder is missing or holds no prepared data"));
        };
        let length = sizes.lengths[0].tokens;
        if meta.chunk < length {
            let why =
                format!("the data has chunks of {} tokens, shorter than sequences of {length}", meta.chunk);
            return Err(Stop::failed(why));
        }
        Ok(json!({
            "source": source,
            "vocabulary": meta.vocab_size,
            "tokens": meta.train.tokens,
            "held_out": meta.valid.tokens,
        }))
    };
    if let Some(given) = &wanted.data {
        return described(given, "given");
    }
    let [vocabulary, text] = [sizes.vocabulary as u64, sizes.text].map(|number| number.to_string());
    let chunk = sizes.lengths[0].tokens.to_string();
    let prepare = |session: &mut Session<'_>, source: &str| {
        let mut arguments = vec!["prepare", source, "--out", DATA, "--vocab-size", &vocabulary];
        arguments.extend(["--chunk", &chunk, "--max-bytes", &text]);
        session.normfree(&arguments)
    };
    let found = prepare(session, "auto")?;
    if found.end == End::Code(0) {
        return described(&session.folder.join(DATA), "source code of this machine");
    }
    for (number, text) in made_up(sizes.text / 4).iter().enumerate() {
        session.write(&format!("{WORK}/text/{number:04}.txt"), text)?;
    }
    let made = prepare(session, "work/text")?;
    match session.trouble(&made) {
        Some(stop) => Err(stop),
        None => {
            described(&session.folder.join(DATA), "synthetic text, because this machine has no source code")
        }
    }
}

/// Synthetic documents of `bytes` bytes in all. Each made-up word has its own likely successors.
fn made_up(bytes: u64) -> Vec<String> {
    const WORDS: usize = 2_000;
    const FOLLOWERS: usize = 8;
    const DOCUMENT: usize = 8_000;
    const SYLLABLES: [&str; 16] =
        ["ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "ve"];
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let word = |_| {
        let count = random.random_range(1..=3);
        (0..=count).map(|_| SYLLABLES[random.random_range(0..SYLLABLES.len())]).collect::<String>()
    };
    let words: Vec<String> = (0..WORDS).map(word).collect();
    let followers: Vec<[usize; FOLLOWERS]> =
        (0..WORDS).map(|_| [(); FOLLOWERS].map(|()| random.random_range(0..WORDS))).collect();
    let mut documents = Vec::new();
    let mut at = 0;
    for _ in 0..bytes.div_ceil(DOCUMENT as u64) {
        let mut text = String::new();
        while text.len() < DOCUMENT {
            // Each successor is likelier than the next.
            let rank = (0..FOLLOWERS - 1).take_while(|_| random.random_bool(0.5)).count();
            at = followers[at][rank];
            text.push_str(&words[at]);
            text.push_str(if random.random_bool(0.1) { ".\n" } else { " " });
        }
        documents.push(text);
    }
    documents
}

/// What a model needs from the data; a part without it is left out.
fn of_data(card: &Card, wanted: &Wanted) -> Result<[String; 4], Stop> {
    let Some(vocabulary) = card.results("data")["vocabulary"].as_u64() else {
        return Err(Stop::left_out("there is no text to train on"));
    };
    let path = wanted.data.as_ref().map_or(DATA.to_owned(), |given| given.display().to_string());
    let path = toml::Value::String(path);
    Ok([
        "--set".to_owned(),
        format!("data.path={path}"),
        "--set".to_owned(),
        format!("model.vocab_size={vocabulary}"),
    ])
}

fn train(session: &mut Session<'_>, options: &[String]) -> Result<Finished, Stop> {
    let all: Vec<&str> = ["train"].into_iter().chain(options.iter().map(String::as_str)).collect();
    session.normfree(&all)
}

/// The newest checkpoint of a run in the card's folder.
fn newest_checkpoint(run: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(run.join("checkpoints")).ok()?;
    let whole = entries.filter_map(|entry| Some(entry.ok()?.path()));
    whole
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-")))
        .max()
}

/// Trains a small model twice, once undisturbed and once killed after a checkpoint and resumed, and compares the bytes.
fn resume(session: &mut Session<'_>, card: &Card, wanted: &Wanted) -> Outcome {
    let sizes = &wanted.sizes;
    let (whole, killed) = ("work/whole", "work/killed");
    session.write("configs/resume.toml", include_str!("../../configs/demo/sm_r.toml"))?;
    let mut options = vec!["configs/resume.toml".to_owned()];
    options.extend(of_data(card, wanted)?);
    let (mut steps, mut every) = sizes.resumed;
    let set = |options: &mut Vec<String>, change: String| options.extend(["--set".to_owned(), change]);
    set(&mut options, format!("train.sequence_length={}", sizes.lengths[0].tokens));
    set(&mut options, "train.eval_chunks=8".to_owned());
    options.push("--no-tune".to_owned());
    let begun = |run: &str, steps: u64, every: u64, options: &[String]| {
        let mut options = options.to_vec();
        for (key, value) in [("steps", steps), ("checkpoint_every", every), ("eval_every", steps)] {
            set(&mut options, format!("train.{key}={value}"));
        }
        options.extend(["--run".to_owned(), run.to_owned()]);
        options
    };
    let seen = loop {
        let run = session.folder.join(killed);
        let all = begun(killed, steps, every, &options);
        let all: Vec<&str> = ["train"].into_iter().chain(all.iter().map(String::as_str)).collect();
        let finished = session.normfree_until(&all, &mut || newest_checkpoint(&run).is_some())?;
        if let Some(stop) = session.trouble(&finished) {
            return Err(stop);
        }
        let seen =
            newest_checkpoint(&run).and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        if finished.end == End::Enough {
            break seen;
        }
        // The run finished before it could be killed.
        session.remove(killed);
        (steps, every) = (steps * 8, every * 8);
    };
    let goes_on = ["--resume".to_owned(), killed.to_owned()];
    for options in [goes_on.to_vec(), begun(whole, steps, every, &options)] {
        let finished = train(session, &options)?;
        if let Some(stop) = session.trouble(&finished) {
            return Err(stop);
        }
    }
    let runs = [whole, killed].map(|run| session.folder.join(run));
    let mut results = json!({ "steps": steps, "killed_behind": seen });
    for name in ["model.safetensors", "optimizer.safetensors"] {
        let [one, other] = runs.each_ref().map(|run| {
            newest_checkpoint(run).and_then(|checkpoint| std::fs::read(checkpoint.join(name)).ok())
        });
        results[name] = (one.is_some() && one == other).into();
    }
    let [one, other] = runs.each_ref().map(|run| log_without_speeds(run));
    results["metrics.jsonl"] = (one.is_some() && one == other).into();
    for run in [whole, killed] {
        session.remove(run);
    }
    let differ: Vec<&str> = ["model.safetensors", "optimizer.safetensors", "metrics.jsonl"]
        .into_iter()
        .filter(|&name| results[name] != true)
        .collect();
    match differ.is_empty() {
        true => Ok(results),
        false => Err(Stop::failed(format!("different bytes in {}", differ.join(", "))).with(results)),
    }
}

/// The log of a run without anything a clock measures.
fn log_without_speeds(run: &Path) -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).ok()?;
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).ok()?;
        record.as_object_mut()?.remove("tokens_per_s");
        Some(record)
    };
    text.lines().map(record).collect()
}

/// Steps for each of the four models: as many as fit, judging by a step of the largest.
fn steps_of(card: &Card, session: &Session<'_>, sizes: &Sizes) -> Result<(u64, u64), Stop> {
    /// Share of the remaining time, leaving room for evaluation and for a slower model.
    const TRAINING: f64 = 0.7;
    let measured = card.results(&steps_key(sizes.lengths[0].tokens, "f32"));
    let (Some(seconds), Some(batch)) =
        (step_seconds(measured, true), measured["config"]["train"]["batch_size"].as_u64())
    else {
        return Err(Stop::left_out("whole steps of its size were not measured"));
    };
    let earlier = EXPERIMENTS.iter().find_map(|(key, ..)| card.results(key)["steps"].as_u64());
    let start = measured["host"]["start"].as_f64().unwrap_or(0.0);
    let fitting = ((TRAINING * session.left() - start).max(0.0) / seconds) as u64;
    let (fewest, most) = sizes.steps;
    let steps = earlier.unwrap_or(fitting.min(most));
    if steps < fewest {
        let why = format!("a step takes {seconds:.1} s, and {fewest} would say something");
        return Err(Stop::left_out(why));
    }
    Ok((steps, batch))
}

/// Trains one of the four.
fn model(session: &mut Session<'_>, card: &Card, wanted: &Wanted, (key, text): (&str, &str)) -> Outcome {
    let sizes = &wanted.sizes;
    let (steps, batch) = steps_of(card, session, sizes)?;
    let config = format!("configs/{key}.toml");
    session.write(&config, text)?;
    let run = format!("{WORK}/{key}");
    let mut options = vec![config];
    options.extend(sizes.options());
    options.extend(of_data(card, wanted)?);
    for (setting, value) in [
        ("train.sequence_length", sizes.lengths[0].tokens as u64),
        ("train.batch_size", batch),
        ("train.gradient_accumulation_steps", 1),
        ("train.steps", steps),
        ("train.checkpoint_every", steps),
        ("train.eval_every", steps),
        ("train.eval_chunks", 64),
        ("observe.entropy_every", (steps / 20).max(1)),
    ] {
        options.extend(["--set".to_owned(), format!("{setting}={value}")]);
    }
    options.extend(["--run".to_owned(), run.clone()]);
    let finished = train(session, &options)?;
    let folder = session.folder.join(&run);
    let results = RunData::load(&folder).map_or(json!({ "steps": steps }), |run| told(&run, steps, batch));
    session.remove(&format!("{run}/checkpoints"));
    match session.trouble(&finished) {
        Some(stop) => Err(stop.with(results)),
        None => Ok(results),
    }
}

/// What a card reports about a run.
fn told(run: &RunData, steps: u64, batch: u64) -> Value {
    let mut speeds: Vec<f64> = run.log.numbers(&TOKENS_PER_S).iter().map(|step| step.1).collect();
    speeds.sort_by(f64::total_cmp);
    let finite = |value: f64| value.is_finite().then_some(value);
    json!({
        "steps": steps,
        "batch": batch,
        "done": run.steps_done(),
        "parameters": run.parameters,
        "loss": run.losses().last().and_then(|(_, loss)| finite(loss)),
        "perplexity": run.log.numbers(&EVAL_PPL).last().and_then(|eval| finite(eval.1)),
        "tokens_per_second": speeds.get(speeds.len() / 2),
        "diverged_at": run.diverged_at(),
        "head_entropy": run.log.heads(&HEAD_ENTROPY).last().map(|record| &record.1),
    })
}

/// Draws the runs that left records.
fn pictures(session: &mut Session<'_>, card: &Card) -> Outcome {
    let drawn = |key: &str| card.results(key)["head_entropy"].is_array();
    let runs: Vec<String> = (EXPERIMENTS.iter().filter(|(key, ..)| drawn(key)))
        .map(|(key, ..)| format!("{WORK}/{key}"))
        .collect();
    if runs.is_empty() {
        return Err(Stop::left_out("no model was trained"));
    }
    let mut arguments = vec!["plot"];
    arguments.extend(runs.iter().map(String::as_str));
    arguments.extend(["--out", "pictures"]);
    let finished = session.normfree(&arguments)?;
    match session.trouble(&finished) {
        Some(stop) => Err(stop),
        None => Ok(json!({ "heatmap": "pictures/heatmap.png", "loss": "pictures/loss.png" })),
    }
}

#[cfg(test)]
mod tests {
    use super::made_up;

    #[test]
    fn made_up_text_is_text() {
        let documents = made_up(40_000);
        assert_eq!(documents.len(), 5);
        assert!(documents.iter().all(|text| text.len() >= 8_000 && text.is_ascii()));
        assert_eq!(documents, made_up(40_000), "other text each time");
        assert_ne!(documents[0], documents[1]);
    }
}
