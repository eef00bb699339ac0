//! A device is tried in a separate process before it is opened. Here that process is a planted script that ends in the ways
//! in which a driver may end it.

use crate::cli::Place;
use crate::ops::check::check_case;
use crate::support::open;
use normfree::device::Device;
use normfree::fault::Kind;
use normfree::gpu::{Gpu, OpenOptions, Prober};
use normfree::ops::CASES;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder with a program that ends in a certain way, and with what it leaves behind.
struct Planted {
    folder: TempDir,
    options: OpenOptions,
}

impl Planted {
    fn new(script: &str, limit: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("prober");
        fs::write(&program, format!("#!/bin/sh\necho started >> \"$0.log\"\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let prober = Prober {
            program,
            limit: Duration::from_secs_f64(limit),
            folder: Some(folder.path().join("cache")),
        };
        let options = OpenOptions { prober: Some(prober), ..OpenOptions::default() };
        Self { folder, options }
    }

    fn open(&self) -> Device {
        open(&self.options)
    }

    /// How often the program was started.
    fn starts(&self) -> usize {
        fs::read_to_string(self.folder.path().join("prober.log")).map_or(0, |log| log.lines().count())
    }
}

/// The attempts recorded in a cache folder.
fn kept(folder: &Path) -> PathBuf {
    let mut found = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("probe-"));
    let path = found.next().expect("something is kept");
    assert_eq!(found.next(), None);
    path
}

/// The device computes correctly with its plain kernels.
fn computes_without_subgroups(gpu: &Device) {
    assert_eq!((gpu.traits().lanes, gpu.traits().cooperative), (0, 0));
    assert_eq!(gpu.description().lanes, Some(0));
    let (_, cases) = CASES.iter().find(|(stem, _)| *stem == "layer_norm").unwrap();
    check_case(gpu, &cases(1)[0]);
}

#[test]
fn a_driver_that_crashes_hangs_or_lies_is_used_without_its_subgroups() {
    assert!(
        open(&OpenOptions::default()).traits().lanes > 0,
        "a driver without subgroups shows nothing here"
    );
    for (script, how) in [
        ("echo trying; echo opened; kill -ABRT $$", "crashed (signal 6)"),
        ("echo trying; echo opened; sleep 300", "did not return within 2 s"),
        ("echo trying; echo opened; echo 7 lanes", "gave no intelligible answer"),
        ("echo trying; echo opened; exit 101", "ended the process with code 101"),
    ] {
        let planted = Planted::new(script, 2.0);
        let began = Instant::now();
        let gpu = planted.open();
        assert!(began.elapsed() < Duration::from_secs(30), "{script}");
        let remark = gpu.remarks().join("; ");
        assert_eq!(gpu.remarks().len(), 1, "{remark}");
        let file = kept(&planted.folder.path().join("cache"));
        let again = format!("delete {} to try it again", file.display());
        for part in ["subgroups and matrix units are not used", how, &again] {
            assert!(remark.contains(part), "`{part}` is missing in {remark}");
        }
        computes_without_subgroups(&gpu);
        // The next start knows this, and does not try again.
        let gpu = planted.open();
        assert_eq!((gpu.remarks().join("; "), planted.starts()), (remark, 1));
        computes_without_subgroups(&gpu);
    }
}

#[test]
fn an_unused_feature_is_tried_again_after_its_file_is_deleted() {
    let planted = Planted::new("echo trying; echo opened; kill -SEGV $$", 20.0);
    assert_eq!(planted.open().traits().lanes, 0);
    let Prober { program, folder, .. } = planted.options.prober.as_ref().unwrap();
    fs::write(program, "#!/bin/sh\nprintf 'trying\\nopened\\nsubgroups\\nmatrix units\\n'\n").unwrap();
    assert_eq!(planted.open().traits().lanes, 0);
    fs::remove_file(kept(folder.as_ref().unwrap())).unwrap();
    let gpu = planted.open();
    assert_eq!(gpu.remarks(), [""; 0]);
    assert_eq!(gpu.traits(), open(&OpenOptions::default()).traits());
}

#[test]
fn a_device_that_cannot_be_opened_is_refused() {
    let planted = Planted::new("echo trying; kill -SEGV $$", 20.0);
    let Err(fault) = Gpu::open(&planted.options) else { panic!("it was opened") };
    assert_eq!(fault.kind, Kind::Device);
    for part in ["cannot be opened", "crashed (signal 11)", "--device", "try it again"] {
        assert!(fault.to_string().contains(part), "{fault}");
    }
}

