//! Checkpoints in their run folder: whole or absent, the newest kept, damage detected.

use crate::layouts::gpt2 as layout;
use std::fs;
use std::path::Path;

use normfree::fault::Kind;
use normfree::train::checkpoint::{Checkpoint, Entry, Latest};
use normfree::train::run_folder::RunFolder;

use super::{Bias, STATES, Sample, contents, new_run, parameters};

fn names(run: &RunFolder) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(run.checkpoints())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn latest(run: &RunFolder) -> Latest {
    Checkpoint::latest(run).unwrap().expect("a checkpoint")
}

#[test]
fn come_back_bit_for_bit() {
    for (step, bias) in [(0, Bias::All), (7, Bias::QueryKey), (500, Bias::None)] {
        let (_folder, run) = new_run();
        assert!(Checkpoint::latest(&run).unwrap().is_none());
        let sample = Sample::new(parameters(step != 7, bias, step == 7), step);
        let path = sample.write(&run, 1).unwrap();
        assert_eq!(path, run.checkpoints().join(format!("step-{step:08}")));
        let found = latest(&run);
        assert!(found.skipped.is_empty());
        assert_eq!((found.checkpoint.path(), found.checkpoint.state()), (path.as_path(), &sample.state));
        sample.assert_is(&found.checkpoint);
        sample.assert_is(&Checkpoint::open(&path).unwrap());
    }
}

#[test]
fn can_be_read_one_tensor_at_a_time() {
    let (_folder, run) = new_run();
    let sample = Sample::of_step(3);
    let checkpoint = Checkpoint::open(&sample.write(&run, 1).unwrap()).unwrap();
    let mut model = checkpoint.model(&sample.layout).unwrap();
    let mut moments = checkpoint.states(&sample.layout, STATES).unwrap();
    let last = model.len() - 1;
    super::assert_same_bits(&[model.read(last).unwrap()], &sample.model[last..]);
    let second = moments.read(model.len() + last).unwrap();
    assert_eq!((second.name.as_str(), moments.len()), ("v.transformer.ln_f.bias", 2 * model.len()));
    assert!(
        second.data.iter().map(|v| v.to_bits()).eq(sample.moments[1][last].data.iter().map(|v| v.to_bits()))
    );
}

#[test]
fn the_same_state_gives_the_same_bytes() {
    let write = || {
        let (folder, run) = new_run();
        let path = Sample::of_step(4).write(&run, 1).unwrap();
        let files: Vec<_> = contents(&path).into_values().collect();
        drop(folder);
        files
    };
    assert!(write() == write());
}

#[test]
fn the_newest_are_kept() {
    let (_folder, run) = new_run();
    for step in [5, 10, 15, 20, 99_999_995, 100_000_000, 123_456_789] {
        Sample::of_step(step).write(&run, 3).unwrap();
        assert_eq!(latest(&run).checkpoint.state().step, step);
    }
    assert_eq!(names(&run), ["step-100000000", "step-123456789", "step-99999995"]);
    // Keeping none counts as keeping one: the new checkpoint stays.
    Sample::of_step(200_000_000).write(&run, 0).unwrap();
    assert_eq!(names(&run), ["step-200000000"]);
}

#[test]
fn a_step_is_written_again_in_its_place() {
    let (_folder, run) = new_run();
    let old = Sample::of_step(5);
    old.write(&run, 3).unwrap();
    let mut new = Sample::of_step(6);
    new.state.step = 5;
    new.write(&run, 3).unwrap();
    assert_eq!(names(&run), ["step-00000005"]);
    new.assert_is(&latest(&run).checkpoint);
}

#[test]
fn going_back_never_deletes_what_was_just_written() {
    let (_folder, run) = new_run();
    for step in [10, 20, 30] {
        Sample::of_step(step).write(&run, 3).unwrap();
    }
    fs::remove_file(run.checkpoints().join("step-00000030/model.safetensors")).unwrap();
    fs::write(run.checkpoints().join("step-00000020/trainer_state.json"), "{").unwrap();
    let found = latest(&run);
    assert_eq!((found.checkpoint.state().step, found.skipped.len()), (10, 2));
    Sample::of_step(15).write(&run, 1).unwrap();
    assert_eq!(latest(&run).checkpoint.state().step, 15);
    Sample::of_step(20).write(&run, 1).unwrap();
    Sample::of_step(30).write(&run, 1).unwrap();
    assert_eq!(names(&run), ["step-00000030"]);
    Sample::of_step(30).assert_is(&latest(&run).checkpoint);
}

