//! What a command computes on if nothing names a device: the best GPU, else the CPU; a software driver only by name.

use super::{Place, assert_same, refused, shown};
use serde_json::Value;
use std::process::Command;

/// A command on a machine as it is, or on one without a driver.
fn command(place: &Place, arguments: &[&str], driver: bool) -> Command {
    let mut command = place.command(arguments);
    command.env_remove("NORMFREE_DEVICE");
    if !driver {
        command
            .envs(["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].map(|name| (name, place.path("no-driver.json"))));
    }
    command
}

fn told(mut command: Command) -> (String, String) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// The devices listed, and the kind of the one that is taken.
fn taken(command: Command) -> (Vec<Value>, String) {
    let (list, _) = told(command);
    let listed: Vec<Value> =
        serde_json::Deserializer::from_str(&list).into_iter().collect::<Result<_, _>>().unwrap();
    let taken: Vec<&Value> = listed.iter().filter(|device| device["taken"] == true).collect();
    assert_eq!(taken.len(), 1, "{list}");
    let kind = taken[0]["kind"].as_str().unwrap().to_owned();
    (listed, kind)
}

#[test]
fn a_software_driver_is_used_only_if_it_is_named() {
    let place = Place::new();
    let devices = |more: &[&str]| taken(command(&place, &[&["devices", "--json"], more].concat(), true));
    let (listed, kind) = devices(&[]);
    let is_gpu = |kind: &str| !["software", "cpu"].contains(&kind);
    let hardware = listed.iter().any(|device| is_gpu(device["kind"].as_str().unwrap()));
    assert_eq!(is_gpu(&kind), hardware, "{kind} of {listed:?}");
    assert_ne!(kind, "software");
    let adapter = devices(&["--device", "adapter"]).1;
    assert_eq!(adapter, if hardware { kind } else { "software".to_owned() });
    assert_eq!(devices(&["--device", "0"]).1, listed[0]["kind"].as_str().unwrap());
    assert_eq!(devices(&["--device", "cpu"]).1, "cpu");
    // A backend is a request for one of its adapters.
    if cfg!(target_os = "linux") {
        assert_eq!(devices(&["--backend", "vulkan"]).1, adapter);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_driver_everything_runs_on_the_cpu() {
    let place = Place::with_data();
    let (listed, kind) = taken(command(&place, &["devices", "--json"], false));
    assert_eq!((listed.len(), kind.as_str()), (1, "cpu"));
    let (_, note) = told(command(&place, &["train", "tiny.toml", "--run", "default"], false));
    assert_eq!(note.matches("there is no GPU with a driver; computing on the CPU: ").count(), 1, "{note}");
    place.succeeds(&["train", "tiny.toml", "--run", "named", "--device", "cpu"]);
    assert_same(&place.path("default"), &place.path("named"));
    let environment: Value =
        serde_json::from_slice(&std::fs::read(place.path("default/env.json")).unwrap()).unwrap();
    assert_eq!(environment["adapter"]["kind"], "cpu", "{environment}");
    for arguments in [&["verify", "--device", "adapter"][..], &["devices", "--device", "0"]] {
        let output = command(&place, arguments, false).output().unwrap();
        refused(&output, 7, &["no GPU adapter was found", "--device cpu"]);
    }
}
