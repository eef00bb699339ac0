//! Runs that do not learn: whatever they logged, the program finishes, the other runs stay readable, and nothing is claimed
//! about heads that were last measured before the divergence.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use normfree::draw::axes::nice_ticks;
use normfree::draw::picture::{Mark, Picture};
use normfree::observe::entropy::causal_ceiling;
use normfree::observe::quantities::LAYER_ENTROPY;
use normfree::report::comparison::Comparison;
use normfree::report::curves::loss_curves;
use normfree::report::figures::{Options, figures};
use normfree::report::layers::layer_curves;
use normfree::report::outcome::outcomes;
use normfree::report::page::page;
use normfree::report::run::RunData;
use normfree::report::stats::Reference;
use normfree::report::write_comparison;

use super::browser::Browser;
use super::{assert_legible, gallery, svg_texts, texts};
use crate::cli::Place;

/// A log line for each loss, and attention only at the first step.
fn log(losses: &[&str]) -> String {
    let mut log = String::from(
        "{\"kind\":\"attention\",\"step\":0,\"head_entropy\":[[3.8,3.79],[3.8,3.78]],\"layer_entropy\":[3.8,3.79],\"nonfinite\":[0,0]}\n",
    );
    for (step, loss) in losses.iter().enumerate() {
        log.push_str(&format!(
            "{{\"kind\":\"step\",\"step\":{step},\"loss\":{loss},\"lr\":0.001,\"grad_norm\":1.0,\"tokens\":{},\"tokens_per_s\":10.0}}\n",
            128 * (step + 1)
        ));
    }
    log
}

fn config(norm: &str, activation: &str) -> String {
    format!(
        "[model]\nnorm = \"{norm}\"\nactivation_function = \"{activation}\"\n[train]\nsequence_length = 128\n"
    )
}

fn run(folder: &Path, name: &str, (norm, activation): (&str, &str), log: &str) {
    let dir = folder.join(name);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.toml"), config(norm, activation)).unwrap();
    fs::write(dir.join("metrics.jsonl"), log).unwrap();
}

/// A run that learns for 60 steps, and evaluates.
fn learns() -> String {
    let losses: Vec<String> =
        (0..60).map(|k| format!("{:.4}", 4.0 + 2.0 * (-0.1 * f64::from(k)).exp())).collect();
    let mut log = log(&losses.iter().map(String::as_str).collect::<Vec<_>>());
    log.push_str(
        "{\"kind\":\"attention\",\"step\":59,\"head_entropy\":[[2.5,1.5],[2.0,0.5]],\"layer_entropy\":[2.0,1.25],\"nonfinite\":[0,0]}\n\
         {\"kind\":\"eval\",\"step\":60,\"loss\":4.05,\"ppl\":57.4}\n",
    );
    log
}

/// Must end within half a minute, or is killed.
#[track_caller]
fn ends(mut child: Child, what: &str) -> i32 {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("`{what}` does not end");
}

