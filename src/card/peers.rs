//! The same products and steps in PyTorch on the same device, if an interpreter that has it is given.

use super::job::{Job, Wanted, steps_key};
use super::session::{Outcome, Session, Stop};
use super::{Card, sizes::Length};
use serde_json::Value;

const PRODUCT: &str = include_str!("../../benches/peers/torch_product.py");
const STEP: &str = include_str!("../../benches/peers/torch_step.py");

/// PyTorch's counterparts of our steps: key suffix, title, our precision, and options.
pub(super) const MODES: [(&str, &str, &str, &[&str]); 3] = [
    ("eager", "eager, f32", "f32", &["--precision", "f32", "--attention", "eager"]),
    (
        "entropy",
        "eager, f32, entropy of every head logged",
        "f32",
        &["--precision", "f32", "--attention", "eager", "--entropy"],
    ),
    (
        "compiled",
        "compiled, fused attention, fp16",
        "mixed",
        &["--precision", "fp16", "--attention", "sdpa", "--compile"],
    ),
];

/// The key of a PyTorch step.
pub(super) fn key(tokens: usize, mode: &str) -> String {
    format!("torch_{tokens}_{mode}")
}

pub(super) fn jobs(wanted: &Wanted) -> Vec<Job> {
    if wanted.python.is_none() {
        let without = |_: &mut Session<'_>, _: &Card, _: &Wanted| -> Outcome {
            Err(Stop::left_out("no interpreter with PyTorch is given: --python FILE"))
        };
        return vec![Job::new(("torch", "the same in PyTorch", 0.0), without)];
    }
    let mut jobs = Vec::new();
    for number in ["f32", "f16"] {
        let (key, title) =
            (format!("torch_product_{number}"), format!("the same product in PyTorch, {number}"));
        jobs.push(Job::new((&key, &title, 15.0), move |session, _, wanted| product(session, wanted, number)));
    }
    for length in wanted.sizes.lengths {
        for (end, title, precision, options) in MODES {
            let title = format!("PyTorch's step, T = {}, {title}", length.tokens);
            // Compiling takes longer.
            let weight = if end == "compiled" { 60.0 } else { 25.0 };
            let step = move |session: &mut Session<'_>, card: &Card, wanted: &Wanted| {
                step(session, card, wanted, length, precision, options)
            };
            jobs.push(Job::new((&key(length.tokens, end), &title, weight), step));
        }
    }
    jobs
}

fn python(session: &mut Session<'_>, wanted: &Wanted, script: (&str, &str), arguments: &[String]) -> Outcome {
    let Some(interpreter) = &wanted.python else { return Err(Stop::left_out("there is no interpreter")) };
    let (name, text) = script;
    session.write(name, text)?;
    let all: Vec<String> = std::iter::once(name.to_owned()).chain(arguments.iter().cloned()).collect();
    let finished = session.python(interpreter, &all)?;
    session.answer(&finished)
}

fn product(session: &mut Session<'_>, wanted: &Wanted, number: &str) -> Outcome {
    let mut arguments: Vec<String> = wanted.sizes.product.iter().map(ToString::to_string).collect();
    arguments.extend(["9".to_owned(), number.to_owned()]);
    python(session, wanted, ("scripts/torch_product.py", PRODUCT), &arguments)
}

/// A step with the batch size of our measurement.
fn step(
    session: &mut Session<'_>,
    card: &Card,
    wanted: &Wanted,
    length: Length,
    precision: &str,
    options: &[&str],
) -> Outcome {
    let ours = card.results(&steps_key(length.tokens, precision));
    let (model, train) = (&ours["config"]["model"], &ours["config"]["train"]);
    let Some(batch) = train["batch_size"].as_u64() else {
        return Err(Stop::left_out("the same step of normfree was not measured"));
    };
    let size = |value: &Value| value.as_u64().unwrap_or_default().to_string();
    let mut arguments: Vec<String> = Vec::new();
    for (option, value) in [
        ("--width", size(&model["n_embd"])),
        ("--layers", size(&model["n_layer"])),
        ("--heads", size(&model["n_head"])),
        ("--positions", size(&model["n_positions"])),
        ("--vocabulary", size(&model["vocab_size"])),
        ("--sequence", length.tokens.to_string()),
        ("--batch", batch.to_string()),
        ("--norm", "layer_norm".to_owned()),
        ("--activation", "gelu".to_owned()),
        ("--warm-up", "2".to_owned()),
        ("--window", "0.3".to_owned()),
        ("--windows", "5".to_owned()),
    ] {
        arguments.extend([option.to_owned(), value]);
    }
    arguments.extend(options.iter().map(|&option| option.to_owned()));
    python(session, wanted, ("scripts/torch_step.py", STEP), &arguments)
}
