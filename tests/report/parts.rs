//! One study from several folders, verdicts on the page, pictures for print.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use normfree::report::comparison::Comparison;
use normfree::report::figures::{Options, figures};
use normfree::report::page::page;
use normfree::report::study::FILE;
use normfree::report::table::Table;
use normfree::report::verdicts::{Claimed, Verdicts};

use super::study::{CONFIGURATIONS, Size, write};

const SIZE: Size = Size { layers: 4, heads: 4, steps: 200, every: 20 };

/// A study of which two machines trained one seed each.
fn parts() -> (tempfile::TempDir, [PathBuf; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name).join("study"));
    fs::create_dir_all(&one).unwrap();
    fs::create_dir_all(&other).unwrap();
    let study = write(&one, "A study", &CONFIGURATIONS[..4], &[1, 2], SIZE);
    fs::copy(one.join(FILE), other.join(FILE)).unwrap();
    for run in study.runs.iter().filter(|run| run.seed == 2) {
        fs::rename(one.join(&run.folder), other.join(&run.folder)).unwrap();
    }
    (folder, [one, other])
}

#[test]
fn the_folders_of_one_study_are_one_study() {
    let (_folder, [one, other]) = parts();
    let alone = Comparison::load(&[&one]).unwrap();
    assert_eq!((alone.runs.len(), alone.missing.len()), (4, 4));
    let both = Comparison::load(&[&one, &other]).unwrap();
    assert_eq!((both.title.as_str(), both.runs.len(), both.missing.len()), ("A study", 8, 0));
    let seeds: Vec<usize> = both.groups.iter().map(|group| group.runs.len()).collect();
    assert_eq!(seeds, [2; 4]);
    let names: Vec<&str> = both.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["SM+LN+G", "SM+G", "SM+R", "SM+LeakyR(0.1)"]);
    assert_eq!(both.groups[both.baseline].name, "SM+LN+G");

    // A run that was trained in both is in two studies.
    let copied = other.join("sm_r-seed1");
    fs::create_dir_all(&copied).unwrap();
    for file in ["metrics.jsonl", "config.toml", "env.json"] {
        fs::copy(one.join("sm_r-seed1").join(file), copied.join(file)).unwrap();
    }
    let two = Comparison::load(&[&one, &other]).unwrap();
    assert_eq!((two.title.as_str(), two.groups.len()), ("A study, A study", 8));
}

#[test]
fn a_configuration_keeps_its_colour_while_others_begin() {
    let (_folder, [one, _]) = parts();
    let styles = |comparison: &Comparison| -> Vec<(String, usize)> {
        comparison.groups.iter().map(|group| (group.name.clone(), group.style)).collect()
    };
    let whole = styles(&Comparison::load(&[&one]).unwrap());
    assert_eq!(whole.iter().map(|of| of.1).collect::<Vec<_>>(), [0, 1, 2, 3]);
    fs::remove_dir_all(one.join("sm_g-seed1")).unwrap();
    let fewer = styles(&Comparison::load(&[&one]).unwrap());
    assert_eq!(fewer.len(), 3);
    assert!(fewer.iter().all(|of| whole.contains(of)), "{fewer:?}");
}

#[test]
fn verdicts_stand_on_the_page() {
    let (_folder, [one, _]) = parts();
    let comparison = Comparison::load(&[&one]).unwrap();
    assert!(!page(&comparison, &Options::default()).unwrap().contains("Verdicts on claims"));
    let claim = Claimed {
        text: "ReLU is better than GELU without <LayerNorm>".into(),
        source: "arXiv 2410.09637".into(),
        reported: "perplexity 3.17 against 3.50.".into(),
        found: vec!["SM+R 3.2, SM+G 3.5 (held-out loss): −0.3.".into()],
        verdict: "not decided at this size",
    };
    let table = Table {
        header: vec!["claim".into(), "p".into()],
        rows: vec![vec!["relu".into(), "0.010".into()]],
        notes: Vec::new(),
    };
    let verdicts = Some(Verdicts { claims: vec![claim], table, picture: None });
    let html = page(&comparison, &Options { verdicts, ..Options::default() }).unwrap();
    for words in [
        "<a href=\"#verdicts\">",
        "without &lt;LayerNorm&gt;",
        "reported: perplexity 3.17 against 3.50)",
        "Not decided at this size</span>. SM+R 3.2",
        "<td data-value=\"0.01\">0.010</td>",
    ] {
        assert!(html.contains(words), "{words}");
    }
}

#[test]
fn pictures_for_print_have_their_width_and_the_size_of_their_text() {
    let (_folder, [one, _]) = parts();
    let comparison = Comparison::load(&[&one]).unwrap();
    let inches = 5.5;
    let options = Options { width: Some(inches), ..Options::default() };
    for figure in figures(&comparison, &options).unwrap() {
        let picture = &figure.picture;
        assert_eq!(picture.printed, Some(inches), "{}", figure.stem);
        // Twelve pixels have eight points.
        let points = inches * 72.0 / picture.width * 12.0;
        assert!(points <= 8.01, "{}: {points}", figure.stem);
        assert!(points > 7.95, "{}: {points} points", figure.stem);
        super::assert_legible(picture);
        let svg = picture.svg();
        assert!(svg.contains(&format!("width=\"{inches}in\"")), "{}", &svg[..200]);
        let pdf = picture.pdf().unwrap();
        assert!(pdf.starts_with(b"%PDF") && pdf.len() < 400_000, "{}: {} bytes", figure.stem, pdf.len());
    }
}

#[test]
fn plot_writes_pictures_for_papers_and_slides() {
    let (folder, [one, _]) = parts();
    let out = folder.path().join("out");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_normfree"));
        command.arg("-q").arg("plot").arg(&one).arg("--out").arg(&out).args(arguments);
        command.output().unwrap()
    };
    let output = run(&["--width", "14cm"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| fs::read(out.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(read("heatmap.pdf").starts_with(b"%PDF"));
    assert!(read("heatmap_over_training.gif").starts_with(b"GIF89a"));
    // 300 dots to the inch.
    let png = read("loss.png");
    let width = u32::from_be_bytes(png[16..20].try_into().unwrap());
    assert!((1652..=1654).contains(&width), "{width} pixels");
    for (wrong, words) in [("5.5", "5.5in"), ("1in", "3 to 40"), ("wide", "number and its unit")] {
        let output = run(&["--width", wrong]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(words), "{told}");
    }
}
