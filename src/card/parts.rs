//! The parts of a card, in order, and their time limits.

use super::job::{Job, PRECISIONS, Wanted, numbers, steps_key};
use super::record::{Card, FILE, Part, SHEET, State, System};
use super::session::{Outcome, Session, Stop};
use super::sheet::sheet;
use super::sizes::{Length, Sizes};
use super::{models, peers};
use crate::fault::Result;
use crate::files::write_atomic;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// Events while a card is made.
#[derive(Debug)]
pub enum Event<'a> {
    /// Part `number`, counted from 0, begins, with `limit` seconds.
    Begins {
        title: &'a str,
        number: usize,
        of: usize,
        limit: f64,
    },
    Ended(&'a Part),
}

fn jobs(wanted: &Wanted) -> Vec<Job> {
    let mut jobs = vec![
        Job::new(("devices", "the devices of this machine", 5.0), |session, _, _| devices(session)),
        Job::new(("verify", "every kernel, compared with f64", 90.0), |session, _, wanted| {
            verify(session, &wanted.sizes)
        }),
        Job::new(("ceilings", "the ceilings of the device", 15.0), |session, _, _| ceilings(session)),
    ];
    for precision in PRECISIONS {
        for length in wanted.sizes.lengths {
            let (key, number) = (steps_key(length.tokens, precision), numbers(precision));
            let title = format!("whole steps and every kernel, T = {}, {number}", length.tokens);
            jobs.push(Job::new((&key, &title, 45.0), move |session, card, wanted| {
                steps(session, card, &wanted.sizes, length, precision)
            }));
        }
    }
    for (key, title, half) in
        [("product_f32", "one matrix product, f32", false), ("product_f16", "one matrix product, f16", true)]
    {
        jobs.push(Job::new((key, title, 15.0), move |session, card, wanted| {
            product(session, card, &wanted.sizes, half)
        }));
    }
    jobs.extend(peers::jobs(wanted));
    jobs.extend(models::jobs());
    jobs
}

/// Seconds that listing the devices may always take.
const DEVICES: f64 = 20.0;

