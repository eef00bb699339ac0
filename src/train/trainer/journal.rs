//! What a run writes as it goes: every record into its log, and into an event file for TensorBoard.

use crate::config::Config;
use crate::fault::Result;
use crate::observe::dashboard::dashboard;
use crate::observe::entropy::causal_ceiling;
use crate::observe::event_file::{EventFile, Value, seconds_now};
use crate::observe::event_values::event_values;
use crate::observe::log::MetricsLog;
use crate::observe::record::Record;
use crate::train::run_folder::RunFolder;
use std::path::PathBuf;

/// The log of a run, and the event file of this session of it.
pub(super) struct Journal {
    log: MetricsLog,
    events: Option<Events>,
    /// Why event files were given up, until it is reported.
    trouble: Option<String>,
}

struct Events {
    folder: PathBuf,
    /// Where the session starts.
    step: u64,
    /// Created with the first record, so that a run with nothing left to do gets no file.
    file: Option<EventFile>,
    /// The evaluation after the last step before the session, and its text. TensorBoard drops them when the session begins
    /// although they still count.
    again: Vec<Record>,
    /// Nats at the upper end of a heatmap's colours, the same for the whole run.
    top: f64,
    /// The charts and the table of runs, told at the beginning of a file.
    dashboard: Vec<Value>,
}

impl Journal {
    /// Continues a log after `step` steps.
    pub fn begin(log: MetricsLog, run: &RunFolder, config: &Config, step: u64) -> Self {
        let again = || {
            let lines = log.last_lines().unwrap_or_default();
            let records = lines.iter().rev().map_while(|line| serde_json::from_slice::<Record>(line).ok());
            let mut again: Vec<Record> =
                records.take_while(|record| record.is_of_evaluation() && record.step() == step).collect();
            again.reverse();
            again
        };
        let events = config.observe.tensorboard.then(|| Events {
            folder: run.path().to_owned(),
            step,
            file: None,
            again: again(),
            top: causal_ceiling(config.train.sequence_length),
            dashboard: {
                let name = run.path().file_name().unwrap_or_default().to_string_lossy();
                let settings = config.to_toml().parse().unwrap_or_default();
                dashboard(&name, config.model.n_layer, &settings, seconds_now())
            },
        });
        Self { log, events, trouble: None }
    }

    /// Writes a record.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::fault::Kind::Io).
    pub fn append(&mut self, record: &Record) -> Result<()> {
        self.log.append(record)?;
        self.tell_tensorboard(|events| events.append(record));
        Ok(())
    }

    /// Returns once why event files were given up.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }

    /// Event files are only for people who watch, so an error in them does not end a run.
    fn tell_tensorboard(&mut self, tell: impl FnOnce(&mut Events) -> Result<()>) {
        if let Some(Err(fault)) = self.events.as_mut().map(tell) {
            self.events = None;
            self.trouble = Some(format!(
                "no more event files for TensorBoard are written, but the run continues: {fault}"
            ));
        }
    }

    /// Syncs everything so far to disk and returns the length of the log, in bytes.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::fault::Kind::Io).
    pub fn sync(&mut self) -> Result<u64> {
        self.tell_tensorboard(|events| events.file.as_mut().map_or(Ok(()), EventFile::sync));
        self.log.sync()
    }

    /// SHA-256 of the log so far.
    pub fn sha256(&self) -> String {
        self.log.sha256()
    }
}

impl Events {
    fn append(&mut self, record: &Record) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                let file = empty.insert(EventFile::begin(&self.folder, self.step)?);
                file.append(self.step, std::mem::take(&mut self.dashboard))?;
                for again in std::mem::take(&mut self.again) {
                    file.append(again.step(), event_values(&again, self.top)?)?;
                }
                file
            }
        };
        file.append(record.step(), event_values(record, self.top)?)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::observe::record::Eval;

    #[test]
    fn a_full_place_of_event_files_ends_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let log = MetricsLog::open(&folder.path().join("metrics.jsonl"), 0).unwrap();
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let file = Some(EventFile::over("/dev/full".into(), full, 0).unwrap());
        let events = Events {
            folder: folder.path().to_owned(),
            step: 0,
            file,
            again: Vec::new(),
            top: 1.0,
            dashboard: Vec::new(),
        };
        let mut journal = Journal { log, events: Some(events), trouble: None };
        let record = |step| Eval::new(step, 1.0).record();
        journal.append(&record(1)).unwrap();
        journal.sync().unwrap();
        let trouble = journal.take_trouble().unwrap();
        assert!(trouble.contains("/dev/full") && trouble.contains("the run continues"), "{trouble}");
        journal.append(&record(2)).unwrap();
        let bytes = journal.sync().unwrap();
        assert_eq!(journal.take_trouble(), None);
        let log = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        assert_eq!((log.len() as u64, log.lines().count()), (bytes, 2));
    }
}
