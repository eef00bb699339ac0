//! The pictures of a comparison, and the caption of each.

use super::comparison::Comparison;
use super::curves::loss_curves;
use super::diverged::Divergence;
use super::heatmap::{Panel, Scale, columns, difference, heatmap_in};
use super::layers::{layer_curves, series, without_zeros};
use super::quarters::quarters;
use super::run::RunData;
use super::spread::spreads;
use super::stability::{has_slopes, slope_stability};
use super::stats::Reference;
use super::table::{decimal, percent};
use super::verdicts::Verdicts;
use crate::draw::axes::tick_text;
use crate::draw::colormap::Colormap;
use crate::draw::picture::{Picture, layout_width};
use crate::fault::Result;
use crate::numbers::counted;
use crate::observe::quantities::{EVAL_LOSS, EVAL_PPL, HEAD_ENTROPY, of_layers};

/// How a comparison is drawn.
#[derive(Clone, Debug)]
pub struct Options {
    pub reference: Reference,
    pub scale: Scale,
    pub colormap: Colormap,
    /// Whether the loss plot has an axis of perplexities on the right.
    pub perplexity: bool,
    /// The names of two runs, for [`Comparison::find`]: the first minus the second is drawn. By default, if there are
    /// exactly two runs, the second minus the first is drawn.
    pub difference: Option<(String, String)>,
    /// The width in inches at which the pictures are printed; `None` for a screen.
    pub width: Option<f64>,
    /// Verdicts on claims, for the page.
    pub verdicts: Option<Verdicts>,
    /// The state of the logs, if the page is given by a program that tells when they change.
    pub live: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reference: Reference::default(),
            scale: Scale::default(),
            colormap: Colormap::default(),
            perplexity: true,
            difference: None,
            width: None,
            verdicts: None,
            live: None,
        }
    }
}

/// A picture, the stem of its file's name, and a caption.
#[derive(Clone, Debug)]
pub struct Figure {
    pub stem: &'static str,
    pub caption: String,
    pub picture: Picture,
    /// The same for a page as narrow as a telephone, where it differs.
    pub narrow: Option<Picture>,
}

/// The width in pixels of a picture on a telephone of 390, with the margins of the page and of its sheet.
const TELEPHONE: f64 = 340.0;

/// Every picture that the runs have records for, in the paper's order.
///
/// # Errors
/// `Usage` if a requested difference does not exist; `Config` if the reference M needs a context length that is unknown for
/// a run.
pub fn figures(comparison: &Comparison, options: &Options) -> Result<Vec<Figure>> {
    let mut figures: Vec<Figure> = Vec::new();
    let room = options.width.map(layout_width);
    let mut add = |stem, caption: &str, draw: &dyn Fn(Option<f64>) -> Result<Picture>| -> Result<()> {
        let mut picture = draw(room)?;
        if let Some(inches) = options.width {
            picture.print(inches);
        }
        let narrow = Some(draw(Some(TELEPHONE))?);
        figures.push(Figure { stem, caption: caption.to_owned(), picture, narrow });
        Ok(())
    };
    // The page has a figure's caption below it.
    let is_telephone = |room: Option<f64>| room == Some(TELEPHONE);
    let panels = entropy_panels(comparison, options.reference)?;
    let has_heads = panels.iter().any(|panel| panel.values.iter().any(|row| !row.is_empty()));
    if has_heads {
        let caption =
            format!("Overload: heads at 3M/4 or above; collapse: below M/4. M: {}.", options.reference);
        let one = if comparison.study && comparison.seeds() {
            " Each configuration is shown with its first seed."
        } else {
            ""
        };
        // Published values are to the right of those measured under the same name.
        let columns = columns(panels.len());
        let columns = if comparison.mixed() { columns.next_multiple_of(2) } else { columns };
        let caption_below = format!("{caption}{one}");
        add(
            "heatmap",
            &format!(
                "Mean attention entropy of every head (nats): layers down, heads across. {caption}{one}"
            ),
            &|room| {
                let (columns, caption) =
                    if is_telephone(room) { (1, "") } else { (columns, caption_below.as_str()) };
                heatmap_in((columns, room), &panels, caption, options.scale, options.colormap)
            },
        )?;
    }
    if let Some((one, other)) = pair(comparison, options)? {
        let panel = |index| entropy_panel(comparison, index, None);
        let lost = [one, other].map(|index| {
            let divergence = Divergence::of(std::iter::once(&comparison.runs[index]));
            divergence.map_or(String::new(), |lost| format!(" {}: {lost}.", comparison.names[index]))
        });
        if let (Some(one), Some(other)) = (panel(one), panel(other)) {
            let named = format!("{} minus {}", one.title, other.title);
            let caption = format!(
                "Mean entropy of each head of the first minus that of the same head of the second.{}",
                lost.concat()
            );
            add(
                "heatmap_difference",
                &format!(
                    "{named}. {caption} Heads have no inherent order: those in the same place need not match."
                ),
                &|room| difference(&one, &other, if is_telephone(room) { "" } else { &caption }, room),
            )?;
        }
    }
    if has_heads {
        add(
            "quarters",
            "Share of heads in each quarter of the entropy range, and the newest evaluation loss.",
            &|room| quarters(comparison, options.reference, room),
        )?;
    }
    let has_loss = |run: &RunData| {
        let held_out = run.log.numbers(&EVAL_LOSS).iter().map(|eval| eval.1);
        run.published.is_none() && run.losses().map(|step| step.1).chain(held_out).any(f64::is_finite)
    };
    if comparison.runs.iter().any(has_loss) {
        add(
            "loss",
            "Training loss (averaged over 2% of the run) and held-out loss (points). A cross: not finite from there on; \
             a triangle: beyond the frame, which is chosen by the losses that the runs started with.",
            &|room| loss_curves(comparison, options.perplexity, room),
        )?;
    }
    for (quantity, drawn) in of_layers() {
        let has = |run: &RunData| run.published.is_none() && !series(run, quantity).is_empty();
        if comparison.runs.iter().any(has) {
            let mut caption = format!("{}. A cross: not finite from there on.", drawn.title);
            let without = without_zeros(comparison, quantity, drawn);
            if !without.is_empty() {
                caption
                    .push_str(&format!(" Not drawn, because nothing is zero there: {}.", without.join(", ")));
            }
            add(drawn.stem, &caption, &|room| layer_curves(comparison, quantity, room))?;
        }
    }
    if has_slopes(comparison) {
        add(
            "slope_stability",
            "Fixed slopes: the first step with a number that is not finite (an empty triangle: none up to that \
             step), and the share of collapsed heads.",
            &|room| slope_stability(comparison, options.reference, room),
        )?;
    }
    Ok(figures)
}

