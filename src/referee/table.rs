//! Verdicts as a table, as a page of Markdown, and as JSON.

use serde_json::{Value, json};

use super::judge::{Judged, Outcome, Ruled, Ruling};
use super::picture::picture;
use super::reading::Reading;
use crate::numbers::counted;
use crate::report::table::{Table, decimal};
use crate::report::verdicts::{Claimed, Verdicts};
use crate::study::{Order, Quantity};

/// The verdicts, a row for each comparison, for people.
pub fn table(ruling: &Ruling) -> Table {
    let header = [
        "claim",
        "compared",
        "expected",
        "difference [95%]",
        "p",
        "best checkpoint",
        "p",
        "seeds",
        "verdict",
    ];
    let mut rows = Vec::new();
    for ruled in &ruling.claims {
        for judged in &ruled.judged {
            let [end, best] = judged.outcomes;
            let [(end, p_end), (best, p_best)] = [end, best].map(|outcome| cells(outcome, judged));
            rows.push(vec![
                ruled.claim.name.clone(),
                compared(judged),
                expected(judged),
                end,
                p_end,
                best,
                p_best,
                seeds(judged),
                verdict(judged),
            ]);
        }
    }
    Table { header: header.map(String::from).to_vec(), rows, notes: notes(ruling) }
}

/// "SM+R against SM+G: loss".
fn compared(judged: &Judged) -> String {
    let [one, other] = &judged.labels;
    format!("{one} against {other}: {}", quantity(judged.expectation.quantity))
}

/// The quantity in words.
fn quantity(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Loss => "held-out loss",
        Quantity::Overload => "overloaded heads",
        Quantity::AtCeiling => "heads at the ceiling",
        Quantity::Entropy => "mean entropy",
        Quantity::Sink => "attention on the first position",
        Quantity::Speed => "log speed",
        Quantity::Trained => "seeds that train",
    }
}

fn expected(judged: &Judged) -> String {
    match judged.expectation.is {
        Order::Equal => format!("equal within {}", judged.expectation.margin),
        order => order.word().to_owned(),
    }
}

/// Difference with interval, and corrected p.
fn cells(outcome: Option<Outcome>, judged: &Judged) -> (String, String) {
    let Some(outcome) = outcome else { return ("–".to_owned(), "–".to_owned()) };
    let p = match outcome.p_corrected {
        p if p < 0.001 => "< 0.001".to_owned(),
        p => format!("{p:.3}"),
    };
    let Some(differences) = outcome.differences else {
        let [one, other] = judged.diverged;
        return (format!("{} of {} against {} of {} diverged", one.0, one.1, other.0, other.1), p);
    };
    let (low, high) = differences.interval;
    let text = format!("{} [{}, {}]", signed(differences.mean), signed(low), signed(high));
    (text, p)
}

fn signed(value: f64) -> String {
    let text = decimal(value, 3);
    if value > 0.0 { format!("+{text}") } else { text }
}

/// The number of pairs, and how many would decide.
fn seeds(judged: &Judged) -> String {
    let pairs = judged.outcomes[0].and_then(|outcome| outcome.differences).map(|differences| differences.n);
    let pairs =
        pairs.map_or_else(|| judged.diverged.map(|side| side.1.to_string()).join(" and "), |n| n.to_string());
    match judged.seeds_needed {
        Some(needed) => format!("{pairs}; {needed} would decide"),
        None => pairs,
    }
}

fn verdict(judged: &Judged) -> String {
    let words = judged.verdict.words();
    match judged.outcomes {
        [None, _] | [_, None] => format!("{words}: too few seeds"),
        [Some(end), Some(best)] if end.verdict != best.verdict => format!(
            "{words}: {} at the end, {} at the best checkpoint",
            end.verdict.words(),
            best.verdict.words()
        ),
        [Some(end), _] if end.is_within_margin() && judged.expectation.is != Order::Equal => {
            format!("{words}; within the margin of {}", judged.expectation.margin)
        }
        _ => words.to_owned(),
    }
}

