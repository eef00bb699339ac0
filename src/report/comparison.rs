//! The runs that are compared, and which of them share a configuration and differ only in their seed.

use std::collections::BTreeSet;
use std::path::Path;

use super::gather::{Source, holds_others, sources};
use super::published;
use super::run::{RunData, distinct_names, folder_name};
use super::whole::{Part, add_part};
use crate::config::free_in_comparison;
use crate::fault::{Fault, Kind, Result};
use crate::observe::quantities::HEAD_ENTROPY;

/// The paper's baseline.
const PAPERS_BASELINE: &str = "SM+LN+G";

/// Runs to compare.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    pub title: String,
    pub runs: Vec<RunData>,
    /// The name of each run; all are distinct.
    pub names: Vec<String>,
    pub groups: Vec<Group>,
    /// The group that others are compared with.
    pub baseline: usize,
    /// Whether the runs are a study's: a heatmap then shows one of each configuration.
    pub study: bool,
    /// Runs that should be compared but do not exist.
    pub missing: Vec<String>,
}

/// Runs of one configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Distinct for each group.
    pub name: String,
    /// Indices into the comparison's runs, each with its own seed.
    pub runs: Vec<usize>,
    /// Determines its colour.
    pub style: usize,
}

impl Comparison {
    /// Reads run folders, studies' folders, folders of these, and TOML files of entropies.
    ///
    /// # Errors
    /// Those of finding them, of [`RunData::load`] and of [`published::load`]; `Usage` if a path is named twice;
    /// `RunFolder` if no run has begun.
    pub fn load(paths: &[impl AsRef<Path>]) -> Result<Self> {
        let mut seen = BTreeSet::new();
        let (mut named, mut parts) = (Vec::new(), Vec::new());
        for path in paths.iter().map(AsRef::as_ref) {
            if holds_others(path) {
                named.push(folder_name(path));
            }
            for source in sources(path)? {
                let (Source::Run(place)
                | Source::Study(place, _)
                | Source::Published(place)
                | Source::NotBegun(place)) = &source;
                if !seen.insert(place.canonicalize().unwrap_or_else(|_| place.clone())) {
                    let what = "this is given twice, and would be compared with itself";
                    return Err(Fault::new(Kind::Usage, what).at(place.display()));
                }
                match source {
                    Source::Study(path, study) => add_part(&mut parts, path, study),
                    other => parts.push(Part::Other(other)),
                }
            }
        }
        let studies = parts.iter().filter(|part| matches!(part, Part::Study(_))).count();
        let (mut runs, mut missing, mut baseline, mut titles) = (Vec::new(), Vec::new(), None, Vec::new());
        let mut styles = 0;
        for part in parts {
            match part {
                Part::Other(Source::Published(path)) => runs.extend(published::load(&path)?),
                Part::Other(Source::NotBegun(path)) => {
                    missing.push(format!("{}: not started", folder_name(&path)));
                }
                Part::Other(Source::Run(path) | Source::Study(path, _)) => runs.push(RunData::load(&path)?),
                Part::Study(whole) => {
                    let label = whole.baseline();
                    // If there are several studies, each compares its runs with its own baseline.
                    let own = label.clone().filter(|_| studies > 1);
                    styles += whole.load((titles.len(), styles), own, &mut runs, &mut missing)?;
                    titles.push(whole.study.name);
                    baseline = baseline.or(label);
                }
            }
        }
        if runs.is_empty()
            && let Some(path) = paths.first()
        {
            return Err(Fault::new(Kind::RunFolder, "no run here has started")
                .at(path.as_ref().display())
                .remedy("train it with `normfree study` or `normfree train`"));
        }
        let title = match (named.as_slice(), titles.as_slice()) {
            ([folder], _) if paths.len() == 1 => folder.clone(),
            (_, []) if runs.len() == 1 => runs[0].name.clone(),
            (_, []) => format!("{} runs", runs.len()),
            (_, titles) => titles.join(", "),
        };
        let study = !titles.is_empty();
        Ok(Self { title, study, missing, ..Self::new(runs, baseline.as_deref()) })
    }

