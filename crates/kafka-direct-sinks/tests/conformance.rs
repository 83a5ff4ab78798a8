//! `StreamFolder` keeps the contract of a stream's committing sink.
#![allow(clippy::unwrap_used, reason = "an unexpected result is a failed test")]

use std::{fs, path::PathBuf};

use kafka_direct::{
    BoxError,
    sink_conformance::{Target, check, columns},
};
use kafka_direct_sinks::{Format, StreamFolder};

struct Folder(PathBuf);

impl Target for Folder {
    type Sink = StreamFolder;

    async fn sink(&self) -> Result<StreamFolder, BoxError> {
        Ok(StreamFolder::builder(&self.0, Format::JsonLines).columns(columns()).build()?)
    }

    async fn visible(&self) -> Result<Vec<(i32, i64)>, BoxError> {
        let mut visible = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "jsonl") {
                continue;
            }
            for line in fs::read_to_string(path)?.lines() {
                let row: serde_json::Value = serde_json::from_str(line)?;
                let partition = i32::try_from(row["partition"].as_i64().unwrap())?;
                visible.push((partition, row["offset"].as_i64().unwrap()));
            }
        }
        Ok(visible)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streams_folder_keeps_the_contract_of_a_committing_sink() {
    let folder = tempfile::tempdir().unwrap();
    check(&Folder(folder.path().to_owned())).await.unwrap();
}