/// The two runs whose difference is drawn.
fn pair(comparison: &Comparison, options: &Options) -> Result<Option<(usize, usize)>> {
    if let Some((one, other)) = &options.difference {
        return Ok(Some((comparison.find(one)?, comparison.find(other)?)));
    }
    let shown = comparison.shown();
    // Heads that were last measured before a run diverged are compared with another run's only on request.
    let shape = |index: usize| {
        let run = comparison.runs.get(index).filter(|run| run.diverged_at().is_none())?;
        let (_, grid) = run.log.heads(&HEAD_ENTROPY).last()?;
        Some((grid.len(), grid.first()?.len()))
    };
    match shown.as_slice() {
        &[one, other] if shape(one).is_some() && shape(one) == shape(other) => Ok(Some((other, one))),
        _ => Ok(None),
    }
}

/// The newest head entropies of every run shown, with its results under its name.
///
/// # Errors
/// Those of [`Reference::nats`].
pub fn entropy_panels(comparison: &Comparison, reference: Reference) -> Result<Vec<Panel>> {
    let spreads = spreads(&comparison.runs, reference)?;
    let shares = |index: usize| {
        let Some(spread) = spreads[index].as_ref() else {
            let run = &comparison.runs[index];
            let step = run.log.heads(&HEAD_ENTROPY).last()?.0;
            let lost = run.diverged_at().is_none_or(|lost| step >= lost);
            return (!lost).then(|| format!("heads as they were at step {}", tick_text(step as f64, 1.0)));
        };
        let (overload, collapse) = (percent(spread.overload()), percent(spread.collapse()));
        Some(match spread.nonfinite == spread.heads {
            true => "no head has a finite entropy".to_owned(),
            false => format!("overload {overload} · collapse {collapse} · M = {:.2} nats", spread.reference),
        })
    };
    let panel = |index: usize| {
        let reference = spreads[index].as_ref().map(|spread| spread.reference);
        Some(Panel { reference, ..entropy_panel(comparison, index, shares(index))? })
    };
    Ok(comparison.shown().into_iter().filter_map(panel).collect())
}

fn entropy_panel(comparison: &Comparison, index: usize, shares: Option<String>) -> Option<Panel> {
    let run = &comparison.runs[index];
    let (values, (step, _)) = (run.entropies()?, run.log.heads(&HEAD_ENTROPY).last()?);
    let divergence = Divergence::of(std::iter::once(run));
    let mut reached = match (&run.published, divergence) {
        // Published matrices come with little more than their entropies.
        (Some(_), _) => {
            let heads = values.first().map_or(0, Vec::len);
            format!("{} of {}", counted(values.len() as u64, "layer"), counted(heads as u64, "head"))
        }
        (None, Some(divergence)) => divergence.to_string(),
        (None, None) => counted(*step, "step"),
    };
    if let Some((evaluated, ppl)) = run.log.numbers(&EVAL_PPL).last().filter(|_| divergence.is_none()) {
        reached.push_str(&format!(" · perplexity {}", decimal(*ppl, 2)));
        // Heads and loss are measured in steps of their own, which are far apart in a run that was stopped early.
        if evaluated.abs_diff(*step) > evaluated.max(step) / 10 {
            reached.push_str(&format!(" at step {}", tick_text(*evaluated as f64, 1.0)));
        }
    }
    let notes = std::iter::once(reached).chain(shares).collect();
    Some(Panel { title: comparison.names[index].clone(), notes, values, reference: None })
}
