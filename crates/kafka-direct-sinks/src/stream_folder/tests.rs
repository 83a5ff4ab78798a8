//! One driver and its folder: attempts, repeated commits, foreign folders, formats.

use std::{fs, path::Path};

use kafka_direct::{
    ErrorKind, RangeSummary, RangeWriter as _, Sink as _, TaskReceipt, checkpoint::StreamId,
};

use super::{
    StreamFolder,
    store::RETAINED_MANIFESTS,
    test_driver::{
        BATCHES, Driver, EMPTY_PARTITION, below, builder, by_hour, check_finished, columns, lines,
        lines_up_to, ranges, rows, run_all, sorted, temporaries, visible, visible_files,
    },
};
use crate::{Error, Format};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_repeated_or_old_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let driver = Driver::new(root, StreamId::random(), 1);
    let mut all = Vec::new();
    for batch in 0..BATCHES {
        let receipts = driver.stage(batch, &ranges(batch)).await.unwrap();
        driver.commit(batch, &ranges(batch), &receipts).await.unwrap();
        all.push(receipts);
    }
    let before = below(root);
    for (batch, receipts) in (0..).zip(&all) {
        driver.commit(batch, &ranges(batch), receipts).await.unwrap();
        driver.run(batch, &ranges(batch)).await.unwrap();
    }
    assert_eq!(below(root), before);
    check_finished(root);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_commit_holds_what_was_read_of_every_range() {
    let folder = tempfile::tempdir().unwrap();
    let stream = StreamId::random();
    let driver = Driver::new(folder.path(), stream, 1);
    assert_eq!(driver.sink.last_committed(stream).await.unwrap(), None);
    let ranges = ranges(1);
    let mut receipts = driver.stage(1, &ranges).await.unwrap();
    receipts[0].ranges[0].reached = 5.into();
    driver.commit(1, &ranges, &receipts).await.unwrap();
    let last = Driver::new(folder.path(), stream, 2).sink.last_committed(stream).await.unwrap();
    let last = last.unwrap();
    let expected: Vec<RangeSummary> = receipts.into_iter().flat_map(|it| it.ranges).collect();
    assert_eq!((last.batch.get(), last.ranges), (1, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_records_has_a_manifest_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let driver = Driver::new(folder.path(), StreamId::random(), 1);
    driver.run(0, &[(EMPTY_PARTITION, 0, 5)]).await.unwrap();
    driver.run(1, &[]).await.unwrap();
    assert_eq!(driver.last().await.unwrap(), Some(1));
    assert_eq!(below(folder.path()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_dropped_or_aborted_leaves_nothing_and_the_next_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let driver = Driver::new(root, StreamId::random(), 1);
    let ranges = [(0, 0, 4)];
    for attempt in 1..3 {
        let task = driver.task(0, &ranges, 0, attempt);
        let receipt = driver.write(&task).await.unwrap();
        assert_eq!(temporaries(root).len(), 1, "{receipt:?}");
        // Another attempt is not touched.
        driver.sink.abort(&driver.task(0, &ranges, 0, attempt * 10)).await.unwrap();
        assert_eq!(temporaries(root).len(), 1);
        driver.sink.abort(&task).await.unwrap();
        driver.sink.abort(&task).await.unwrap();
        assert_eq!(temporaries(root).len(), 0);
    }
    let receipt = driver.write(&driver.task(0, &ranges, 0, 3)).await.unwrap();
    driver.commit(0, &ranges, &vec![receipt]).await.unwrap();
    assert_eq!(visible(root), sorted(lines(&ranges)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_writer_removes_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let csv = StreamFolder::builder(folder.path(), Format::Csv).columns(columns());
    let driver = Driver::with(csv, StreamId::random(), 1);
    let mut writer = driver.sink.writer(&driver.task(0, &[(0, 0, 4)], 0, 1)).await.unwrap();
    // So many that they do not wait for more.
    writer.write(rows(columns(), 0, 0, 4000)).await.unwrap();
    assert_eq!(temporaries(folder.path()).len(), 1);
    drop(writer);
    assert_eq!(temporaries(folder.path()).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_cut_temporary_file_is_not_committed() {
    for lost in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let driver = Driver::new(folder.path(), StreamId::random(), 1);
        let receipts = driver.stage(0, &ranges(0)).await.unwrap();
        let path = &temporaries(folder.path())[0];
        if lost {
            fs::remove_file(path).unwrap()
        } else {
            fs::write(path, "{").unwrap()
        }
        driver.commit(0, &ranges(0), &receipts).await.unwrap_err();
        assert_eq!(driver.last().await.unwrap(), None);
        assert_eq!(visible(folder.path()).len(), 0);
        driver.run(0, &ranges(0)).await.unwrap();
        assert_eq!(visible(folder.path()), lines_up_to(Some(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_file_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let driver = Driver::new(folder.path(), StreamId::random(), 1);
    let receipts = driver.stage(0, &ranges(0)).await.unwrap();
    let name = &receipts[0].receipt[0].file.name;
    let path = folder.path().join(name);
    // The folder belongs to the stream by now, so that this is not refused as foreign.
    fs::write(&path, "mine").unwrap();
    let append = Driver::with(builder(folder.path()).append(), driver.stream, 1);
    let error = append.commit(0, &ranges(0), &receipts).await.unwrap_err();
    assert!(error.to_string().contains(name.as_str()), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    fs::remove_file(&path).unwrap();
    assert_eq!(append.last().await.unwrap(), Some(0));
    assert_eq!(visible(folder.path()), lines_up_to(Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_reader_has_removed_do_not_return() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let stream = StreamId::random();
    Driver::new(root, stream, 1).run(0, &ranges(0)).await.unwrap();
    for path in visible_files(root, "jsonl") {
        fs::remove_file(path).unwrap();
    }
    let next = Driver::new(root, stream, 2);
    assert_eq!(next.last().await.unwrap(), Some(0));
    next.run(0, &ranges(0)).await.unwrap();
    assert_eq!(visible(root).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_older_drivers_left_is_removed_before_a_newer_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let stream = StreamId::random();
    for generation in 1..5 {
        let driver = Driver::new(root, stream, generation);
        driver.last().await.unwrap();
        driver.stage(0, &ranges(0)).await.unwrap();
        assert_eq!(temporaries(root).len(), 2, "of generation {generation} alone");
    }
    // An older one that is still alive removes nothing.
    Driver::new(root, stream, 1).stage(0, &ranges(0)).await.unwrap();
    assert_eq!(temporaries(root).len(), 4);
}

async fn refused(driver: &Driver, named: &str) {
    let before = below(driver.sink.folder());
    let error = driver.last().await.unwrap_err();
    let error = error.downcast::<Error>().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(named), "{error}");
    assert!(error.to_string().contains("--append"), "{error}");
    driver.run(0, &ranges(0)).await.unwrap_err();
    assert_eq!(below(driver.sink.folder()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_another_stream_is_refused_unless_appending() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let first = Driver::new(root, StreamId::random(), 1);
    run_all(&first).await.unwrap();
    let other = Driver::new(root, StreamId::random(), 1);
    refused(&other, &first.stream.to_string()).await;
    let append = Driver::with(builder(root).append(), other.stream, 1);
    run_all(&append).await.unwrap();
    // Both hold the same records of the same batches, in files of their own.
    assert_eq!(visible_files(root, "jsonl").len(), 12);
    // Both are at home now.
    assert_eq!(Driver::new(root, other.stream, 2).last().await.unwrap(), Some(BATCHES - 1));
    assert_eq!(Driver::new(root, first.stream, 2).last().await.unwrap(), Some(BATCHES - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_streams_that_start_in_an_empty_folder_the_second_to_commit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [1, 2].map(|_| Driver::new(folder.path(), StreamId::random(), 1));
    assert_eq!((first.last().await.unwrap(), second.last().await.unwrap()), (None, None));
    let receipts = second.stage(0, &ranges(0)).await.unwrap();
    first.run(0, &ranges(0)).await.unwrap();
    let error = second.commit(0, &ranges(0), &receipts).await.unwrap_err();
    assert!(error.to_string().contains(&first.stream.to_string()), "{error}");
    assert_eq!(visible(folder.path()), lines_up_to(Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_files_of_unknown_origin_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("README.txt"), "nobody minds").unwrap();
    let driver = Driver::new(root, StreamId::random(), 1);
    assert_eq!(driver.last().await.unwrap(), None);
    let stranger = "logs-0-00000000000000000000-00000000000000000009.jsonl";
    fs::write(root.join(stranger), "").unwrap();
    refused(&Driver::new(root, StreamId::random(), 1), stranger).await;
}

#[test]
fn the_folder_of_a_batch_job_is_refused_when_it_is_opened() {
    for name in ["plan.json", "receipt.json", ".kafka-direct/settings.json"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "{}").unwrap();
        let error = builder(folder.path()).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(name) && error.to_string().contains("--append"));
        builder(folder.path()).append().build().unwrap();
        let error = builder(&path).build().unwrap_err();
        assert!(error.to_string().contains("not a folder"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_manifests_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let driver = Driver::new(root, StreamId::random(), 1);
    let newest = u64::try_from(RETAINED_MANIFESTS).unwrap() + 4;
    for batch in 0..=newest {
        driver.run(batch, &[(EMPTY_PARTITION, 0, 1)]).await.unwrap();
    }
    let kept = visible_files(root, "json");
    assert_eq!(kept.len(), RETAINED_MANIFESTS);
    assert!(kept.last().unwrap().ends_with(format!("{newest:020}.json")));
    assert_eq!(driver.last().await.unwrap(), Some(newest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_was_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let stream = StreamId::random();
    Driver::new(root, stream, 1).run(0, &ranges(0)).await.unwrap();
    let path = &visible_files(root, "json")[0];
    let text = fs::read_to_string(path).unwrap();
    for (changed, named) in [
        (text.replace("\"version\":1", "\"version\":2"), "newer"),
        (text.replace("\"file\":\"batch", "\"file\":\"../batch"), "was changed"),
        (text.replace("\"file\":\"batch", "\"file\":\"a=1/../batch"), "was changed"),
        (text.replace("\"batch\":0", "\"batch\":3"), "of batch 3"),
        (text.replace(&stream.to_string(), &StreamId::random().to_string()), "of stream"),
        (text[..text.len() / 2].to_owned(), "is not the manifest"),
    ] {
        fs::write(path, changed).unwrap();
        let error = Driver::new(root, stream, 2).last().await.unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_in_the_folder_of_their_hour_and_few_files_are_unfinished() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut builder = by_hour(root);
    builder.open_files = 256;
    let driver = Driver::with(builder, StreamId::random(), 1);
    // 300 hours with three records each, and the first hours again.
    let ranges = [(0, 0, 900)];
    let task = driver.task(0, &ranges, 0, 1);
    let columns = driver.sink.columns();
    let mut writer = driver.sink.writer(&task).await.unwrap();
    for (from, until) in [(0, 450), (450, 900), (0, 9)] {
        writer.write(rows(columns, 0, from, until)).await.unwrap();
    }
    // More than are unfinished at once were finished before the end, in their first use.
    assert!(temporaries(root).len() > 40, "{}", temporaries(root).len());
    let summaries = vec![RangeSummary::new(&task.ranges[0])];
    let receipt = writer.finish(&summaries).await.unwrap();
    let receipts = vec![TaskReceipt::new(summaries, receipt)];
    driver.commit(0, &ranges, &receipts).await.unwrap();
    let first = root.join("date=1970-01-01/hour=00");
    assert_eq!(below(&first).len(), 2, "{:?}", below(&first));
    assert_eq!(below(&root.join("date=1970-01-13/hour=03")).len(), 1);
    assert_eq!(visible_files(root, "jsonl").len(), 303);
    let mut expected = lines(&ranges);
    expected.extend(lines(&[(0, 0, 9)]));
    assert_eq!(visible(root), sorted(expected));
    // A folder of its own stream is accepted again.
    Driver::with(by_hour(root), driver.stream, 2).run(1, &[(0, 900, 910)]).await.unwrap();
    assert_eq!(visible(root).len(), 919);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_may_take_files_and_folders_away_between_any_two_commits() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let taken = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (seen, reader) = (std::sync::Arc::clone(&taken), root.clone());
    // Before every step of the driver, all visible files are read and their folders removed.
    let crash = crate::files::CrashPoint::never().observed_by(move || {
        let found = visible(&reader);
        if !found.is_empty() {
            seen.lock().extend(found);
            for entry in fs::read_dir(&reader).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with("date=") {
                    fs::remove_dir_all(entry.path()).unwrap();
                }
            }
        }
    });
    let mut builder = by_hour(&root);
    builder.crash = crash;
    let driver = Driver::with(builder, StreamId::random(), 1);
    for batch in 0..BATCHES {
        driver.run(batch, &ranges(batch)).await.unwrap();
    }
    let mut all = taken.lock().clone();
    all.extend(visible(&root));
    assert_eq!(sorted(all), lines_up_to(Some(BATCHES - 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_layout_are_found_by_a_stream_and_a_job_that_did_not_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    Driver::with(by_hour(root), StreamId::random(), 1).run(0, &ranges(0)).await.unwrap();
    let found = crate::files::find_range_file(root, |_| true).unwrap().unwrap();
    assert!(found.starts_with("date=1970-01-01/hour=0"), "{found}");
    fs::remove_dir_all(root.join(".kafka-direct")).unwrap();
    refused(&Driver::with(by_hour(root), StreamId::random(), 1), "date=1970").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_with_the_longest_names_have_files_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for end in ["a", "b"] {
        let mut driver = Driver::with(builder(root).append(), StreamId::random(), u64::MAX);
        driver.topic = format!("{}{end}", "t".repeat(248));
        driver.run(u64::MAX, &[(i32::MAX, i64::MAX - 2, i64::MAX)]).await.unwrap();
    }
    assert_eq!(visible_files(root, "jsonl").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_belongs_to_no_stream_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let driver = Driver::new(folder.path(), StreamId::random(), 1);
    let mut task = driver.task(0, &ranges(0), 0, 1);
    task.batch.stream = None;
    let error = driver.sink.writer(&task).await.unwrap_err().downcast::<Error>().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_has_complete_files() {
    for format in
        [Format::JsonLines, Format::Csv, Format::Arrow, Format::ArrowStream, Format::Parquet]
    {
        if !format.is_available() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let builder = StreamFolder::builder(root, format).columns(columns());
        let driver = Driver::with(builder, StreamId::random(), 1);
        driver.run(1, &ranges(1)).await.unwrap();
        assert_eq!(visible_files(root, format.extension()).len(), 2, "{format:?}");
        assert_eq!(rows_in(root, format), 7, "{format:?}");
    }
}

fn rows_in(root: &Path, format: Format) -> usize {
    let files = visible_files(root, format.extension());
    let rows = files.iter().map(|path| match format {
        #[cfg(feature = "parquet")]
        Format::Parquet => {
            use parquet::file::reader::{FileReader as _, SerializedFileReader};
            let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
            usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap()
        }
        #[cfg(feature = "arrow-ipc")]
        Format::Arrow => {
            let reader =
                arrow_ipc::reader::FileReader::try_new(fs::File::open(path).unwrap(), None);
            reader.unwrap().map(|batch| batch.unwrap().num_rows()).sum()
        }
        #[cfg(feature = "arrow-ipc")]
        Format::ArrowStream => {
            let file = fs::File::open(path).unwrap();
            let reader = arrow_ipc::reader::StreamReader::try_new(file, None);
            reader.unwrap().map(|batch| batch.unwrap().num_rows()).sum()
        }
        Format::Csv => fs::read_to_string(path).unwrap().lines().count() - 1,
        _ => fs::read_to_string(path).unwrap().lines().count(),
    });
    rows.sum()
}