/// The same as without a probe: nothing is known to be wrong, and nothing is reported as tried.
#[test]
fn a_prober_that_cannot_be_started_changes_nothing() {
    let mut planted = Planted::new("", 20.0);
    let prober = planted.options.prober.as_mut().unwrap();
    prober.program = planted.folder.path().join("missing");
    let gpu = planted.open();
    assert_eq!((gpu.remarks().len(), gpu.traits()), (0, open(&OpenOptions::default()).traits()));
    assert!(!planted.folder.path().join("cache").exists());
    // Another program: a program loader, which the system may name in place of this one.
    for script in ["exit 127", "kill -SEGV $$", "echo opened; exit 1"] {
        let planted = Planted::new(script, 20.0);
        assert_eq!((planted.open().remarks().len(), planted.starts()), (0, 1));
        assert!(!planted.folder.path().join("cache").exists());
    }
}

/// The program starts itself, once for each device.
#[test]
fn the_program_tries_a_device_by_itself() {
    let place = Place::new().on_driver();
    let lanes = open(&OpenOptions::default()).traits().lanes;
    let seen = place.succeeds(&["devices"]);
    assert!(seen.contains(&format!("{lanes} lanes seen")), "{seen}");
    let file = kept(&place.path("cache"));
    let mut text: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(text["stumble"], serde_json::Value::Null, "{text}");
    // As if it had not returned.
    text["stumble"] = serde_json::json!({ "at": "subgroups", "how": "crashed (signal 6)" });
    fs::write(&file, text.to_string()).unwrap();
    let output = place.command(&["verify", "--op", "cast"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("are not used: tried"), "{told}");
    assert!(told.contains(&format!("delete {}", file.display())), "{told}");
    let seen = place.succeeds(&["devices"]);
    assert!(seen.contains("are not used: tried") && !seen.contains("lanes seen"), "{seen}");
    // Nothing is known about another driver.
    text["driver"] = "another".into();
    fs::write(&file, text.to_string()).unwrap();
    assert!(place.succeeds(&["devices"]).contains(&format!("{lanes} lanes seen")));
}

/// Printed by the process that the next test starts, before the width that it computes with.
const COMPUTES: &str = "computes with ";
/// The width is chosen when a process creates its first instance, so each choice takes a process: this test once more.
const WIDTH: &str = "LP_NATIVE_VECTOR_WIDTH";

/// This covers more than the attempt to open a device: the width of Mesa's software driver is timed before that.
#[test]
fn a_driver_that_crashes_at_a_width_is_used_at_the_other() {
    const PROBER: &str = "NORMFREE_TEST_PROBER";
    if let Some(program) = std::env::var_os(PROBER) {
        let prober = Prober { program: program.into(), limit: Duration::from_secs(20), folder: None };
        open(&OpenOptions { prober: Some(prober), ..OpenOptions::default() });
        println!("\n{COMPUTES}{}", std::env::var(WIDTH).unwrap_or_default());
        return;
    }
    let info = open(&OpenOptions::default()).description().driver.clone();
    let wide = cfg!(target_arch = "x86_64")
        && std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" avx512f "));
    if !wide || !info.contains("llvmpipe") {
        println!("no width is chosen on this CPU with {info}: nothing is planted");
        return;
    }
    let all = "printf 'trying\\nopened\\nsubgroups\\nmatrix units\\n'";
    for (crashing, taken) in [("512", "256"), ("256", "512"), ("none", "512")] {
        let at = format!(
            "[ \"$2\" = --product ] || {{ {all}; exit; }}; echo trying; [ ${WIDTH} = {crashing} ] && kill -SEGV $$; echo 0.5"
        );
        let planted = Planted::new(&at, 20.0);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "driver::opening::a_driver_that_crashes_at_a_width_is_used_at_the_other",
            "--nocapture",
        ]);
        command.env(PROBER, &planted.options.prober.as_ref().unwrap().program).env_remove(WIDTH);
        let output = command.env("NORMFREE_CACHE", planted.folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains(&format!("{COMPUTES}{taken}")),
            "{crashing}: {output:?}"
        );
        // Two more timings at the other width, and the probe of the device.
        assert_eq!(planted.starts(), if crashing == "none" { 7 } else { 5 }, "{crashing}");
        let kept = fs::read_to_string(planted.folder.path().join("vector-widths.json")).unwrap();
        assert!(kept.contains(taken), "{kept}");
    }
}