/// Every kind of damage to the newest: the older one is used, and the message says why.
#[test]
fn a_damaged_checkpoint_is_skipped() {
    let change = |name: &'static str, how: fn(&mut Vec<u8>)| {
        move |folder: &Path| {
            let path = folder.join(name);
            let mut bytes = fs::read(&path).unwrap();
            how(&mut bytes);
            fs::write(path, bytes).unwrap();
        }
    };
    let remove = |name: &'static str| move |folder: &Path| fs::remove_file(folder.join(name)).unwrap();
    type Damage = Box<dyn Fn(&Path)>;
    let cases: [(Damage, &str); 9] = [
        (Box::new(remove("trainer_state.json")), "no trainer_state.json"),
        (Box::new(remove("model.safetensors")), "no model.safetensors"),
        (Box::new(remove("optimizer.safetensors")), "no optimizer.safetensors"),
        (
            Box::new(change("trainer_state.json", Vec::clear)),
            "trainer_state.json that cannot be understood: the end of the file within",
        ),
        (
            Box::new(change("trainer_state.json", |b| {
                *b = String::from_utf8_lossy(b).replace("\"step\": 2", "\"step\": 3").into_bytes();
            })),
            "trainer_state.json with other bytes than were written",
        ),
        (
            Box::new(change("trainer_state.json", |b| {
                *b = String::from_utf8_lossy(b).replace("data_cursor", "cursor").into_bytes();
            })),
            "trainer_state.json with other bytes than were written",
        ),
        (
            Box::new(change("optimizer.safetensors", |b| b.truncate(b.len() - 1))),
            "optimizer.safetensors with ",
        ),
        (
            Box::new(change("model.safetensors", |b| *b.last_mut().unwrap() ^= 1)),
            "model.safetensors with other bytes than were written",
        ),
        (
            Box::new(change("optimizer.safetensors", |b| {
                let middle = b.len() / 2;
                b[middle] ^= 0x80;
            })),
            "optimizer.safetensors with other bytes than were written",
        ),
    ];
    for (damage, expected) in cases {
        let (_folder, run) = new_run();
        Sample::of_step(1).write(&run, 2).unwrap();
        let newest = Sample::of_step(2).write(&run, 2).unwrap();
        damage(&newest);
        let found = latest(&run);
        Sample::of_step(1).assert_is(&found.checkpoint);
        let [fault] = found.skipped.as_slice() else { panic!("{:?}", found.skipped) };
        let message = fault.to_string();
        let begin = format!("the checkpoint is damaged, at {}: found {expected}", newest.display());
        assert!(message.starts_with(&begin), "{message}\nis not\n{begin}");
        assert_eq!(Checkpoint::open(&newest).unwrap_err(), *fault);

        // With the older one damaged too there is nothing to resume from, and both are named.
        fs::remove_file(run.checkpoints().join("step-00000001/model.safetensors")).unwrap();
        let fault = Checkpoint::latest(&run).unwrap_err();
        assert_eq!(fault.kind, Kind::Checkpoint);
        let message = fault.to_string();
        assert!(message.contains("found 2 damaged: ") && message.contains(expected), "{message}");
        assert!(message.contains("no model.safetensors"), "{message}");
    }
}

#[test]
fn a_checkpoint_of_another_version_is_not_skipped() {
    let (_folder, run) = new_run();
    Sample::of_step(1).write(&run, 2).unwrap();
    let state = Sample::of_step(2).write(&run, 2).unwrap().join("trainer_state.json");
    let text = fs::read_to_string(&state).unwrap();
    fs::write(&state, text.replace("\"format_version\": 3", "\"format_version\": 4")).unwrap();
    let fault = Checkpoint::latest(&run).unwrap_err();
    let expected = format!(
        "the checkpoint is of another version of normfree, at {}: found format_version 4, this program reads 3; \
         continue with the program that wrote it",
        state.display()
    );
    assert_eq!((fault.kind, fault.to_string()), (Kind::Checkpoint, expected));
}

