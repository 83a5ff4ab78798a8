//! `produce`: writes lines and JSON lines to an existing topic.

use bytes::Bytes;
use kafka_direct_broker::Record;

use crate::driven::{at, broker, fed};

#[tokio::test(flavor = "multi_thread")]
async fn lines_become_values_round_robin_over_the_partitions() {
    let broker = broker("t", 3).await;
    fed(&broker, &["produce", "-t", "t"], b"a\nb\n\nd\n\xff").await.wrote();
    let read = async |partition: &str| {
        at(&broker, &["read", "-t", "t", "-f", "raw", "-p", partition]).await.stdout
    };
    assert_eq!(read("0").await, b"a\nd\n");
    assert_eq!(read("1").await, b"b\n\xff\n");
    assert_eq!(read("2").await, b"\n", "an empty line is an empty value");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_split_off_and_one_partition_keeps_the_order() {
    let broker = broker("t", 3).await;
    let args = ["produce", "-t", "t", "-p", "1", "-K", "\\t"];
    fed(&broker, &args, b"k\tv\nbare\n\tno key bytes\n").await.wrote();
    let read = at(&broker, &["read", "-t", "t", "--columns", "partition,key,value"]).await.ok();
    let expected = "{\"partition\":1,\"key\":\"k\",\"value\":\"v\"}
{\"partition\":1,\"key\":null,\"value\":\"bare\"}
{\"partition\":1,\"key\":\"\",\"value\":\"no key bytes\"}\n";
    assert_eq!(read, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_read_can_be_written_back_with_every_codec() {
    let broker = broker("from", 2).await;
    let odd = || Bytes::from_static(b"\xff\xfe");
    for partition in 0..2 {
        broker
            .append(
                "from",
                partition,
                [
                    Record::new("v").with_key("k").with_timestamp(1_700_000_000_123),
                    Record::tombstone(odd()).with_timestamp(2),
                    Record::new(odd()).with_timestamp(3).with_header("h", Some(odd())),
                    Record::new("").with_timestamp(4).with_header("a", Some("b".into())),
                ],
            )
            .unwrap();
    }
    let columns = "partition,offset,timestamp,key,value,headers";
    let read = ["read", "--columns", columns, "-t"];
    let printed = at(&broker, &[&read[..], &["from"]].concat()).await.ok();
    let mut expected: Vec<&str> = printed.lines().collect();
    expected.sort_unstable();
    for codec in ["none", "gzip", "lz4", "snappy", "zstd"] {
        broker.create_topic(codec, 2).unwrap();
        let args = ["produce", "-t", codec, "--json", "--compression", codec];
        fed(&broker, &args, printed.as_bytes()).await.wrote();
        let written = at(&broker, &[&read[..], &[codec]].concat()).await.sorted_lines();
        assert_eq!(written, expected, "{codec}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_lines_arrive_whole_and_in_order() {
    let broker = broker("t", 1).await;
    let lines: String = (0..50_000).map(|n| format!("line {n} {}\n", "x".repeat(60))).collect();
    fed(&broker, &["produce", "-t", "t"], lines.as_bytes()).await.wrote();
    let read = at(&broker, &["read", "-t", "t", "-f", "raw"]).await.ok();
    assert!(read == lines, "{} bytes in, {} bytes out", lines.len(), read.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_value_is_an_error_and_no_tombstone() {
    let broker = broker("t", 1).await;
    let input = b"{\"key\":\"a\",\"value\":null}\n{\"key\":\"b\",\"payload\":\"v\"}\n";
    let failed = fed(&broker, &["produce", "-t", "t", "--json"], input).await.failed(2);
    assert!(failed.contains("line 2") && failed.contains("`payload`"), "{failed}");
    assert!(failed.contains("records written to t before"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_one_key_are_in_the_partition_that_the_java_producer_chooses() {
    let broker = broker("t", 7).await;
    fed(&broker, &["produce", "-t", "t", "-K", ":"], b"foobar:1\nabc:2\nfoobar:3\n").await.wrote();
    let read =
        at(&broker, &["read", "-t", "t", "--columns", "partition,value"]).await.sorted_lines();
    // (murmur2 & 0x7fffffff) % 7, with the hashes of Kafka's own tests.
    let expected = [(-790_332_482_i32, "1"), (479_470_107, "2"), (-790_332_482, "3")]
        .map(|(hash, value)| (hash & 0x7fff_ffff).rem_euclid(7).to_string() + value);
    let mut found: Vec<String> =
        read.iter().map(|line| line.chars().filter(char::is_ascii_digit).collect()).collect();
    found.sort_by_key(|text| text.chars().last());
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_the_line_that_cannot_be_written() {
    let broker = broker("t", 2).await;
    for (args, input, named) in [
        (&["--json"][..], "{\"value\":\"ok\"}\nnonsense\n", "line 2"),
        (&["--json"], "{\"value\":\"v\",\"partition\":7}\n", "partition 7"),
        (&["-p", "2"], "x\n", "partitions 0 to 1"),
        (&["-K", ""], "x\n", "--key-separator"),
        (&["-z", "brotli"], "x\n", "brotli"),
    ] {
        let args = [&["produce", "-t", "t"][..], args].concat();
        let failed = fed(&broker, &args, input.as_bytes()).await.failed(2);
        assert!(failed.contains(named), "{failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_listen_is_unavailable() {
    let args = ["produce", "-b", "127.0.0.1:1", "-t", "t"];
    let failed = crate::driven::run(&args).await.failed(7);
    assert!(failed.contains("127.0.0.1:1"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_trickle_in_are_written_while_they_do() {
    use tokio::io::AsyncWriteExt as _;

    let broker = broker("t", 2).await;
    let bootstrap = broker.bootstrap();
    let mut command = crate::driven::command(&["produce", "-b", &bootstrap, "-t", "t"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let written = || (0..2).map(|p| broker.watermarks("t", p).unwrap().high.get()).sum::<i64>();
    let began = tokio::time::Instant::now();
    // A line every few milliseconds, and never a pause.
    while written() < 20 {
        stdin.write_all(b"line\n").await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "nothing is written");
    }
    drop(stdin);
    crate::driven::outcome(child).await.wrote();
}