#[test]
fn plot_and_report_end_whatever_a_run_did() {
    let place = Place::new();
    let of = |name: &str| place.path(name);
    let values = ["6.0", "12000", "1e5", "-1e5", "1e308", "-1e308", "5e-324", "\"nan\"", "\"-inf\"", "0"];
    for (index, value) in values.iter().enumerate() {
        run(&of("."), &format!("all{index}"), ("none", "gelu"), &log(&[*value; 4]));
        run(&of("."), &format!("one{index}"), ("none", "relu"), &log(&["6.0", value, "5.5", "5.4"]));
    }
    // Numbers at the limits of what a log can hold, everywhere.
    let mut wild = log(&["6.0", "1e308", "\"nan\"", "-1e308", "4.9e-324"]);
    for (step, value) in ["1e-45", "3.4e38", "0", "\"inf\"", "-3.4e38"].iter().enumerate() {
        wild.push_str(&format!(
            "{{\"kind\":\"layers\",\"step\":{step},\"grad_norm\":[{value},1],\"zeros\":[{value},0.5],\"dead\":[{value},0],\
             \"residual_max\":[{value},3],\"residual_median\":[{value},1]}}\n\
             {{\"kind\":\"slopes\",\"step\":{step},\"slopes\":[{value},0.01]}}\n\
             {{\"kind\":\"attention\",\"step\":{step},\"head_entropy\":[[{value},1],[1,2]],\"layer_entropy\":[{value},1.5],\"nonfinite\":[0,0]}}\n"
        ));
    }
    wild.push_str("{\"kind\":\"eval\",\"step\":18446744073709551615,\"loss\":1e308,\"ppl\":\"inf\"}\n");
    wild.push_str(&log(&[]).replace("\"step\":0", "\"step\":18446744073709551615"));
    run(&of("."), "wild", ("layer_norm", "relu"), &wild);
    let long = "context = 9007199254740992\na = [[1.0, 2.0]]\nb = [[3e38, 1e-45]]\n";
    fs::write(of("long.toml"), long).unwrap();
    let mut cases: Vec<Vec<String>> = Vec::new();
    for index in 0..values.len() {
        cases.push(vec![format!("all{index}")]);
        cases.push(vec![format!("one{index}")]);
    }
    cases.push(vec!["wild".to_owned()]);
    cases.push(["long.toml", "--reference", "causal_ceiling"].map(str::to_owned).to_vec());
    cases.push((0..values.len()).flat_map(|index| [format!("all{index}"), format!("one{index}")]).collect());
    for case in cases {
        for (command, out) in [("plot", "figures"), ("report", "page.html")] {
            let mut words = vec!["-q", command];
            words.extend(case.iter().map(String::as_str));
            words.extend(["--out", out]);
            let child = place.command(&words).stdout(Stdio::null()).spawn().unwrap();
            assert_eq!(ends(child, &words.join(" ")), 0, "{}", words.join(" "));
        }
        for svg in fs::read_dir(of("figures")).unwrap().map(|entry| entry.unwrap().path()) {
            if svg.extension().is_some_and(|extension| extension == "svg") {
                let text = fs::read_to_string(&svg).unwrap();
                assert!(!text.contains("NaN,") && !text.contains("\"inf"), "{case:?}: {}", svg.display());
            }
        }
        fs::remove_dir_all(of("figures")).unwrap();
    }
}

#[test]
fn a_ceiling_is_the_sum_it_stands_for_at_every_length() {
    let sum = |context: usize| (1..=context).map(|i| (i as f64).ln()).sum::<f64>() / context as f64;
    for context in [1, 2, 3, 7, 16, 128, 1000, 4096, 100_000] {
        assert!((causal_ceiling(context) - sum(context)).abs() < 1e-11, "{context}");
    }
    assert_eq!(causal_ceiling(0), 0.0);
    // ln T! is T ln T − T + …, by Stirling.
    let long = 1usize << 53;
    assert!((causal_ceiling(long) - ((long as f64).ln() - 1.0)).abs() < 1e-9);
    assert!(causal_ceiling(usize::MAX).is_finite());
}

#[test]
fn axes_of_any_range_have_a_few_ticks() {
    let numbers =
        [0.0, 5e-324, 1e-320, 1e-300, 1e-9, 1.0, 2.0_f64.powi(53), 1e19, 1e300, f64::MAX, f64::INFINITY];
    let all = || numbers.iter().flat_map(|&number| [number, -number]).chain([f64::NAN]);
    for low in all() {
        for high in all() {
            for count in [0, 2, 8, 100] {
                let ticks = nice_ticks(low, high, count).0.len();
                assert!(ticks <= 2 * count.max(2) + 2, "{low} {high} {count}: {ticks} ticks");
            }
        }
    }
}

/// The height that a curve spans in a picture.
fn spanned(picture: &Picture, points: usize) -> f64 {
    let line = picture.marks.iter().find_map(|mark| match mark {
        Mark::Line(line) if line.points.len() >= points => Some(&line.points),
        _ => None,
    });
    let heights = || line.unwrap().iter().map(|point| point.1);
    heights().fold(f64::NEG_INFINITY, f64::max) - heights().fold(f64::INFINITY, f64::min)
}

