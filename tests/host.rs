//! The CPU as a device: every case of every op, and whole runs, with the same bits on any number of threads.

use crate::cli::{Place, assert_same};
use crate::support::seed;
use normfree::device::Device;
use normfree::host::Host;
use normfree::verify::{all_cases, check, on_device};

/// How many threads compute.
const THREADS: [usize; 3] = [1, 2, 5];

#[test]
fn every_case_agrees_with_f64_on_any_number_of_threads() {
    let devices = THREADS.map(|threads| Device::from(Host::open(threads).unwrap()));
    let mut failures = Vec::new();
    for case in all_cases(seed()).iter().filter(|case| !case.needs_f16()) {
        let outcome = check(&devices[0], case).unwrap();
        if !outcome.passed() {
            let worst = (outcome.worst, outcome.bound);
            failures.push(format!("{} {}: {}, {worst:?}", case.stem, case.label, outcome.place));
        }
        let [alone, others @ ..] = devices.each_ref().map(|device| on_device(device, case).unwrap());
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        for other in &others {
            let differ = alone.iter().find(|(tensor, values)| bits(values) != bits(&other[tensor]));
            failures.extend(differ.map(|(tensor, _)| {
                format!("{} {}: {} has other bits", case.stem, case.label, case.tape.info(*tensor).name)
            }));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Training, evaluation, checkpoints and resuming on the CPU, without a driver.
#[test]
fn a_run_has_the_same_bytes_on_any_number_of_threads() {
    let place = Place::with_data();
    for (run, threads) in [("one", "1"), ("two", "2"), ("five", "5")] {
        place.succeeds(&["train", "tiny.toml", "--run", run, "--device", "cpu", "--threads", threads]);
    }
    assert_same(&place.path("one"), &place.path("two"));
    assert_same(&place.path("one"), &place.path("five"));
}

#[test]
fn options_that_could_do_nothing_are_refused() {
    let place = Place::new();
    place.fails(&["card", "--device", "cpu"], 2, &["--device cpu", "choose an adapter"]);
    assert!(!place.path("card").exists(), "a card was begun");
    place.fails(&["verify", "--device", "cpu", "--backend", "vulkan"], 2, &["--backend", "omit it"]);
    place.on_driver().fails(&["verify", "--threads", "2"], 2, &["--threads", "--device cpu"]);
}
