//! A claim file: a claim in one sentence, the study whose runs test it, and what is expected of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::grid::Grid;
use super::table::Table;
use crate::config::{Source, nearest, read_text};
use crate::fault::{Fault, Kind, Result};
use crate::words::{Word, choice};

choice! {
    /// What two configurations are compared in.
    Quantity {
        /// held-out loss, in nats per token
        Loss = "loss",
        /// share of heads whose mean entropy is at least three quarters of the causal ceiling
        Overload = "overload",
        /// share of heads whose mean entropy is within 5% of the causal ceiling
        AtCeiling = "at_ceiling",
        /// mean head entropy, as a share of the causal ceiling
        Entropy = "entropy",
        /// attention on the first position, mean over the heads
        Sink = "sink_mass",
        /// training speed: the logarithm of the median of the logged tokens per second
        Speed = "speed",
        /// share of seeds that learn to the end, instead of diverging
        Trained = "trained",
    }
}

choice! {
    /// The expected result of a comparison.
    Order {
        /// the first has less of it
        Less = "less",
        /// the first has more of it
        Greater = "greater",
        /// the difference is within the margin
        Equal = "equal",
    }
}

/// A claim, and the study that tests it.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub name: String,
    /// The claim in one sentence.
    pub text: String,
    /// The paper that makes it.
    pub source: String,
    /// What that paper reports.
    pub reported: String,
    /// The study file whose runs test it here.
    pub study: PathBuf,
    /// The study file that has the same configurations at the claim's own size.
    pub own_size: PathBuf,
    /// The claim holds if all of these do.
    pub expectations: Vec<Expectation>,
}

/// What a claim expects of two configurations.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    pub quantity: Quantity,
    /// The configuration that the claim is about.
    pub of: String,
    pub is: Order,
    /// The one that it is compared with.
    pub compared_with: String,
    /// Differences up to this count as none, in the quantity's own unit.
    pub margin: f64,
    /// Its place in the file.
    place: String,
}

impl Claim {
    /// Whether a TOML file is a claim instead of a study.
    ///
    /// # Errors
    /// [`Kind::Io`] if it cannot be read; [`Kind::Config`] if it is not TOML.
    pub fn is_claim(path: &Path) -> Result<bool> {
        let text = read_text(path)?;
        Ok(Source::new(&text, &path.display().to_string()).parse()?.get_ref().contains_key("claim"))
    }

    /// Reads a claim file. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`Kind::Io`] if it cannot be read; [`Kind::Config`], with the line, if it is not a claim.
    pub fn load(path: &Path) -> Result<Self> {
        let beside = path.parent().unwrap_or(Path::new(""));
        Self::parse(&read_text(path)?, &path.display().to_string(), beside)
    }

    /// The same from text; `name` stands for the file in messages.
    pub(super) fn parse(text: &str, name: &str, beside: &Path) -> Result<Self> {
        let source = Source::new(text, name);
        let root = source.parse()?;
        let root = root.get_ref();
        for key in root.keys() {
            let typed: &str = key.get_ref();
            if !["claim", "expect"].contains(&typed) {
                return Err(Fault::new(Kind::Config, "unknown table")
                    .at(format_args!("{name} line {}", source.line(key.span().start)))
                    .found(typed)
                    .remedy("a claim has [claim] and [[expect]]; its configurations stand in its study"));
            }
        }
        let table = root.get("claim").ok_or_else(|| {
            Fault::new(Kind::Config, "this is not a claim")
                .at(name)
                .remedy("a claim has a [claim] with name, text, source, reported, study and own_size")
        })?;
        let claim = Table::new(table, &source, "[claim]")?;
        claim.check_keys(&["name", "text", "source", "reported", "study", "own_size"], false)?;
        let path = |key: &str| claim.required_text(key).map(|text| beside.join(text));
        let expectations = expectations(root, &source)?;
        Ok(Self {
            name: claim.name()?,
            text: claim.required_text("text")?,
            source: claim.required_text("source")?,
            reported: claim.required_text("reported")?,
            study: path("study")?,
            own_size: path("own_size")?,
            expectations,
        })
    }

    /// The study, or with `own_size` that at the claim's own size, with the claim's configurations chosen.
    ///
    /// # Errors
    /// Those of [`Grid::load`]; [`Kind::Config`] if the study lacks a configuration of the claim,.
    pub fn grid(&self, own_size: bool, overrides: &[String]) -> Result<Grid> {
        let study = if own_size { &self.own_size } else { &self.study };
        let mut grid = Grid::load(study, overrides)?;
        let mut chosen = BTreeSet::new();
        for expectation in &self.expectations {
            for configuration in [&expectation.of, &expectation.compared_with] {
                let known: BTreeSet<&str> = grid.runs.iter().map(|run| run.configuration.as_str()).collect();
                if !known.contains(configuration.as_str()) {
                    let near = nearest(configuration, known.iter().copied());
                    let near = near.map(|name| format!("did you mean \"{name}\"? ")).unwrap_or_default();
                    return Err(Fault::new(Kind::Config, "the study has no such configuration")
                        .at(&expectation.place)
                        .found(format_args!("\"{configuration}\""))
                        .remedy(format_args!("{near}{} has the configurations", study.display())));
                }
                chosen.insert(configuration.clone());
            }
        }
        grid.chosen = Some(chosen);
        Ok(grid)
    }
}

fn expectations(root: &DeTable, source: &Source) -> Result<Vec<Expectation>> {
    let missing = || {
        Fault::new(Kind::Config, "the claim expects nothing")
            .at(&source.name)
            .remedy("add [[expect]] with quantity, of, is, compared_with and margin")
    };
    let Some(DeValue::Array(entries)) = root.get("expect").map(toml::Spanned::get_ref) else {
        return Err(missing());
    };
    if entries.is_empty() {
        return Err(missing());
    }
    let expectation = |entry| {
        let table = Table::new(entry, source, "[[expect]]")?;
        table.check_keys(&["quantity", "of", "is", "compared_with", "margin"], false)?;
        let word = |key: &str, words: &'static [Word]| -> Result<usize> {
            let typed = table.required_text(key)?;
            words.iter().position(|word| word.word == typed).ok_or_else(|| {
                let known: Vec<&str> = words.iter().map(|word| word.word).collect();
                Fault::new(Kind::Config, "unknown word")
                    .at(table.place_of(key))
                    .found(format_args!("\"{}\"", typed.escape_debug()))
                    .remedy(format_args!("use one of {}", known.join(", ")))
            })
        };
        Ok(Expectation {
            quantity: Quantity::ALL[word("quantity", Quantity::WORDS)?],
            of: table.required_text("of")?,
            is: Order::ALL[word("is", Order::WORDS)?],
            compared_with: table.required_text("compared_with")?,
            margin: table.positive("margin")?,
            place: table.place_of("of"),
        })
    };
    entries.iter().map(expectation).collect()
}