    /// Compares runs with the configuration called `baseline`; by default with SM+LN+G, or else the first.
    pub fn new(runs: Vec<RunData>, baseline: Option<&str>) -> Self {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (index, run) in runs.iter().enumerate() {
            let fits = |group: &&mut Vec<usize>| {
                same_configuration(&runs[group[0]], run)
                    && group.iter().all(|&other| runs[other].seed != run.seed)
            };
            match groups.iter_mut().find(fits) {
                Some(group) => group.push(index),
                None => groups.push(vec![index]),
            }
        }
        groups.iter_mut().for_each(|group| group.sort_by_key(|&index| runs[index].seed));
        let groups = beside_published(groups, &runs);
        let heads: Vec<&RunData> = groups.iter().map(|group| &runs[group[0]]).collect();
        let mut free = heads.iter().filter_map(|run| run.style).max().map_or(0, |most| most + 1)..;
        let mut style = |run: &RunData| run.style.or_else(|| free.next()).unwrap_or_default();
        let groups: Vec<Group> = distinct_names(&heads)
            .into_iter()
            .zip(&groups)
            .map(|(name, of)| Group { name, runs: of.clone(), style: style(&runs[of[0]]) })
            .collect();
        let mut names = vec![String::new(); runs.len()];
        for group in &groups {
            for &index in &group.runs {
                names[index] = match (group.runs.len(), runs[index].seed) {
                    (2.., Some(seed)) => format!("{}, seed {seed}", group.name),
                    _ => group.name.clone(),
                };
            }
        }
        let baseline = baseline.unwrap_or(PAPERS_BASELINE);
        let named = |measured: bool| {
            let of = |group: &Group| &runs[group.runs[0]];
            let fits =
                |group: &Group| of(group).name == baseline && of(group).published.is_none() == measured;
            groups.iter().position(fits)
        };
        let measured = || groups.iter().position(|group| runs[group.runs[0]].published.is_none());
        let baseline = named(true).or_else(measured).or_else(|| named(false)).unwrap_or(0);
        Self { runs, names, groups, baseline, ..Self::default() }
    }

    /// Indices of the runs that have their own picture, group by group: for a study, the first run of each configuration that
    /// has attention records.
    pub fn shown(&self) -> Vec<usize> {
        let seen = |&index: &usize| !self.runs[index].log.heads(&HEAD_ENTROPY).is_empty();
        let of = |group: &Group| -> Vec<usize> {
            let runs = group.runs.iter().copied().filter(seen);
            if self.study { runs.take(1).collect() } else { runs.collect() }
        };
        self.groups.iter().flat_map(of).collect()
    }

    /// The runs of a group.
    pub fn of<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a RunData> + Clone {
        group.runs.iter().map(|&index| &self.runs[index])
    }

    /// The group that `group` is compared with: the one it names, or the baseline. Published groups are compared with the
    /// published baseline, because perplexities on other text are not comparable. `None` for a baseline itself, if there is no
    /// baseline, or if it was evaluated on other text.
    pub fn baseline_of(&self, group: usize) -> Option<usize> {
        let first = |group: usize| self.groups.get(group).map(|group| &self.runs[group.runs[0]]);
        let (own, base) = (first(group)?, first(self.baseline)?);
        let named = |name: &str| {
            // Each study has its own baseline, and baselines of different studies may share a name.
            let alike = |other: &RunData| {
                own.configuration.is_none() || (other.configuration.is_some() && own.study == other.study)
            };
            let fits = |&other: &usize| {
                first(other).is_some_and(|other| {
                    other.name == name && other.published == own.published && alike(other)
                })
            };
            (0..self.groups.len()).find(fits)
        };
        let found = match &own.baseline {
            Some(name) => named(name),
            None if own.published == base.published => Some(self.baseline),
            None => named(&base.name),
        };
        found.filter(|&other| other != group && self.same_text(group, other))
    }

