//! A job from its first question to its receipt.
//!
//! Contract: the plan is on disk before a record is read; ranges are written in parallel, first
//! pieces before second ones, so that a killed job has finished as many as it could; the receipt is
//! written last.

use std::{fmt, future::Future, path::PathBuf, sync::Arc};

use kafka_direct::{BatchPlan, KafkaRddBuilder, PlannedRange};

use super::{
    BatchJob,
    folder::JobFolder,
    plan_file,
    receipt::Receipt,
    settings::{FORMAT, JobSettings, Words},
    sink::FolderSink,
};
use crate::{
    Error, Format,
    files::{Output, file_name},
};

/// A job that is done. It displays as one sentence for people.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JobOutcome {
    /// What the folder's `receipt.json` says.
    pub receipt: Receipt,
    /// The folder.
    pub folder: PathBuf,
    /// Ranges that this run has read; the others were finished before.
    pub ranges_read: usize,
}

impl fmt::Display for JobOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.receipt.totals;
        let folder = self.folder.display();
        if totals.ranges > 0 && self.ranges_read == 0 {
            return write!(f, "{folder} is complete since an earlier run: nothing was read");
        }
        write!(f, "{folder}: {totals}")?;
        match totals.ranges.saturating_sub(self.ranges_read) {
            0 => {}
            before => write!(f, ", {before} of them finished by an earlier run")?,
        }
        if totals.skipped_offsets > 0 {
            write!(f, "; {} lost offsets were skipped, see receipt.json", totals.skipped_offsets)?;
        }
        Ok(())
    }
}

/// A selection that is made when it is first needed: a job that is done asks no broker.
struct Lazy<F> {
    connect: Option<F>,
    builder: Option<KafkaRddBuilder>,
}

impl<F> Lazy<F> {
    async fn get<E, Fut>(&mut self) -> Result<KafkaRddBuilder, E>
    where
        E: From<Error>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<KafkaRddBuilder, E>>,
    {
        if let Some(connect) = self.connect.take() {
            self.builder = Some(connect().await?);
        }
        let unmade =
            || Error::Internal { message: "a selection failed and was asked again".into() };
        Ok(self.builder.clone().ok_or_else(unmade)?)
    }
}

impl BatchJob {
    /// Runs the job on `selection`. Its columns are replaced by those of the job, and a range has one
    /// attempt: what failed is read by the next run. Unless [`BatchJob::selected_by`] was called, a
    /// folder that was begun with another selection is refused.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a folder of another job or a plan that does not fit;
    /// [`Error::Busy`] while another process writes into the folder; [`Error::Io`];
    /// [`Error::Read`] for what the engine could not plan or read.
    ///
    /// # Cancel safety
    /// Dropping the future stops the job as a kill would: another run continues. Writes to files that
    /// have begun end first, and until then another run in this process is [`Error::Busy`].
    pub async fn run(mut self, selection: KafkaRddBuilder) -> Result<JobOutcome, Error> {
        if self.plan_file.is_none() && self.selection.is_none() {
            self.selection = Some(selection.description());
        }
        self.run_with(|| std::future::ready(Ok(selection))).await
    }

    /// The same with a selection that is made only if something has to be read: `connect` is not
    /// called for a job that is done.
    ///
    /// # Errors
    /// As [`BatchJob::run`], and what `connect` returns.
    ///
    /// # Cancel safety
    /// As [`BatchJob::run`].
    pub async fn run_with<E, F, Fut>(self, connect: F) -> Result<JobOutcome, E>
    where
        E: From<Error> + Send,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<KafkaRddBuilder, E>> + Send,
    {
        // A format that cannot be written is refused before anything is made.
        let schema = kafka_direct::schema(self.columns);
        let output = Output { format: self.format, schema, arrow_types: self.arrow_types };
        output.encoder()?;
        let mut lazy = Lazy { connect: Some(connect), builder: None };
        let settings = self.settings();
        let given = match &self.plan_file {
            Some(file) => Some(self.plan_from(file, &mut lazy).await?),
            None => None,
        };
        let folder = Arc::new(JobFolder::open(&self.folder, self.crash.clone())?);
        folder.refuse_others(&settings, given.as_ref())?;
        let known = folder.plan()?.or(given);
        if let (Some(plan), Some(check)) = (&known, &self.check) {
            check(plan).map_err(Error::invalid)?;
        }
        if let Some(receipt) = folder.receipt()?.filter(|_| !self.force) {
            folder.remove_range_receipts()?;
            return Ok(JobOutcome { receipt, folder: self.folder, ranges_read: 0 });
        }
        let mut builder = lazy.get::<E, Fut>().await?.columns(self.columns);
        if let Some(files) = self.format.files_at_once() {
            builder = builder.default_concurrency(files);
        }
        // A file that cannot be written now cannot be written a moment later either.
        let builder = builder.attempts(1);
        let rdd = match known {
            Some(plan) => builder.build_from_plan(plan).await,
            None => builder.build().await,
        };
        let rdd = rdd.map_err(Error::from)?;
        let files = self.files(rdd.partitions())?;
        folder.refuse_foreign_ranges(&files)?;
        if self.force {
            // Only now: the receipt is where a later job continues, until this one can replace it.
            folder.forget()?;
        }
        let plan_text = folder.claim(&settings, rdd.plan())?;
        let sink = Arc::new(FolderSink::new(folder, files, output, plan_text));
        let written = Box::pin(rdd.write_to(&sink)).await;
        // Tasks that were stopped may still write to a file for a moment.
        sink.wait_until_idle().await;
        let written = written.map_err(Error::from)?;
        let unfinished = || Error::Internal { message: "a job ended without a receipt".into() };
        let receipt = sink.receipt().ok_or_else(unfinished)?;
        Ok(JobOutcome { receipt, folder: self.folder, ranges_read: written.ranges_read })
    }

    async fn plan_from<E, F, Fut>(
        &self,
        file: &std::path::Path,
        lazy: &mut Lazy<F>,
    ) -> Result<BatchPlan, E>
    where
        E: From<Error> + Send,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<KafkaRddBuilder, E>> + Send,
    {
        if let Some((plan, _)) = plan_file::read(file)? {
            return Ok(plan);
        }
        let rdd = lazy.get::<E, Fut>().await?.build().await.map_err(Error::from)?;
        Ok(plan_file::create(file, rdd.plan(), &self.crash)?.0)
    }

    fn settings(&self) -> JobSettings {
        let columns: Vec<&str> = self.columns.iter().map(|column| column.as_str()).collect();
        let mut output = Words::from([
            (FORMAT.to_owned(), self.format.extension().to_owned()),
            ("--columns".to_owned(), columns.join(",")),
        ]);
        if self.format.has_arrow_types() {
            output.insert("--arrow-types".to_owned(), self.arrow_types.to_string());
        }
        if self.format == Format::JsonValues {
            output.insert("--json-values".to_owned(), "yes".to_owned());
        }
        JobSettings::new(output, self.selection.clone())
    }

    fn files(&self, ranges: &[PlannedRange]) -> Result<Vec<String>, Error> {
        let extension = self.format.extension();
        ranges.iter().map(|planned| file_name::range_file(planned, extension)).collect()
    }
}