#[test]
fn runs_that_diverge_leave_the_others_readable_and_say_when() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    run(folder.path(), "good", ("layer_norm", "gelu"), &learns());
    let mut losses = vec!["6.0", "7.5", "12000"];
    losses.extend(["12000"; 57]);
    run(folder.path(), "finite", ("none", "gelu"), &log(&losses));
    let broken = "{\"kind\":\"nonfinite\",\"step\":2,\"micro_batch\":0,\"phase\":\"forward\",\"scope\":\"h.0\",\
                  \"op\":\"attention\",\"tensor\":\"h.0.attn.out\",\"index\":5,\"value\":\"nan\"}\n";
    let halted = log(&["6.0", "7.5", "\"nan\""]) + broken;
    run(folder.path(), "halted", ("none", "relu"), &halted);
    // Skips a broken step, has a spike, and continues to learn.
    let spiky = learns().replacen("\"loss\":4.7358", "\"loss\":100000.0", 1);
    assert_ne!(spiky, learns());
    run(
        folder.path(),
        "spiky",
        ("layer_norm", "relu"),
        &(spiky + &broken.replace("\"step\":2", "\"step\":9")),
    );
    let names = ["good", "finite", "halted", "spiky"];
    let comparison = Comparison::load(&names.map(of)).unwrap();
    let at: Vec<Option<u64>> = comparison.runs.iter().map(RunData::diverged_at).collect();
    assert_eq!(at, [None, Some(3), Some(3), None]);

    // Curves: as high as without the diverged runs.
    let loss = loss_curves(&comparison, true, None).unwrap();
    assert_legible(&loss);
    fs::write(gallery().join("diverged_loss.png"), loss.png().unwrap()).unwrap();
    let alone = loss_curves(&Comparison::load(&[of("good")]).unwrap(), true, None).unwrap();
    assert!(spanned(&loss, 50) > 0.8 * spanned(&alone, 50), "{} {}", spanned(&loss, 50), spanned(&alone, 50));
    let labels: Vec<&str> = texts(&loss).iter().map(|text| text.text.as_str()).collect();
    assert!(
        labels.contains(&"SM+G (diverged at step 3)") && labels.contains(&"SM+R (diverged at step 3)"),
        "{labels:?}"
    );
    let layers = layer_curves(&comparison, &LAYER_ENTROPY, None).unwrap();
    assert_legible(&layers);

    // Tables, figures, page: never a share of heads that were last measured at step 1.
    let table = outcomes(&comparison, Reference::ObservedMax).unwrap();
    let markdown = table.table().markdown();
    let row = |name: &str| markdown.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
    for name in ["SM+G", "SM+R"] {
        assert!(row(name).ends_with("| – | diverged | diverged | – | – | – | – | – | – |"), "{markdown}");
        assert!(markdown.contains(&format!("{name}: diverged at step 3; ")), "{markdown}");
    }
    // M is the largest entropy of the runs that learn.
    assert!(row("SM+LN+G").ends_with("| 25% | 0% | 25% | 50% | 2.50 |"), "{markdown}");
    let csv = table.csv();
    let field = |name: &str| {
        let at = csv.lines().next().unwrap().split(',').position(|column| column == name).unwrap();
        csv.lines().nth(2).unwrap().split(',').nth(at).unwrap().to_owned()
    };
    let told = ["configuration", "perplexity_mean", "not_finite", "diverged", "diverged_at_step"].map(field);
    assert_eq!(told, ["SM+G", "", "0", "1", "3"], "{csv}");
    for figure in figures(&comparison, &Options::default()).unwrap() {
        assert_legible(&figure.picture);
        let told = svg_texts(&figure.picture.svg());
        assert!(!told.iter().any(|text| text.contains("100%")), "{}: {told:?}", figure.stem);
        if ["heatmap", "quarters", "loss", "layer_entropy"].contains(&figure.stem) {
            assert!(told.iter().any(|text| text.contains("diverged at step 3")), "{}: {told:?}", figure.stem);
        }
        fs::write(gallery().join(format!("diverged_{}.png", figure.stem)), figure.picture.png().unwrap())
            .unwrap();
    }
    // A difference of two such runs is drawn if asked for, and then says so.
    let two = Comparison::load(&[of("good"), of("halted")]).unwrap();
    let difference = |asked: Option<(String, String)>| {
        let figures = figures(&two, &Options { difference: asked, ..Options::default() }).unwrap();
        figures.into_iter().find(|figure| figure.stem == "heatmap_difference")
    };
    assert!(difference(None).is_none());
    let asked = difference(Some(("SM+R".into(), "SM+LN+G".into()))).unwrap();
    assert!(asked.caption.contains("SM+R: diverged at step 3."), "{}", asked.caption);
    assert_legible(&asked.picture);
    let html = page(&comparison, &Options::default()).unwrap();
    let summary = html.split("id=\"summary-title\"").nth(1).unwrap().split("</ul>").next().unwrap();
    assert!(summary.contains("SM+G: diverged at step 3.") && !summary.contains("100%"), "{summary}");
    assert!(summary.contains("SM+R: diverged at step 3, in h.0.attn.out (forward pass)."), "{summary}");
    assert!(summary.contains("SM+LN+R: numbers were not finite, first at step 10"), "{summary}");
    write_comparison(&comparison, &of("out"), &Options::default()).unwrap();

    // In the page the curves' range is that of the runs that learn; it says what lies beyond, and when a run diverged.
    fs::write(of("page.html"), html).unwrap();
    let browser = Browser::open(&of("page.html"));
    browser.size(1440, 1000);
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
    let top = browser.run("return window.echarts.getInstanceByDom(document.getElementById('curve-chart')).getOption().yAxis[0].max");
    assert!(top.as_f64().is_some_and(|top| top > 5.0 && top < 10.0), "{top}");
    let note = browser.text("return document.getElementById('curve-note').textContent");
    assert!(
        note.contains("SM+G with 12000 at step 3") && note.contains("SM+LN+R with 100000 at step 11"),
        "{note}"
    );
    let facts = browser.text(
        "return [...document.querySelectorAll('#heatmap-grid .note')].map(e => e.textContent).join('\\n')",
    );
    assert_eq!(facts.matches("diverged at step 3 · heads as they were at step 1").count(), 2, "{facts}");
    assert!(!facts.contains("100%"), "{facts}");
    browser.picture(&gallery().join("diverged_page.png"));
    // The slider goes back to before the divergence.
    browser.run("document.getElementById('step').focus()");
    browser.press("\u{e011}");
    browser.wait("return document.querySelector('#heatmap-grid .note').textContent.startsWith('step 1 ')");
}

