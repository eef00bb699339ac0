//! Work split into many submissions is the same work; evaluations do not wait for one another.

use crate::support::seed;
use crate::training::{batches, config, engine};
use normfree::data::Batch;
use normfree::gpu::LONGEST;
use normfree::train::engine::{Engine, StepReading};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Readings, weights and a held-out loss, as bits, and how many submissions three steps took.
fn trained(seed: u64, longest: f64) -> (Vec<StepReading>, Vec<u32>, u64, u64) {
    let config = config(&["observe.layers_every=2"]);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut engine, _) = engine(&config);
    engine.device.gpu().unwrap().set_longest_submission(longest);
    engine.micro.poison(&engine.device, u32::MAX);
    let before = engine.device.gpu().unwrap().submissions();
    let mut readings = Vec::new();
    // All in flight at once: nothing waits for the end of a submission.
    for step in 0..3 {
        engine.submit(step, step, 1e-2, &batches(&config, &mut random)).unwrap();
    }
    let submissions = engine.device.gpu().unwrap().submissions() - before;
    assert_eq!(engine.in_flight(), 3);
    while let Some(reading) = engine.take(true).unwrap() {
        readings.push(reading);
    }
    let held_out = batches(&config, &mut random).remove(0);
    let loss = engine.evaluate(&held_out).unwrap().to_bits();
    let mut weights = Vec::new();
    for parameter in engine.blueprint.arenas.parameters() {
        let values = engine.store.read(&engine.device, &parameter.name, parameter.elements()).unwrap();
        weights.extend(values.iter().map(|value| value.to_bits()));
    }
    (readings, weights, loss, submissions)
}

#[test]
fn a_step_in_many_submissions_has_the_bits_of_one_in_few() {
    let seed = seed();
    let (whole, cut) = (trained(seed, f64::INFINITY), trained(seed, 0.0));
    assert_eq!(whole.3, 6, "one for each of three steps' two micro-batches");
    // Every command in its own submission.
    assert!(cut.3 > 300, "{} submissions", cut.3);
    assert_eq!((&whole.0, &whole.2), (&cut.0, &cut.2));
    assert!(whole.1 == cut.1, "weights differ");
    // A small step is not cut before anything has been measured.
    assert_eq!(trained(seed, LONGEST).3, whole.3);
}

/// Losses of batches one by one, and the same with as many in flight as allowed.
#[test]
fn evaluations_in_flight_give_the_losses_of_each_alone() {
    let config = config(&[]);
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let (engine, _) = engine(&config);
    let held_out: Vec<Batch> = (0..4).flat_map(|_| batches(&config, &mut random)).collect();
    let alone: Vec<u64> = held_out.iter().map(|batch| engine.evaluate(batch).unwrap().to_bits()).collect();
    assert_eq!(in_flight(&engine, &held_out), alone);
    assert!(alone.windows(2).any(|pair| pair[0] != pair[1]), "the batches differ");
}

fn in_flight(engine: &Engine, held_out: &[Batch]) -> Vec<u64> {
    let mut losses = Vec::new();
    let mut most = 0;
    let mut under_way = 0;
    for batch in held_out {
        while !engine.ready_to_evaluate() {
            losses.push(engine.take_evaluation(true).unwrap().unwrap().to_bits());
            under_way -= 1;
        }
        engine.begin_evaluation(batch).unwrap();
        under_way += 1;
        most = most.max(under_way);
    }
    while let Some(loss) = engine.take_evaluation(true).unwrap() {
        losses.push(loss.to_bits());
    }
    assert!(most > 1, "each waits for the one before");
    losses
}