    /// Whether two groups were evaluated on the same held-out tokens, as far as is known.
    fn same_text(&self, one: usize, other: usize) -> bool {
        let first = |group: usize| self.runs[self.groups[group].runs[0]].data.as_ref();
        first(one).zip(first(other)).is_none_or(|(one, other)| one.same_text(other))
    }

    /// The groups that were evaluated on other text than the baseline, by name.
    pub fn on_other_text(&self) -> Vec<&str> {
        let other = |&group: &usize| !self.same_text(group, self.baseline);
        let names = (0..self.groups.len()).filter(other);
        names.map(|group| self.groups[group].name.as_str()).collect()
    }

    /// Whether both measured and published values are present.
    pub fn mixed(&self) -> bool {
        let published = |run: &RunData| run.published.is_some();
        self.runs.iter().any(published) && !self.runs.iter().all(published)
    }

    /// Whether some configuration was trained with more than one seed.
    pub fn seeds(&self) -> bool {
        self.groups.iter().any(|group| group.runs.len() > 1)
    }

    /// The run called `name`: by its name, its configuration's, or its folder.
    ///
    /// # Errors
    /// `Usage` if no run has this name.
    pub fn find(&self, name: &str) -> Result<usize> {
        let group = || self.groups.iter().find(|group| group.name == name).map(|group| group.runs[0]);
        let by_name = self.names.iter().position(|own| own == name).or_else(group);
        let folder = |run: &RunData| run.dir == Path::new(name) || folder_name(&run.dir) == name;
        by_name.or_else(|| self.runs.iter().position(folder)).ok_or_else(|| {
            Fault::new(Kind::Usage, format!("no run here is called `{name}`"))
                .remedy(format!("choose among: {}", self.names.join("; ")))
        })
    }
}

/// The groups, with a paper's values right after those measured here under the same name; such pairs come first.
fn beside_published(groups: Vec<Vec<usize>>, runs: &[RunData]) -> Vec<Vec<usize>> {
    let published = |group: &[usize]| runs[group[0]].published.is_some();
    let namesakes = |group: &[usize]| -> Vec<usize> {
        let name = &runs[group[0]].name;
        (0..groups.len()).filter(|&other| runs[groups[other][0]].name == *name).collect()
    };
    let key = |group: &Vec<usize>| {
        let same = namesakes(group);
        let paired = same.iter().any(|&other| published(&groups[other]) != published(group));
        (!paired, same.first().copied(), published(group))
    };
    let mut order: Vec<_> = groups.iter().map(|group| (key(group), group.clone())).collect();
    order.sort_by_key(|(key, _)| *key);
    order.into_iter().map(|(_, group)| group).collect()
}

/// Removes the keys in which runs of one configuration may differ: the seed, and keys that change no number.
pub(super) fn remove_free(settings: &mut toml::Table) {
    for (table, key) in free_in_comparison().iter().filter_map(|key| key.split_once('.')) {
        if let Some(table) = settings.get_mut(table).and_then(toml::Value::as_table_mut) {
            table.remove(key);
        }
    }
}

/// Whether two runs differ only in their seed. The identity of the data takes precedence over its path.
fn same_configuration(one: &RunData, other: &RunData) -> bool {
    if one.name != other.name || one.published.is_some() || other.published.is_some() {
        return false;
    }
    if one.configuration.is_some() || other.configuration.is_some() {
        return one.configuration == other.configuration && one.study == other.study;
    }
    let same_data = one.data.as_ref().zip(other.data.as_ref()).map(|(one, other)| one.same(other));
    if same_data == Some(false) {
        return false;
    }
    let fixed = |run: &RunData| {
        let mut settings = run.settings.clone();
        if let (Some(_), Some(data)) =
            (same_data, settings.get_mut("data").and_then(toml::Value::as_table_mut))
        {
            data.remove("path");
        }
        remove_free(&mut settings);
        settings
    };
    !one.settings.is_empty() && fixed(one) == fixed(other)
}
