//! A job that is killed at any step, finds the folder of another job, or runs twice at once.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use kafka_direct::{
    BatchPlan, Cluster, ClusterConfig, DataLossPolicy, ErrorKind, KafkaRdd, StartOffset,
};
use kafka_direct_broker::{ApiKey, Broker, ErrorCode, Fault, Record};
use tokio::task::JoinSet;

use super::{BatchJob, JobOutcome, Problem, plan_file, verify};
use crate::{
    Error, Format,
    files::{Content, CrashPoint},
};

const TOPIC: &str = "orders.v1-eu";
const PARTITIONS: i32 = 3;
const RECORDS: i64 = 10;
/// Offsets of a range at most: two ranges a partition.
const SPAN: u64 = 6;

async fn filled() -> Broker {
    let broker = Broker::start().await.unwrap();
    broker.create_topic(TOPIC, PARTITIONS + 1).unwrap();
    for partition in 0..PARTITIONS {
        for record in 0..RECORDS {
            let value = format!("{partition}/{record} \u{1f980} \"quoted\"");
            let record = Record::new(value).with_key("k").with_timestamp(record);
            broker.append(TOPIC, partition, [record]).unwrap();
        }
    }
    broker
}

#[derive(Clone)]
struct Run<'a> {
    broker: &'a Broker,
    root: &'a Path,
    with_plan_file: bool,
    force: bool,
    from: i64,
    on_data_loss: DataLossPolicy,
}

impl<'a> Run<'a> {
    fn new(broker: &'a Broker, root: &'a Path) -> Self {
        let on_data_loss = DataLossPolicy::Fail;
        Self { broker, root, with_plan_file: false, force: false, from: 0, on_data_loss }
    }

    fn folder(&self) -> PathBuf {
        self.root.join("out")
    }

    /// Runs the job to its end, or to the step at which it is killed.
    async fn run(&self, crash: CrashPoint) -> Result<JobOutcome, Error> {
        let mut job = BatchJob::new(self.folder(), Format::JsonLines);
        job.crash = crash;
        job = if self.with_plan_file {
            job.plan_file(self.root.join("plan.json"))
        } else {
            job.selected_by(BTreeMap::from([("--from".to_owned(), self.from.to_string())]))
        };
        job = if self.force { job.force() } else { job };
        let connect = || async {
            let cluster = ClusterConfig::new([self.broker.bootstrap()]);
            let cluster = Cluster::connect(cluster).await.map_err(kafka_direct::Error::from)?;
            Ok(KafkaRdd::builder(&cluster)
                .topic(TOPIC)
                .partitions(0..PARTITIONS)
                .start(StartOffset::At(self.from.into()))
                .max_records_per_partition(SPAN)
                .on_data_loss(self.on_data_loss)
                .attempts(1))
        };
        job.run_with(connect).await
    }

    /// The same, repeated while threads of a killed run still hold the lock. In a process that is
    /// killed they would be gone.
    async fn run_when_free(&self) -> Result<JobOutcome, Error> {
        loop {
            match self.run(CrashPoint::never()).await {
                Err(Error::Busy { .. }) => tokio::task::yield_now().await,
                ended => return ended,
            }
        }
    }
}

