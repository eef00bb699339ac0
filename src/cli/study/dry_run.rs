//! `normfree study --dry-run`: every run with its needs, its progress, and the estimated time for the rest.

use super::super::{Global, bytes, counted, duration, operations, say, table, thousands};
use super::data;
use super::jobs::Jobs;
use crate::bench::step_seconds;
use crate::data::TokenFile;
use crate::device::Device;
use crate::fault::{Fault, Result};
use crate::study::{Basis, Cost, Grid, Run, Speeds, State, is_missing};
use crate::train::kernel_choice;
use crate::train::memory::Needs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The plan for one configuration.
struct Planned {
    cost: Cost,
    needs: Needs,
    /// Why the device is not sufficient.
    refused: Option<Fault>,
}

/// Prints the plan and creates nothing; with `measure` it times steps on the device.
pub(super) fn print<'a>(grid: &Grid, runs: &[&'a Run], measure: bool, jobs: &Jobs) -> Result<()> {
    let states: Vec<Result<State>> = runs.iter().map(|run| State::of(run, &grid.path(run))).collect();
    let is_left = |(run, state): (&&'a Run, &Result<State>)| (*state != Ok(State::Done)).then_some(*run);
    let left: Vec<&Run> = runs.iter().zip(&states).filter_map(is_left).collect();
    let options = jobs.options(left.len());
    // No job has more threads.
    let global = &options[0];
    let device = global.open()?;
    let planned = plan(runs, &device, global)?;
    let costs: BTreeMap<String, Cost> =
        planned.iter().map(|(name, planned)| (name.clone(), planned.cost.clone())).collect();
    let mut speeds = Speeds::of(grid, &costs, &device.description().name);
    let logged = speeds.count();
    let name = device.description().name.clone();
    let measured = if measure { time_steps(runs, &planned, &mut speeds, device, global)? } else { 0 };

    let heads = ["run", "parameters", "tokens", "work", "memory", "state", "time left"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let (mut tokens, mut work, mut seconds) = (0, 0.0, Vec::new());
    let mut bases = BTreeSet::new();
    let (mut done, mut remarks) = (0, Vec::new());
    for (run, state) in runs.iter().zip(states) {
        let Planned { cost, needs, .. } = &planned[&run.configuration];
        let steps = run.config.train.steps;
        let name = run.folder.display();
        let past = state.as_ref().map_or(0, |state| state.steps_done(steps));
        let word = match state {
            Ok(State::Missing) => "missing".to_owned(),
            Ok(State::Stopped(step)) => format!("step {} of {}", thousands(step), thousands(steps)),
            Ok(State::Done) => "done".to_owned(),
            Ok(State::InUse(holder)) => format!("in use by {holder}"),
            Ok(State::Different(keys)) => {
                remarks.push(format!("{name} holds a run with another configuration: {}", keys.join(", ")));
                "another configuration".to_owned()
            }
            Err(fault) => {
                remarks.push(format!("{name} cannot be resumed: {fault}"));
                "damaged".to_owned()
            }
        };
        let rest = cost.left(past);
        let time = if rest > 0.0 { speeds.seconds(&run.configuration, rest) } else { None };
        if rest > 0.0 {
            seconds.push(time.map(|(seconds, _)| seconds));
            bases.extend(time.map(|(_, basis)| basis));
        } else {
            done += 1;
        }
        tokens += cost.tokens();
        work += cost.training();
        rows.push(vec![
            name.to_string(),
            thousands(cost.parameters),
            thousands(cost.tokens()),
            operations(cost.training()),
            bytes(needs.device.total()),
            word,
            time.map_or(String::new(), |(seconds, _)| duration(seconds)),
        ]);
    }
    // Unknown as soon as one is.
    let times = seconds.into_iter().collect::<Option<Vec<f64>>>().filter(|_| done < runs.len());
    let in_all = times.map(|times| until_last(&times, options.len()));
    rows.push(vec![
        format!("{}, {done} done", counted(runs.len() as u64, "run")),
        String::new(),
        thousands(tokens),
        operations(work),
        String::new(),
        String::new(),
        in_all.map_or(String::new(), duration),
    ]);
    say(table(&rows, &[false, true, true, true, true, false, true], 1))?;
    say(format!("work: training only; memory: that of the device, {name}"))?;
    if let Some(memory) = jobs.memory(&left) {
        say(format!(
            "memory with {}: {}, that of the process included",
            at_a_time(options.len()),
            bytes(memory)
        ))?;
    }
    if done < runs.len() {
        say(basis(logged, measured, &bases))?;
    }
    if options.len() > 1 && in_all.is_some() {
        say(format!(
            "time of all: with {}, if each is as fast beside others as it was when it was timed",
            at_a_time(options.len())
        ))?;
    }
    for remark in remarks {
        say(remark)?;
    }
    if let Err(fault) = jobs.check_memory(&left) {
        say(format!("{} would fail on this device: {fault}", at_a_time(options.len())))?;
    }
    tell_refusals(&planned)
}

fn at_a_time(runs: usize) -> String {
    format!("{} at a time", counted(runs as u64, "run"))
}

/// When the last of several jobs ends, each of which takes the next run when it has ended one.
fn until_last(times: &[f64], jobs: usize) -> f64 {
    let mut busy = vec![0.0; jobs];
    for time in times {
        // The order of jobs that end at the same time is of no importance.
        busy.sort_by(f64::total_cmp);
        busy[0] += time;
    }
    busy.into_iter().fold(0.0, f64::max)
}

/// Computes the cost of each configuration once.
fn plan(runs: &[&Run], device: &Device, global: &Global) -> Result<BTreeMap<String, Planned>> {
    let mut planned = BTreeMap::new();
    let mut absent = BTreeSet::new();
    for run in runs {
        if planned.contains_key(&run.configuration) {
            continue;
        }
        let (held_out, size) = if is_missing(Path::new(&run.config.data.path)) {
            absent.insert(run.config.data.path.clone());
            (0, 0)
        } else {
            let corpus = data::open(&run.config)?;
            (corpus.valid.sequences(), [&corpus.train, &corpus.valid].map(TokenFile::bytes).iter().sum())
        };
        let (cost, needs, refused) = Cost::with_memory(&run.config, device, held_out, size);
        planned.insert(run.configuration.clone(), Planned { cost, needs, refused });
    }
    for path in absent {
        global.note(format!("there is no data at {path} yet; the time does not include evaluations"));
    }
    Ok(planned)
}

/// Times a few steps of the first configuration of each size that has no log, if the device suffices. Returns how many
/// were timed.
fn time_steps(
    runs: &[&Run],
    planned: &BTreeMap<String, Planned>,
    speeds: &mut Speeds,
    device: Device,
    global: &Global,
) -> Result<usize> {
    let mut sizes = BTreeSet::new();
    let mut timed = 0;
    let mut held = Some(device);
    for run in runs {
        let (model, train) = (&run.config.model, &run.config.train);
        let size = (model.n_layer, model.n_embd, model.vocab_size, train.batch_size, train.sequence_length);
        let planned = &planned[&run.configuration];
        // One measured configuration is enough for its size.
        let known = speeds.seconds(&run.configuration, 1.0).is_some_and(|(_, basis)| basis == Basis::Own);
        if planned.refused.is_some() || !sizes.insert(size) || known {
            continue;
        }
        global.note(format!("timing steps of {}", run.configuration));
        let mut device = held.take().map_or_else(|| global.open(), Ok)?;
        if let Some(gpu) = device.gpu_mut() {
            gpu.set_choices(kernel_choice::known(gpu));
        }
        speeds.add(&run.configuration, planned.cost.speed_of_step(step_seconds(device, &run.config)?));
        timed += 1;
    }
    Ok(timed)
}

/// The source of the times.
fn basis(logged: usize, measured: usize, bases: &BTreeSet<Basis>) -> String {
    let counted = |number: usize, thing: &str| counted(number as u64, thing);
    let mut from = Vec::new();
    if logged > 0 {
        from.push(format!("the steps that {} of this study logged on this device", counted(logged, "run")));
    }
    if measured > 0 {
        from.push(format!("steps of {} timed just now", counted(measured, "configuration")));
    }
    if from.is_empty() {
        return "time: unknown, because no run of this study has logged enough steps here; --measure times some"
            .to_owned();
    }
    let scaled = if bases.contains(&Basis::Others) {
        "; for configurations without any, by their operations and the median speed"
    } else {
        ""
    };
    format!("time: from {}{scaled}", from.join(" and "))
}

/// One line for each reason why the device cannot train some configurations.
fn tell_refusals(planned: &BTreeMap<String, Planned>) -> Result<()> {
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, planned) in planned {
        if let Some(fault) = &planned.refused {
            reasons.entry(fault.to_string()).or_default().push(name);
        }
    }
    for (reason, names) in reasons {
        let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
        say(format!("{}{more} would fail on this device: {reason}", names[0]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::until_last;

    #[test]
    fn the_last_job_ends_when_its_runs_do() {
        let times = [3.0, 1.0, 1.0, 2.0, 4.0];
        assert_eq!([1, 2, 3, 8].map(|jobs| until_last(&times, jobs)), [11.0, 7.0, 5.0, 4.0]);
        assert_eq!(until_last(&[], 2), 0.0);
    }
}