fn notes(ruling: &Ruling) -> Vec<String> {
    let mut notes = vec![format!(
        "Differences are those of the seeds that both configurations have: mean and 95% interval. p is of the paired t-test, \
         two-sided, corrected for {} (Holm), for each reading. Equal means: two one-sided t-tests reject a \
         difference beyond the margin, corrected likewise. A claim is decided only if end and best checkpoint agree. Where \
         seeds diverge, their counts are compared (Fisher's exact test).",
        counted(ruling.comparisons as u64, "comparison")
    )];
    for ruled in ruling.claims.iter().filter(|ruled| !ruled.missing.is_empty()) {
        notes.push(format!("{}: not trained to the end: {}.", ruled.claim.name, ruled.missing.join("; ")));
    }
    notes
}

/// A page: each claim in its sentence, with what was reported, what was found, and the verdict.
pub fn markdown(ruling: &Ruling) -> String {
    let mut page = String::from("| claim | reported | here | verdict |\n| --- | --- | --- | --- |\n");
    for ruled in &ruling.claims {
        let found: Vec<String> = ruled.judged.iter().map(sentence).collect();
        let line = [
            format!("{} ({})", ruled.claim.text, ruled.claim.source),
            ruled.claim.reported.clone(),
            found.join(" "),
            format!("**{}**", ruled.verdict.words()),
        ];
        page.push_str(&format!("| {} |\n", line.map(|cell| cell.replace('|', "\\|")).join(" | ")));
    }
    format!("{page}\n{}", table(ruling).markdown())
}

/// What one comparison found, as a sentence.
fn sentence(judged: &Judged) -> String {
    let [one, other] = &judged.labels;
    let what = quantity(judged.expectation.quantity);
    let difference = cells(judged.outcomes[0], judged).0;
    match judged.means {
        [Some(own), Some(base)] => {
            format!("{one} {}, {other} {} ({what}): {difference}.", decimal(own, 3), decimal(base, 3))
        }
        _ => format!("{one}, {other} ({what}): {difference}."),
    }
}

/// The verdicts for a report page.
pub fn verdicts(ruling: &Ruling) -> Verdicts {
    let claimed = |ruled: &Ruled| Claimed {
        text: ruled.claim.text.clone(),
        source: ruled.claim.source.clone(),
        reported: ruled.claim.reported.clone(),
        found: ruled.judged.iter().map(sentence).collect(),
        verdict: ruled.verdict.words(),
    };
    Verdicts {
        claims: ruling.claims.iter().map(claimed).collect(),
        table: table(ruling),
        picture: picture(ruling),
    }
}

/// Everything, for other programs.
pub fn json(ruling: &Ruling) -> Value {
    let claims: Vec<Value> = ruling.claims.iter().map(claim).collect();
    json!({ "comparisons": ruling.comparisons, "claims": claims })
}

fn claim(ruled: &Ruled) -> Value {
    json!({
        "name": ruled.claim.name,
        "text": ruled.claim.text,
        "source": ruled.claim.source,
        "reported": ruled.claim.reported,
        "verdict": ruled.verdict,
        "missing": ruled.missing,
        "expectations": ruled.judged.iter().map(expectation).collect::<Vec<_>>(),
    })
}

fn expectation(judged: &Judged) -> Value {
    let readings = Reading::BOTH.into_iter().zip(judged.outcomes);
    let readings = readings
        .map(|(reading, outcome)| (reading.name().to_owned(), outcome.map_or(Value::Null, reading_of)));
    json!({
        "quantity": judged.expectation.quantity,
        "of": judged.expectation.of,
        "is": judged.expectation.is,
        "compared_with": judged.expectation.compared_with,
        "margin": judged.expectation.margin,
        "means": judged.means,
        "diverged": judged.diverged,
        "verdict": judged.verdict,
        "seeds_needed": judged.seeds_needed,
        "readings": readings.collect::<serde_json::Map<_, _>>(),
    })
}

fn reading_of(outcome: Outcome) -> Value {
    let differences = outcome.differences.map(|found| {
        json!({ "n": found.n, "mean": found.mean, "deviation": found.deviation, "interval": found.interval })
    });
    json!({
        "differences": differences,
        "p": outcome.p,
        "p_corrected": outcome.p_corrected,
        "p_equivalent": outcome.p_equivalent,
        "p_beyond": outcome.p_beyond,
        "verdict": outcome.verdict,
    })
}