/// Every file below `root` with its bytes.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Kills a run at every step in turn; each time another run must leave what an undisturbed one leaves.
async fn check_every_kill(shape: impl Fn(Run<'_>) -> Run<'_>, begun: bool) {
    let broker = filled().await;
    let undisturbed = tempfile::tempdir().unwrap();
    shape(Run::new(&broker, undisturbed.path())).run(CrashPoint::never()).await.unwrap();
    let expected = files(undisturbed.path());
    let data = expected.keys().filter(|name| name.ends_with(".jsonl")).count();
    assert_eq!(data, 6, "{:?}", expected.keys());
    for step in 0.. {
        let root = tempfile::tempdir().unwrap();
        let run = shape(Run::new(&broker, root.path()));
        if begun {
            Run { force: false, ..run.clone() }.run(CrashPoint::never()).await.unwrap();
        }
        let died = run.run(CrashPoint::before_step(step)).await;
        let again = Run { force: false, ..run.clone() };
        again.run_when_free().await.unwrap();
        let found = files(root.path());
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{step}");
        assert!(found == expected, "a kill before step {step} changed the bytes of a file");
        if died.is_ok() {
            assert!(step > 20, "only {step} steps were taken");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_killed_at_any_step_and_run_again_leaves_the_same_folder() {
    check_every_kill(|run| run, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_a_plan_file_killed_at_any_step_leaves_the_same_folder() {
    check_every_kill(|run| Run { with_plan_file: true, ..run }, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_run_killed_at_any_step_leaves_the_same_folder() {
    check_every_kill(|run| Run { force: true, ..run }, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_asks_no_broker_unless_forced() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    let run = Run::new(&broker, root.path());
    let done = run.run(CrashPoint::never()).await.unwrap();
    assert_eq!(done.receipt.totals.records, 30);
    let requests = || ApiKey::ALL.into_iter().map(|api| broker.requests(api)).sum::<u64>();
    let before = requests();
    let again = run.run(CrashPoint::never()).await.unwrap();
    assert_eq!((again.receipt, requests()), (done.receipt.clone(), before));
    let forced = Run { force: true, ..run }.run(CrashPoint::never()).await.unwrap();
    assert_eq!(forced.receipt, done.receipt);
    assert!(requests() > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_re_run_reads_only_what_is_not_finished_and_only_the_old_ranges() {
    let broker = filled().await;
    let root = killed_with_files(&broker, 2).await;
    let run = Run::new(&broker, root.path());
    broker.append(TOPIC, 0, [Record::new("came later")]).unwrap();
    let done = run.run_when_free().await.unwrap();
    assert_eq!(done.receipt.totals.records, 30);
    assert!(done.to_string().contains("finished by an earlier run"), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_run_trusts_no_file_of_an_unfinished_one() {
    let broker = filled().await;
    let root = killed_with_files(&broker, 2).await;
    let run = Run { force: true, ..Run::new(&broker, root.path()) };
    let done = run.run_when_free().await.unwrap();
    assert!(!done.to_string().contains("earlier run"), "{done}");
}

/// The folder of a run that was killed after it had finished at least `count` files.
async fn killed_with_files(broker: &Broker, count: usize) -> tempfile::TempDir {
    for step in 0.. {
        let root = tempfile::tempdir().unwrap();
        let run = Run::new(broker, root.path());
        run.run(CrashPoint::before_step(step)).await.map(drop).unwrap_err();
        if data_files(&run.folder()).len() >= count {
            return root;
        }
    }
    unreachable!("a run has an end")
}

fn data_files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_names_every_file_with_its_size_and_checksum() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    let run = Run::new(&broker, root.path());
    let receipt = run.run(CrashPoint::never()).await.unwrap().receipt;
    for range in &receipt.ranges {
        let content = Content::of(&run.folder().join(&range.file.name)).unwrap().unwrap();
        assert_eq!(
            (content.bytes(), content.crc32()),
            (range.file.bytes, range.file.crc32.clone())
        );
        let range = &range.range;
        assert_eq!(range.records, u64::try_from(range.until.distance_from(range.from)).unwrap());
    }
    let names: Vec<_> = receipt.ranges.iter().map(|range| range.file.name.as_str()).collect();
    assert_eq!(names[1], "orders.v1-eu-0-00000000000000000005-00000000000000000010.jsonl");
    assert!(names.is_sorted());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_folder_is_verified_and_every_change_is_found() {
    let broker = filled().await;
    let root = killed_with_files(&broker, 1).await;
    let run = Run::new(&broker, root.path());
    let folder = run.folder();
    assert_eq!(verify(&folder).unwrap_err().kind(), ErrorKind::Invalid);
    let receipt = run.run_when_free().await.unwrap().receipt;
    let found = || verify(&folder).unwrap().mismatches;
    assert_eq!((verify(&folder).unwrap().totals, found()), (receipt.totals, vec![]));
    let names: Vec<_> = receipt.ranges.iter().map(|range| range.file.name.as_str()).collect();
    fs::remove_file(folder.join(names[0])).unwrap();
    fs::write(folder.join(names[1]), "short").unwrap();
    let mut flipped = fs::read(folder.join(names[2])).unwrap();
    flipped[0] ^= 1;
    fs::write(folder.join(names[2]), flipped).unwrap();
    fs::write(folder.join("plan.json"), "{}").unwrap();
    let stranger = "logs-0-00000000000000000000-00000000000000000009.jsonl";
    fs::write(folder.join(stranger), "").unwrap();
    fs::write(folder.join("README.txt"), "nobody minds").unwrap();
    let found = found();
    let files: Vec<&str> = found.iter().map(|mismatch| mismatch.file.as_str()).collect();
    assert_eq!(files, [names[0], names[1], names[2], "plan.json", stranger]);
    assert_eq!(found[0].problem, Problem::Missing);
    let expected = receipt.ranges[1].file.bytes;
    assert_eq!(found[1].problem, Problem::Size { expected, found: 5 });
    assert!(matches!(&found[2].problem, Problem::Checksum { expected, .. }
        if *expected == receipt.ranges[2].file.crc32));
    assert_eq!(found[4].problem, Problem::Unexpected);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_offsets_are_in_the_receipt() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    let run = Run::new(&broker, root.path());
    // The plan is made, then the log is trimmed.
    for step in 0.. {
        run.run(CrashPoint::before_step(step)).await.map(drop).unwrap_err();
        if run.folder().join("plan.json").exists() {
            break;
        }
    }
    broker.trim(TOPIC, 0, 3).unwrap();
    let lost = run.run_when_free().await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::OffsetLost, "{lost}");
    let resumed =
        Run { on_data_loss: DataLossPolicy::Resume, ..run }.run_when_free().await.unwrap();
    let first = &resumed.receipt.ranges[0].range;
    assert_eq!((first.records, first.skipped_offsets, first.resets.len()), (2, 3, 1));
    assert_eq!(resumed.receipt.totals.skipped_offsets, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_file_that_was_changed_is_read_again() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    let run = Run::new(&broker, root.path());
    run.run(CrashPoint::never()).await.unwrap();
    let expected = files(root.path());
    let root = killed_with_files(&broker, 1).await;
    let run = Run { root: root.path(), ..run };
    let path = &data_files(&run.folder())[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
    run.run_when_free().await.unwrap();
    assert!(files(root.path()) == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_another_job_is_refused_by_what_differs() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    let run = Run::new(&broker, root.path());
    run.run(CrashPoint::never()).await.unwrap();
    let before = files(root.path());
    let check = async |run: Run<'_>, named: &str| {
        let error = run.run(CrashPoint::never()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(named), "{error}");
    };
    check(Run { from: 1, ..run.clone() }, "--from was `0` and is now `1`").await;
    // Another plan, from a file.
    let other = tempfile::tempdir().unwrap();
    let elsewhere = Run { root: other.path(), with_plan_file: true, from: 1, ..run.clone() };
    elsewhere.run(CrashPoint::never()).await.unwrap();
    fs::copy(other.path().join("plan.json"), root.path().join("plan.json")).unwrap();
    check(Run { with_plan_file: true, ..run.clone() }, "[0, 5)").await;
    fs::remove_file(root.path().join("plan.json")).unwrap();
    assert!(files(root.path()) == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_ranges_of_unknown_origin_is_refused() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    let run = Run::new(&broker, root.path());
    fs::create_dir(run.folder()).unwrap();
    let stranger = "logs-0-00000000000000000000-00000000000000000009.jsonl";
    fs::write(run.folder().join(stranger), "{}\n").unwrap();
    fs::write(run.folder().join("README.txt"), "nobody minds").unwrap();
    let error = run.run(CrashPoint::never()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(stranger), "{error}");
    assert!(!run.folder().join("plan.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_another_cluster_or_a_re_created_topic_is_refused() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    let run = Run { with_plan_file: true, ..Run::new(&broker, root.path()) };
    run.run(CrashPoint::never()).await.unwrap();
    fs::remove_dir_all(run.folder()).unwrap();
    let other = filled().await;
    let error = Run { broker: &other, ..run.clone() }.run(CrashPoint::never()).await.unwrap_err();
    assert!(error.to_string().contains(other.cluster_id()), "{error}");
    broker.recreate_topic(TOPIC).unwrap();
    let error = run.run(CrashPoint::never()).await.unwrap_err();
    assert!(error.to_string().contains("re-created"), "{error}");
    assert!(!run.folder().join("plan.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_in_the_folder_is_turned_away_and_may_come_back() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    let run = Run::new(&broker, root.path());
    fs::create_dir_all(run.folder().join(".kafka-direct")).unwrap();
    let lock = fs::File::create(run.folder().join(".kafka-direct/lock")).unwrap();
    lock.lock().unwrap();
    let error = run.run(CrashPoint::never()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("another process"), "{error}");
    drop(lock);
    run.run(CrashPoint::never()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_read_leaves_finished_ranges_and_no_temporary_file() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    let run = Run::new(&broker, root.path());
    // TOPIC_AUTHORIZATION_FAILED (29) is not retried.
    broker.faults().every(ApiKey::Fetch, Fault::ErrorCode(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let error = run.run(CrashPoint::never()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    broker.faults().clear();
    assert!(files(root.path()).keys().all(|name| !name.contains("tmp")));
    run.run_when_free().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_race_for_a_plan_file_read_the_same_ranges() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    let plan = root.path().join("plan.json");
    let mut racers = JoinSet::new();
    for from in 0..6i64 {
        let cluster = Cluster::connect(ClusterConfig::new([broker.bootstrap()])).await.unwrap();
        let start = StartOffset::At(from.into());
        let builder =
            KafkaRdd::builder(&cluster).topic(TOPIC).partitions(0..PARTITIONS).start(start);
        let plan = plan.clone();
        racers.spawn(async move {
            let resolve = || async { Ok(builder.build().await?.plan().clone()) };
            plan_file::load_or_create::<Error, _>(&plan, resolve).await.unwrap()
        });
    }
    let plans = racers.join_all().await;
    assert!(plans.iter().all(|plan| *plan == plans[0]));
    assert_eq!(BatchPlan::from_json(&fs::read_to_string(&plan).unwrap()).unwrap(), plans[0]);
    assert_eq!(files(root.path()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_a_description_of_its_own_is_compared_by_its_selection() {
    let broker = filled().await;
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::connect(ClusterConfig::new([broker.bootstrap()])).await.unwrap();
    let job = || BatchJob::new(root.path(), Format::JsonLines);
    let selection = || KafkaRdd::builder(&cluster).topic(TOPIC);
    job().run(selection()).await.unwrap();
    let again = job().run(selection()).await.unwrap();
    assert_eq!(again.ranges_read, 0);
    for (other, named) in [
        (
            selection().start(StartOffset::At(3.into())),
            "start was `earliest` and is now `offset 3`",
        ),
        (selection().partitions([0]), "partitions was not given and is now `0`"),
        (KafkaRdd::builder(&cluster).topic("t"), "topics was `orders.v1-eu` and is now `t`"),
    ] {
        let error = job().run(other).await.unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_has_released_its_folder_and_its_files_when_it_returns() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic(TOPIC, 2).unwrap();
    for _ in 0..20 {
        broker.append(TOPIC, 0, [Record::new(vec![b'x'; 1 << 19])]).unwrap();
        broker.append(TOPIC, 1, [Record::new(vec![b'x'; 1 << 19])]).unwrap();
    }
    broker.append(TOPIC, 1, [Record::new(vec![0xff])]).unwrap();
    let cluster = Cluster::connect(ClusterConfig::new([broker.bootstrap()])).await.unwrap();
    for _ in 0..10 {
        let root = tempfile::tempdir().unwrap();
        let job = BatchJob::new(root.path(), Format::Csv);
        let error = job.run(KafkaRdd::builder(&cluster).topic(TOPIC)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        let lock = fs::File::open(root.path().join(".kafka-direct/lock")).unwrap();
        lock.try_lock().unwrap();
        assert!(files(root.path()).keys().all(|name| !name.contains("tmp")));
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_finished_file_that_cannot_be_read_ends_the_job_and_is_not_read_again() {
    let broker = filled().await;
    let root = killed_with_files(&broker, 1).await;
    let run = Run::new(&broker, root.path());
    let path = &data_files(&run.folder())[0];
    // A folder in the place of the file: opening works, reading does not.
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    let error = run.run_when_free().await.unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