#[test]
fn a_checkpoint_of_another_model_lists_the_differences() {
    let (_folder, run) = new_run();
    let checkpoint = Checkpoint::open(&Sample::of_step(1).write(&run, 2).unwrap()).unwrap();
    let other = layout(&parameters(false, Bias::QueryKey, true));
    let message = checkpoint.model(&other).unwrap_err().to_string();
    assert!(message.contains("found 8 extra ("), "{message}");
    assert!(message.contains("\n  extra: transformer.h.1.ln_2.weight [6]"), "{message}");
}

/// Whatever a kill can leave behind at any moment is removed, and nothing that is whole.
#[test]
fn leftovers_are_cleared() {
    let (_folder, run) = new_run();
    Sample::of_step(1).write(&run, 9).unwrap();
    Sample::of_step(2).write(&run, 9).unwrap();
    let folder = run.checkpoints();
    let copy = |from: &str, to: &str| {
        fs::create_dir(folder.join(to)).unwrap();
        for name in ["model.safetensors", "optimizer.safetensors", "trainer_state.json"] {
            fs::copy(folder.join(from).join(name), folder.join(to).join(name)).unwrap();
        }
    };
    copy("step-00000002", ".step-00000003.writing");
    fs::remove_file(folder.join(".step-00000003.writing/trainer_state.json")).unwrap();
    copy("step-00000001", ".step-00000000.removing");
    // Killed between the two renames that replace step 2, and after both of step 1's.
    fs::rename(folder.join("step-00000002"), folder.join(".step-00000002.replaced")).unwrap();
    copy("step-00000001", ".step-00000001.replaced");
    fs::write(run.path().join(".config.toml.abc.writing"), "half").unwrap();
    assert_eq!(latest(&run).checkpoint.state().step, 1);

    let path = run.path().to_owned();
    drop(run);
    let run = RunFolder::open(&path).unwrap();
    assert_eq!(names(&run), ["step-00000001", "step-00000002"]);
    assert!(!path.join(".config.toml.abc.writing").exists());
    assert_eq!(fs::read_to_string(run.config()).unwrap(), "[model]\n");
    Sample::of_step(2).assert_is(&latest(&run).checkpoint);
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_no_trace() {
    let (_folder, run) = new_run();
    Sample::of_step(1).write(&run, 1).unwrap();
    let before = contents(run.path());
    let mut sample = Sample::of_step(2);
    // The model is already written when the moments are found to be incomplete.
    sample.moments[1].pop();
    let fault = sample.write(&run, 1).unwrap_err();
    assert!(fault.to_string().contains("v.transformer.ln_f.bias"), "{fault}");
    assert!(contents(run.path()) == before);
    assert_eq!(names(&run), ["step-00000001"]);
}

#[test]
fn layouts_tell_what_is_in_the_file_alone() {
    let parameters = parameters(true, Bias::None, false);
    let layout = layout(&parameters);
    let zeros: Vec<&Entry> = layout.entries().iter().filter(|entry| entry.zero_columns > 0).collect();
    assert_eq!(zeros.len(), 2 * 4);
    assert!(zeros.iter().all(|entry| entry.held().is_none() && entry.name.ends_with(".bias")));
    assert_eq!(layout.held(), parameters);
}

/// A reader of a run in training finds a whole checkpoint, even if the one that it chose is pruned meanwhile.
#[test]
fn the_newest_is_found_while_older_ones_go() {
    let (_folder, run) = new_run();
    let first = Sample::of_step(1);
    first.write(&run, 1).unwrap();
    let look = RunFolder::read(run.path()).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in 2..150 {
                Sample::of_step(step).write(&run, 1).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let mut looks = 0;
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let (latest, mut weights) = Checkpoint::newest(&look, &first.layout).unwrap().unwrap();
            assert_eq!(latest.skipped, []);
            for index in 0..weights.len() {
                weights.read(index).unwrap();
            }
            looks += 1;
        }
        assert!(looks > 10, "{looks} looks");
    });
}
