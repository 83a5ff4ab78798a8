//! Runs the binary, and starts and fills brokers.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use kafka_direct_broker::{BatchWriter, Broker, RawOffsets, Record};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

/// Time limit for a command; every command of these tests takes much less.
const LIMIT: Duration = Duration::from_secs(60);

/// The exit code and the output of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Returns stdout as text, and checks that the command succeeded with an empty stderr.
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        String::from_utf8(self.stdout).unwrap()
    }

    /// Checks that `produce` succeeded and reported how much it wrote.
    pub(crate) fn wrote(self) {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        assert!(self.stderr.contains(" written to "), "{}", self.stderr);
    }

    /// Returns the JSON of a successful `bench`, whose rounds are too short in these tests.
    pub(crate) fn measured(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        let mut warnings = self.stderr.lines();
        assert!(warnings.all(|line| line.starts_with("warning: rounds of ")), "{}", self.stderr);
        String::from_utf8(self.stdout).unwrap()
    }

    /// Returns the lines of stdout of a successful command, sorted.
    pub(crate) fn sorted_lines(self) -> Vec<String> {
        let mut lines: Vec<String> = self.ok().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Returns stderr, and checks that the command ended with `code` and an empty stdout.
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert_eq!(String::from_utf8_lossy(&self.stdout), "");
        self.stderr
    }
}

/// Returns a command for the binary, without the environment of this process.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-direct"));
    command.args(args).env_clear().env("HOME", "/nonexistent").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a prepared command to its end.
pub(crate) async fn finish(mut command: Command) -> Outcome {
    outcome(command.spawn().unwrap()).await
}

/// Waits for a command to end.
pub(crate) async fn outcome(child: Child) -> Outcome {
    let Output { status, stdout, stderr } =
        timeout(LIMIT, child.wait_with_output()).await.expect("the command is stuck").unwrap();
    Outcome { code: status.code(), stdout, stderr: String::from_utf8(stderr).unwrap() }
}

/// Runs the binary with these arguments.
pub(crate) async fn run(args: &[&str]) -> Outcome {
    finish(command(args)).await
}

/// Runs a subcommand with `-b` for this broker.
pub(crate) async fn at(broker: &Broker, args: &[&str]) -> Outcome {
    run(&with_brokers(args, &broker.bootstrap())).await
}

/// Runs a subcommand with `-b` for this broker and `input` on stdin.
pub(crate) async fn fed(broker: &Broker, args: &[&str], input: &[u8]) -> Outcome {
    let bootstrap = broker.bootstrap();
    let mut command = command(&with_brokers(args, &bootstrap));
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = async {
        // A command that rejects its input closes the pipe early.
        drop(stdin.write_all(input).await);
        drop(stdin);
    };
    let ((), outcome) = tokio::join!(feed, outcome(child));
    outcome
}

fn with_brokers<'a>(args: &[&'a str], bootstrap: &'a str) -> Vec<&'a str> {
    let (name, rest) = args.split_first().unwrap();
    [&[*name, "-b", bootstrap], rest].concat()
}

/// Starts a broker with one topic.
pub(crate) async fn broker(topic: &str, partitions: i32) -> Broker {
    let broker = Broker::start().await.unwrap();
    broker.create_topic(topic, partitions).unwrap();
    broker
}

/// Appends `count` records `<partition>/<offset>` to every partition, seven in each batch.
///
/// The timestamp of a record is 1000 + its offset.
pub(crate) fn fill(broker: &Broker, topic: &str, partitions: i32, count: i64) {
    for partition in 0..partitions {
        let records: Vec<Record> = (0..count)
            .map(|offset| {
                Record::new(format!("{partition}/{offset}")).with_timestamp(1000 + offset)
            })
            .collect();
        for batch in records.chunks(7) {
            broker.append(topic, partition, batch).unwrap();
        }
    }
}

/// Appends a batch to partition 0 whose last byte does not match its checksum.
pub(crate) fn corrupt(broker: &Broker, topic: &str) {
    let mut batch = BatchWriter::new().write(&[Record::new("broken")]).unwrap().to_vec();
    *batch.last_mut().unwrap() ^= 0xff;
    broker.append_raw(topic, 0, batch, RawOffsets::Assign).unwrap();
}

/// Returns the values that `fill` wrote to these offsets of one partition.
pub(crate) fn values(partition: i32, offsets: std::ops::Range<i64>) -> Vec<String> {
    offsets.map(|offset| format!("{partition}/{offset}")).collect()
}

/// Commits offsets of partitions 0, 1, … of a topic for a group, with an OffsetCommit v2 request.
pub(crate) async fn commit(broker: &Broker, group: &str, topic: &str, offsets: &[i64]) {
    let text = |text: &str| {
        let length = i16::try_from(text.len()).unwrap().to_be_bytes();
        [&length[..], text.as_bytes()].concat()
    };
    let partitions = offsets.iter().enumerate().map(|(index, offset)| {
        let index = i32::try_from(index).unwrap().to_be_bytes();
        [&index[..], &offset.to_be_bytes(), &text("")].concat()
    });
    let count = i32::try_from(offsets.len()).unwrap().to_be_bytes();
    let request = [
        // Api 8, version 2, correlation 1, client, group, no generation, no member, no retention.
        &[0, 8, 0, 2, 0, 0, 0, 1][..],
        &text("test"),
        &text(group),
        &(-1i32).to_be_bytes(),
        &text(""),
        &(-1i64).to_be_bytes(),
        &1i32.to_be_bytes(),
        &text(topic),
        &count,
        &partitions.collect::<Vec<_>>().concat(),
    ]
    .concat();
    let mut socket = TcpStream::connect(broker.bootstrap()).await.unwrap();
    socket.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).await.unwrap();
    socket.write_all(&request).await.unwrap();
    socket.read_u32().await.unwrap();
    for (index, offset) in offsets.iter().enumerate() {
        let committed = broker.committed(group, topic, i32::try_from(index).unwrap()).unwrap();
        assert_eq!(committed.get(), *offset);
    }
}
