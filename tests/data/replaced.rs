//! New data replaces old data as a whole: two processes, kills, a full disk, readers in the middle.

use super::*;
use normfree::data::tokenizer_path;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The four files of a folder as a reader finds them, in a fixed order.
fn read(folder: &Path) -> Vec<Vec<u8>> {
    loop {
        let (meta, before) = (Meta::read(folder).unwrap().expect("data"), tokenizer_path(folder));
        let corpus = match Corpus::open(folder, meta.chunk, meta.vocab_size) {
            Ok(corpus) => corpus,
            // The vocabulary is still that of the old data.
            Err(fault) if fault.to_string().contains("different vocabularies") => continue,
            Err(fault) => panic!("{fault}"),
        };
        // These three reads are not atomic: the data may be replaced between them.
        if corpus.meta.as_ref() != Some(&meta) || tokenizer_path(folder) != before {
            continue;
        }
        let bytes = |path: &Path| fs::read(path).ok();
        let files = [bytes(corpus.train.path()), bytes(corpus.valid.path()), bytes(&before)];
        if let [Some(train), Some(valid), Some(tokenizer)] = files
            && Meta::read(folder).unwrap().as_ref() == Some(&meta)
        {
            return vec![serde_json::to_vec(&meta).unwrap(), train, valid, tokenizer];
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

const FOUR: [&str; 4] = ["meta.json", "tokenizer.json", "train.bin", "valid.bin"];

/// Two preparations that differ in every file, and the results of each.
struct Pair {
    _source: TempDir,
    options: [PrepareOptions; 2],
    files: [Vec<Vec<u8>>; 2],
}

fn pair(out: &TempDir) -> Pair {
    let source = corpus(9);
    let aside = TempDir::new().unwrap();
    let mut options = [options(&source, out), options(&source, out)];
    options[1].vocab_size = 300;
    options[1].seed = 2;
    let files = [0, 1].map(|which| {
        let mut aside_options = options[which].clone();
        aside_options.out = aside.path().join(which.to_string());
        run(&aside_options).unwrap();
        read(&aside_options.out)
    });
    for (one, other) in files[0].iter().zip(&files[1]) {
        assert_ne!(one, other);
    }
    Pair { _source: source, options, files }
}

#[test]
fn a_second_one_is_refused_by_name_and_changes_nothing() {
    let out = TempDir::new().unwrap();
    let Pair { options, files, _source } = pair(&out);
    run(&options[0]).unwrap();
    let mut refused = 0;
    let result = prepare(&options[1], &mut |progress| {
        if progress.stage != Stage::Encode || progress.done < progress.total {
            return;
        }
        // The new files are being written.
        let before = names(&options[0].out);
        assert!(before.iter().any(|name| name.starts_with(".prepare-")), "{before:?}");
        let id = format!("process {} preparing", std::process::id());
        for change in [
            (|_| {}) as fn(&mut PrepareOptions),
            |second| second.replace = false,
            |second| second.sources = vec!["/no/such/place".to_owned()],
        ] {
            let mut second = options[0].clone();
            change(&mut second);
            let fault = run(&second).unwrap_err();
            assert_eq!(fault.exit_code(), 6);
            assert_fault(Err::<(), _>(fault), Kind::RunFolder, &["in use", &id]);
            refused += 1;
        }
        assert_eq!(names(&options[0].out), before);
        assert_eq!(read(&options[0].out), files[0]);
    });
    result.unwrap();
    assert!(refused >= 3);
    assert_eq!(read(&options[1].out), files[1]);
    assert_eq!(names(&options[1].out), FOUR);
}

#[test]
fn impossible_requests_delete_nothing() {
    let out = TempDir::new().unwrap();
    let Pair { options: [good, _], _source, .. } = pair(&out);
    run(&good).unwrap();
    // Leftovers of a killed process.
    for name in [".prepare-Ab3.part/train.bin", ".prepare-xyz.part"] {
        write(&good.out, name, "half");
    }
    let before = names(&good.out);
    let tokenizer = out.path().join("no_tokenizer.json");
    let changes: [(Change<PrepareOptions>, Kind); 6] = [
        (&|o| o.replace = false, Kind::Usage),
        (&|o| o.chunk = 1, Kind::Usage),
        (&|o| o.sources = vec!["/no/such/place".to_owned()], Kind::Data),
        (&|o| o.extensions = vec!["none".to_owned()], Kind::Data),
        (&|o| o.tokenizer = Some(tokenizer.clone()), Kind::Io),
        (&|o| o.sources = vec![o.out.display().to_string()], Kind::Usage),
    ];
    for (change, kind) in changes {
        let mut options = good.clone();
        change(&mut options);
        assert_fault(run(&options), kind, &[]);
        assert_eq!(names(&good.out), before);
    }
    run(&good).unwrap();
    assert_eq!(names(&good.out), FOUR);
    // Another user's folder stays as it is, without a lock.
    let other = TempDir::new().unwrap();
    write(other.path(), "letter.txt", "dear");
    write(other.path(), ".prepare-x.part", "mine");
    let options = PrepareOptions { out: other.path().to_owned(), ..good };
    assert_fault(run(&options), Kind::Usage, &["letter.txt"]);
    assert_eq!(names(other.path()), [".prepare-x.part", "letter.txt"]);
}

#[test]
fn committed_data_is_used_and_moves_into_place_with_the_next_call() {
    let out = TempDir::new().unwrap();
    let Pair { options, files, _source } = pair(&out);
    let folder = &options[0].out;
    let aside = out.path().join("aside");
    run(&PrepareOptions { out: aside.clone(), ..options[1].clone() }).unwrap();
    let order = ["tokenizer.json", "train.bin", "valid.bin", "meta.json"];
    // Killed after this many of the new files had moved up.
    for moved in 0..=order.len() {
        for with_old in [true, false] {
            let _ = fs::remove_dir_all(folder);
            fs::create_dir_all(folder.join(".prepared")).unwrap();
            if with_old {
                fs::remove_dir(folder.join(".prepared")).unwrap();
                run(&options[0]).unwrap();
                fs::create_dir(folder.join(".prepared")).unwrap();
            }
            for (place, name) in order.iter().enumerate() {
                let to = if place < moved { folder.join(name) } else { folder.join(".prepared").join(name) };
                fs::copy(aside.join(name), to).unwrap();
            }
            assert_eq!(read(folder), files[1], "{moved} {with_old}");
            let mut refused = options[0].clone();
            refused.replace = false;
            assert_fault(run(&refused), Kind::Usage, &["data prepared from"]);
            assert_eq!(read(folder), files[1]);
            run(&options[0]).unwrap();
            assert_eq!(
                (read(folder), names(folder).as_slice()),
                (files[0].clone(), &FOUR.map(String::from)[..])
            );
        }
    }
}

#[test]
fn a_reader_in_the_middle_sees_old_or_new() {
    let out = TempDir::new().unwrap();
    let Pair { options, files, _source } = pair(&out);
    run(&options[0]).unwrap();
    let done = AtomicBool::new(false);
    let mut seen = [0, 0];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..40 {
                run(&options[round % 2]).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let found = read(&options[0].out);
            let which = files.iter().position(|files| *files == found).expect("old or new, not some of both");
            seen[which] += 1;
        }
    });
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

/// The command for these options.
fn command(options: &PrepareOptions) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_normfree"));
    command.args(["-q", "prepare", "--replace"]).args(&options.sources).arg("--out").arg(&options.out);
    let numbers = [
        ("--vocab-size", options.vocab_size.to_string()),
        ("--chunk", options.chunk.to_string()),
        ("--valid-share", options.valid_share.to_string()),
        ("--seed", options.seed.to_string()),
    ];
    for (name, value) in numbers {
        command.arg(name).arg(value);
    }
    command.stdout(Stdio::null());
    command
}

#[test]
fn a_kill_at_any_moment_leaves_old_or_new() {
    let seed = crate::support::seed();
    let out = TempDir::new().unwrap();
    let Pair { options, files, _source } = pair(&out);
    let began = Instant::now();
    assert!(command(&options[0]).status().unwrap().success());
    let whole = began.elapsed();
    assert_eq!(read(&options[0].out), files[0]);
    let draw = Permutation::new(1 << 20, seed, 0);
    let (mut killed, mut before) = (0, 0);
    for round in 0..60 {
        let which = 1 - before;
        let mut child = command(&options[which]).spawn().unwrap();
        // Up to a tenth longer than the command takes, so that some finish.
        std::thread::sleep(whole.mul_f64(1.1 * draw.apply(round) as f64 / (1 << 20) as f64));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        let found = read(&options[0].out);
        before = files.iter().position(|files| *files == found).expect("old or new, not some of both");
    }
    assert!(killed > 5, "{killed} of 60");
    run(&options[0]).unwrap();
    assert_eq!(names(&options[0].out), FOUR);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_the_old_data_whole() {
    let folder = TempDir::new().unwrap();
    let mut random = 1u64;
    let mut words = |count: usize| -> String {
        let word = |_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{:x}{}", random >> 40, if random >> 61 == 0 { ".\n" } else { " " })
        };
        (0..count).map(word).collect()
    };
    write(folder.path(), "small.txt", words(20_000));
    write(folder.path(), "large.txt", words(400_000));
    fs::create_dir(folder.path().join("disk")).unwrap();
    // The disk has space for the small data twice, but not for the large beside it.
    let script = "cd \"$FOLDER\" && P=\"$NF -q prepare --vocab-size 300 --chunk 32\" && \
        $P small.txt --out disk/data && cp -r disk/data saved && echo begun && \
        { $P large.txt --out disk/data --replace; echo rc=$?; diff -r disk/data saved && ls -A disk/data; \
        $P small.txt --out disk/data --replace --seed 7 && echo again; }";
    let mount = format!("mount -t tmpfs -o size=1m tmpfs \"$FOLDER/disk\" && {script}");
    let limit = format!("ulimit -f 1000 && trap '' XFSZ && {script}");
    let ways: [(&[&str], &str); 3] =
        [(&["unshare", "-m"], &mount), (&["unshare", "-r", "-m"], &mount), (&["env"], &limit)];
    for (way, script) in ways {
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).args(["sh", "-c", script]);
        command.env("FOLDER", folder.path()).env("NF", env!("CARGO_BIN_EXE_normfree"));
        let Ok(output) = command.output() else { continue };
        let said = String::from_utf8_lossy(&output.stdout);
        if said.contains("begun") {
            let erred = String::from_utf8_lossy(&output.stderr);
            println!("with {way:?}: {erred}");
            let end = said.split("begun\n").nth(1).unwrap();
            assert!(
                end.starts_with("rc=9\nmeta.json\ntokenizer.json\ntrain.bin\nvalid.bin\n"),
                "{said}\n{erred}"
            );
            assert!(end.ends_with("again\n"), "{said}\n{erred}");
            return;
        }
    }
    panic!("no way to make a small disk here: neither a mount nor a limit on files");
}

#[test]
fn two_processes_at_once_are_one_and_a_refusal() {
    let out = TempDir::new().unwrap();
    let source = corpus(60);
    let mut options = options(&source, &out);
    options.vocab_size = 4000;
    let first = command(&options).stderr(Stdio::piped()).spawn().unwrap();
    let lock: PathBuf = options.out.join(".prepare.lock");
    let began = Instant::now();
    while !fs::read_to_string(&lock).is_ok_and(|id| id.trim() == first.id().to_string()) {
        assert!(began.elapsed() < Duration::from_secs(60), "no lock");
        std::thread::yield_now();
    }
    let second = command(&options).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let first_id = format!("process {} preparing", first.id());
    assert!(second.status.code() == Some(6) && said.contains(&first_id), "{:?} {said}", second.status);
    assert!(first.wait_with_output().unwrap().status.success());
    assert_eq!(names(&options.out), FOUR);
}