/// Makes a card part by part, and writes it after each.
///
/// # Errors
/// `Io` if the card cannot be written. The card itself reports failures of its parts.
pub fn make(wanted: &Wanted, told: &mut dyn FnMut(Event<'_>)) -> Result<Card> {
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(wanted.minutes * 60.0);
    let mut card = Card {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        day: time::OffsetDateTime::now_utc().date().to_string(),
        quick: wanted.sizes.quick,
        minutes: wanted.minutes,
        seconds: 0.0,
        whole: false,
        system: System::here(),
        adapter: Value::Null,
        parts: Vec::new(),
    };
    let jobs = jobs(wanted);
    for (number, job) in jobs.iter().enumerate() {
        let start = Instant::now();
        let to_come: f64 = jobs[number..].iter().map(|job| job.weight).sum();
        let share = end.saturating_duration_since(start).as_secs_f64() * job.weight / to_come.max(job.weight);
        // Nothing works without a device.
        let limit = if number == 0 { share.max(DEVICES) } else { share };
        told(Event::Begins { title: &job.title, number, of: jobs.len(), limit });
        card.parts.push(Part {
            key: job.key.clone(),
            title: job.title.clone(),
            state: State::Running,
            why: None,
            seconds: 0.0,
            limit,
            commands: Vec::new(),
            results: Value::Null,
        });
        card.seconds = began.elapsed().as_secs_f64();
        write(&card, &wanted.folder)?;
        let mut session = Session {
            program: &wanted.program,
            options: &wanted.options,
            folder: &wanted.folder,
            hidden: &wanted.hidden,
            until: start + Duration::from_secs_f64(limit),
            commands: Vec::new(),
        };
        let outcome = match number > 0 && card.adapter.is_null() {
            true => Err(Stop::left_out("there is no device")),
            false => (job.work)(&mut session, &card, wanted),
        };
        // Messages name files, whose paths are private too.
        let outcome = outcome.map_err(|stop| Stop { why: session.without_paths(&stop.why), ..stop });
        let commands = session.commands;
        let part = card.parts.last_mut().expect("it was begun");
        let (state, why, results) = match outcome {
            Ok(results) => (State::Done, None, results),
            Err(Stop { state, why, results }) => (state, Some(why), results),
        };
        (part.state, part.why, part.results, part.commands) = (state, why, results, commands);
        part.seconds = start.elapsed().as_secs_f64();
        if number == 0 {
            let taken = part.results.as_array().and_then(|all| all.iter().find(|one| one["taken"] == true));
            card.adapter = taken.cloned().unwrap_or_default();
        }
        card.seconds = began.elapsed().as_secs_f64();
        write(&card, &wanted.folder)?;
        told(Event::Ended(card.parts.last().expect("it was begun")));
    }
    models::tidy(wanted);
    card.whole = true;
    write(&card, &wanted.folder)?;
    Ok(card)
}

/// Writes `card.json` and its sheet into a folder.
fn write(card: &Card, folder: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(card).expect("a card is plain data");
    text.push('\n');
    write_atomic(&folder.join(FILE), text.as_bytes())?;
    write_atomic(&folder.join(SHEET), sheet(card).as_bytes())
}

/// Every adapter, and the chosen one.
fn devices(session: &mut Session<'_>) -> Outcome {
    let finished = session.normfree(&["devices", "--json"])?;
    let all: Vec<Value> = finished.lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    match session.trouble(&finished) {
        Some(stop) => Err(stop.with(all.into())),
        None => Ok(all.into()),
    }
}

/// Every case that was reached in time; of a quick card, one of each op and number type.
fn verify(session: &mut Session<'_>, sizes: &Sizes) -> Outcome {
    let quick = sizes.quick.then_some("--quick");
    let arguments: Vec<&str> = ["verify", "--json"].into_iter().chain(quick).collect();
    let finished = session.normfree(&arguments)?;
    let lines: Vec<Value> =
        finished.lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let cases = || lines.iter().filter(|line| line["case"].is_string());
    let failed: Vec<&Value> = cases().filter(|case| case["agrees"] != true).collect();
    let last = lines.last().filter(|line| line["cases"].is_u64());
    let results = json!({
        "cases": cases().count(),
        "failed": failed,
        // Cases left out on a device without 16-bit floats.
        "left_out": last.map_or(&Value::Null, |last| &last["left_out"]),
        "last": cases().next_back().map(|case| json!([case["op"], case["case"]])),
    });
    match session.trouble(&finished) {
        None => Ok(results),
        Some(stop) => Err(stop.with(results)),
    }
}

/// The ceilings as `bench` printed them, for the parts that compare with them.
const CEILINGS: &str = "configs/ceilings.json";

fn ceilings(session: &mut Session<'_>) -> Outcome {
    let finished = session.normfree(&["bench", "--only", "ceilings", "--no-tune", "--json"])?;
    let answer = session.answer(&finished)?;
    session.write(CEILINGS, &answer.to_string())?;
    Ok(answer["ceilings"].clone())
}

/// Whole steps, then every kernel, with the largest batch that fits the device's memory and the part's time.
fn steps(
    session: &mut Session<'_>,
    card: &Card,
    sizes: &Sizes,
    length: Length,
    precision: &'static str,
) -> Outcome {
    if precision == "mixed" && card.adapter["f16"] != true {
        return Err(Stop::left_out("the device has no 16-bit floats"));
    }
    session.write("configs/gpt2.toml", include_str!("../../configs/bench/gpt2.toml"))?;
    let mut batch = sizes.batch(length, card.results("ceilings"), session.left());
    loop {
        let mut options = vec!["bench".to_owned(), "configs/gpt2.toml".to_owned()];
        options.extend(sizes.options());
        for change in [
            format!("train.sequence_length={}", length.tokens),
            format!("train.batch_size={batch}"),
            format!("train.precision={precision}"),
        ] {
            options.extend(["--set".to_owned(), change]);
        }
        match steps_of(session, card, &options, sizes.rounds) {
            // The batch may be too large for the device's memory.
            Err(stop) if batch > 1 && stop.state == State::Failed && stop.results.is_null() => batch /= 2,
            outcome => return outcome,
        }
    }
}

/// Searches the fastest kernels, then times steps and kernels. Measurements made before a failure are kept.
fn steps_of(session: &mut Session<'_>, card: &Card, options: &[String], rounds: &str) -> Outcome {
    /// The share of the part's time for the kernel search.
    const SEARCH: f64 = 0.4;
    let run = |session: &mut Session<'_>, more: &[&str]| {
        let all: Vec<&str> =
            options.iter().map(String::as_str).chain(more.iter().copied()).chain(["--json"]).collect();
        let finished = session.normfree(&all)?;
        session.answer(&finished)
    };
    let until = session.until;
    session.until = Instant::now() + Duration::from_secs_f64(session.left() * SEARCH);
    let searched = run(session, &["--only", "host", "--rounds", "1"]);
    session.until = until;
    // Kernels found so far are kept; the rest use the default.
    let (tuned, host) = match searched {
        Ok(answer) => (true, answer["host"].clone()),
        Err(stop) if stop.state == State::Cut => (false, Value::Null),
        Err(stop) => return Err(stop),
    };
    let known: &[&str] = if tuned { &[] } else { &["--no-tune"] };
    let known_ceilings = !card.results("ceilings").is_null();
    let ceilings: &[&str] = if known_ceilings { &["--ceilings", CEILINGS] } else { &[] };
    let arguments = |parts: &'static str| [&["--only", parts, "--rounds", rounds], known, ceilings].concat();
    let parts = if known_ceilings { "steps" } else { "ceilings,steps" };
    let compared = [arguments(parts), vec!["--compare", "entropy"]].concat();
    let mut answer = run(session, &compared)?;
    answer["tuned"] = tuned.into();
    answer["host"] = host;
    if card.adapter["timestamps"] == true {
        match run(session, &arguments("kernels")) {
            Ok(mut kernels) => answer["kernels"] = kernels["kernels"].take(),
            Err(stop) => {
                return Err(
                    Stop { why: format!("kernels were not timed: {}", stop.why), ..stop }.with(answer)
                );
            }
        }
    }
    Ok(answer)
}

/// One matrix product in every variant.
fn product(session: &mut Session<'_>, card: &Card, sizes: &Sizes, half: bool) -> Outcome {
    if half && card.adapter["f16"] != true {
        return Err(Stop::left_out("the device has no 16-bit floats"));
    }
    if card.adapter["timestamps"] != true {
        return Err(Stop::left_out("the device has no timestamps around kernels"));
    }
    let extents = sizes.product_text();
    let mut arguments = vec!["bench", "--product", &extents, "--rounds", "5", "--json"];
    if half {
        arguments.push("--half");
    }
    let finished = session.normfree(&arguments)?;
    session.answer(&finished)
}
