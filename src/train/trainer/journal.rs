//! What a run writes down as it goes: every record into its log, and for TensorBoard into an event file.

use crate::config::Config;
use crate::fault::Result;
use crate::observe::event_file::EventFile;
use crate::observe::log::MetricsLog;
use crate::observe::record::Record;
use crate::report::event_values::event_values;
use crate::report::stats::causal_ceiling;
use crate::train::run_folder::RunFolder;
use std::path::PathBuf;

/// The log of a run, and the event file of this session of it.
pub(super) struct Journal {
    log: MetricsLog,
    events: Option<Events>,
}

struct Events {
    folder: PathBuf,
    /// Where the session starts.
    step: u64,
    /// Begun with the first record, so that a run in which nothing is left to do gets none.
    file: Option<EventFile>,
    /// What TensorBoard drops as the session begins although it stays: the evaluation after the last step before.
    again: Option<Record>,
    /// Nats at the upper end of a heatmap's colours, the same over the whole run.
    top: f64,
}

impl Journal {
    /// Goes on with a log when `step` steps are done.
    pub fn begin(log: MetricsLog, run: &RunFolder, config: &Config, step: u64) -> Self {
        let again = || {
            let record: Record = serde_json::from_slice(&log.last_line().ok()??).ok()?;
            matches!(&record, Record::Eval(eval) if eval.step == step).then_some(record)
        };
        let events = config.observe.tensorboard.then(|| Events {
            folder: run.path().to_owned(),
            step,
            file: None,
            again: again(),
            top: causal_ceiling(config.train.sequence_length),
        });
        Self { log, events }
    }

    /// Writes a record down.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::fault::Kind::Io).
    pub fn append(&mut self, record: &Record) -> Result<()> {
        self.log.append(record)?;
        match &mut self.events {
            Some(events) => events.append(record),
            None => Ok(()),
        }
    }

    /// Brings everything so far to the disk and returns how long the log is, in bytes.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::fault::Kind::Io).
    pub fn sync(&mut self) -> Result<u64> {
        if let Some(file) = self.events.as_mut().and_then(|events| events.file.as_mut()) {
            file.sync()?;
        }
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
                if let Some(again) = self.again.take() {
                    file.append(again.step(), event_values(&again, self.top)?)?;
                }
                file
            }
        };
        file.append(record.step(), event_values(record, self.top)?)
    }
}
