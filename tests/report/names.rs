//! Names from files are treated as text wherever they are printed.

use std::fs;

use normfree::fault::{Fault, Kind};
use normfree::observe::quantities::EVAL;
use normfree::observe::record::Eval;
use normfree::report::comparison::Comparison;
use normfree::report::outcome::outcomes;
use normfree::report::run::RunData;
use normfree::report::stats::Reference;
use normfree::report::study::{FILE, Study, StudyRun};

use super::study::{CONFIGURATIONS, Size, write_run};
use crate::cli::{Place, shown};

/// Names that a study or a folder may have, each of which would have an effect in some format.
const NAMES: [&str; 8] = [
    "=HYPERLINK(\"http://x\")",
    "+1+cmd|' /c calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "[2cm] *x",
    "*bold*",
    "<img src=x onerror=alert(1)>[a](javascript:b)",
    "\x1b]0;title\x07\x1b[2J\u{202e}x",
];

fn named() -> Comparison {
    let run = |(index, name): (usize, &&str)| {
        let dir = format!("runs/{index}").into();
        let mut run = RunData { name: (*name).to_owned(), dir, ..RunData::default() };
        run.log.push(&EVAL, 9, &Eval::new(9, 2.0 - 0.1 * index as f64).values());
        run
    };
    Comparison::new(NAMES.iter().enumerate().map(run).collect(), None)
}

#[test]
fn tables_are_safe_where_people_open_them() {
    let outcomes = outcomes(&named(), Reference::ObservedMax).unwrap();
    // CSV: no cell is a formula, and negative numbers are numbers.
    let csv = outcomes.csv();
    let cells = |line: &str| -> Vec<String> {
        let (mut cells, mut quoted) = (vec![String::new()], false);
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(String::new()),
                c => cells.last_mut().unwrap().push(c),
            }
        }
        cells
    };
    let mut negative = 0;
    for line in csv.lines().skip(1) {
        for cell in cells(line) {
            let acts = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
            assert!(!acts || cell.parse::<f64>().is_ok(), "{cell:?} is a formula in {line}");
            negative += usize::from(cell.starts_with('-'));
        }
    }
    assert_eq!(negative, 7, "a change is negative of every run but the first: {csv}");
    // LaTeX: no option follows the end of a row or a rule.
    let latex = outcomes.table().latex();
    for (index, line) in latex.lines().enumerate() {
        assert!(!line.trim_start().starts_with(['[', '*']), "line {index} of {latex}");
    }
    assert!(latex.contains("{}[2cm] *x &") && latex.contains("{}*bold* &"), "{latex}");
    // Markdown: a name adds no tag, no link, no emphasis.
    let markdown = outcomes.table().markdown();
    assert!(
        !markdown.contains("<img") && !markdown.contains("[a](") && !markdown.contains(" *bold"),
        "{markdown}"
    );
    assert!(markdown.contains("| &lt;img src=x onerror=alert(1)&gt;[a\\](javascript:b) |"), "{markdown}");
    // A terminal, and all formats: no control characters.
    for text in [outcomes.table().plain(), latex, markdown] {
        assert!(!text.contains(['\x1b', '\x07', '\u{202e}']), "{text:?}");
    }
    assert!(outcomes.table().plain().contains("\\x1b]0;title\\x07\\x1b[2J\\u{202e}x"));
}

#[test]
fn a_fault_shows_the_name_that_it_is_about() {
    let fault = Fault::new(Kind::Data, "a \x1b[2J").at("b\n\x1b[31m").found("c\u{9b}1m").remedy("d\r");
    assert_eq!(fault.to_string(), "a \\x1b[2J, at b\\n\\x1b[31m: found c\\u{9b}1m; d\\r");
}

/// The real program, on a study whose labels and folders are such names.
#[cfg(unix)]
#[test]
fn no_escape_byte_of_a_name_reaches_a_terminal() {
    let place = Place::new();
    let evil = "st\x1b[31mudy\x07";
    let study = place.path(evil);
    let size = Size { layers: 1, heads: 2, steps: 12, every: 4 };
    let mut runs = Vec::new();
    for (index, name) in NAMES.iter().enumerate() {
        let folder = format!("run{index}\x1b[5m");
        if index > 0 {
            write_run(&study.join(&folder), &CONFIGURATIONS[index % 6], 1, size);
        }
        let (configuration, label) = (format!("c{index}"), (*name).to_owned());
        runs.push(StudyRun { configuration, label, seed: 1, folder: folder.into(), baseline: None });
    }
    let study_file = Study { name: evil.to_owned(), baseline: "c1".to_owned(), runs };
    fs::write(study.join(FILE), serde_json::to_string(&study_file).unwrap()).unwrap();
    for words in [
        vec!["plot", evil],
        vec!["report", evil],
        vec!["export", evil, "--parquet", evil],
        vec!["plot", evil, "--difference", "no\x1b[2J", "such"],
        vec!["plot", "no\x1b[2J"],
        vec!["eval", evil],
        vec!["sample", evil],
        vec!["train", "tiny.toml", "--set", "data.path=no\x1b[2J", "--run", evil],
        vec!["study", "no\x1b[2J.toml"],
        vec!["prepare", "no\x1b[2J", "--out", evil],
    ] {
        let output = place.command(&words).output().unwrap();
        for bytes in [&output.stdout, &output.stderr] {
            assert!(!bytes.iter().any(|byte| matches!(byte, 0x1b | 0x07)), "{words:?}: {}", shown(&output));
        }
        assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{words:?} says nothing");
    }
    for file in ["table.md", "table.tex", "heatmap.svg", "report.html"] {
        let text = fs::read_to_string(study.join(file)).unwrap();
        assert!(!text.contains(['\x1b', '\x07', '\u{202e}']), "{file}");
    }
}