#[test]
fn the_page_draws_numbers_at_the_ends_of_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let losses = ["6.0", "1e308", "-1e308", "4.9e-324", "5.0"];
    run(
        folder.path(),
        "wild",
        ("none", "gelu"),
        &log(&losses).replace("\"grad_norm\":1.0", "\"grad_norm\":1e-320"),
    );
    run(
        folder.path(),
        "lost",
        ("none", "relu"),
        &log(&["1e308", "1e308", "-1e308"]).replace("0.001", "1e308"),
    );
    let comparison = Comparison::load(&["wild", "lost"].map(|name| folder.path().join(name))).unwrap();
    let path = folder.path().join("page.html");
    fs::write(&path, page(&comparison, &Options::default()).unwrap()).unwrap();
    let browser = Browser::open(&path);
    browser.wait("return document.documentElement.dataset.drawn !== undefined");
    for log in [false, true] {
        browser.run(&format!("document.getElementById('curve-log').checked = {log};"));
        let count = browser.run("return document.getElementById('curve').options.length").as_u64().unwrap();
        for index in 0..count {
            browser.run(&format!(
                "const s = document.getElementById('curve'); s.selectedIndex = {index}; s.dispatchEvent(new Event('change')); \
                 document.getElementById('curve-log').checked = {log}; document.getElementById('curve-log').dispatchEvent(new Event('change'))"
            ));
        }
    }
    let console = browser.log("browser");
    assert!(console.is_empty(), "{console:?}");
}
