//! The summary of the report page, which is text.

use normfree::report::comparison::Comparison;
use normfree::report::figures::Options;
use normfree::report::page::page;

use super::study::{CONFIGURATIONS, Size, write};

const SIZE: Size = Size { layers: 6, heads: 4, steps: 300, every: 20 };

/// The paper's claims, tested on a study that has everything they need, and on a single run.
#[test]
fn a_summary_answers_the_papers_questions() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "study", &CONFIGURATIONS, &[1, 2], SIZE);
    let of = |comparison: &Comparison| -> Vec<String> {
        let html = page(comparison, &Options::default()).unwrap();
        let summary = html.split("id=\"summary-title\"").nth(1).unwrap().split("</ul>").next().unwrap();
        let items = summary.split("<li>").skip(1);
        items.map(|item| item.split("</li>").next().unwrap().replace("&#39;", "'")).collect()
    };
    let told = of(&Comparison::load(&[folder.path()]).unwrap());
    for wanted in [
        "Without LayerNorm, ReLU against GELU: the perplexity of SM+R is ",
        "% lower than that of SM+G (",
        "paired t-test: n = 2, t = ",
        "SM+G: in the first half of the layers 92% of heads are overloaded, in the second 0%.",
        "SM+LearnableR(per layer): learned slopes went from 0.01 to between −0.0",
        "Fixed slopes without LayerNorm, from ReLU's 0 up, with the perplexity that each came to: 0 (",
        "1 (2 of 2 diverged, first at step 61).",
    ] {
        assert!(told.iter().any(|line| line.contains(wanted)), "`{wanted}` is not in {told:#?}");
    }
    assert!(!told.iter().any(|line| line.starts_with("With LayerNorm")), "{told:#?}");
    // With one seed a difference is said, and that it is none yet; with two it depends on the test.
    let single = tempfile::tempdir().unwrap();
    write(single.path(), "study", &CONFIGURATIONS, &[1], SIZE);
    let one = of(&Comparison::load(&[single.path()]).unwrap());
    let doubt = "one seed does not tell this from chance";
    for wanted in ["ReLU against GELU", "the lowest held-out perplexity"] {
        let line = |of: &[String]| of.iter().find(|line| line.contains(wanted)).cloned().unwrap();
        assert!(line(&one).contains(doubt), "{}", line(&one));
        let line = line(&told);
        let p: f64 = if line.contains("p = ") {
            line.split("p = ").nth(1).unwrap()[..5].parse().unwrap()
        } else {
            0.0
        };
        if wanted == "ReLU against GELU" {
            assert_eq!(line.contains("2 seeds do not tell this from chance"), p >= 0.05, "{line}");
        }
    }
    // A single configuration answers none of them.
    let alone = of(&Comparison::load(&[folder.path().join("sm_r-seed1")]).unwrap());
    assert!(
        !alone.iter().any(|line| line.contains("against GELU") || line.starts_with("Fixed")),
        "{alone:#?}"
    );
}
