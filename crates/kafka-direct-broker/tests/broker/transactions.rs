//! Tests of transactional batches: what read_committed returns, and which aborted transactions it
//! lists.

use kafka_direct_broker::{BatchWriter, Broker, Marker, RawOffsets, Record};
use kafka_protocol::messages::FetchResponse;

use crate::client::{Client, bases, broker, fetch, partitions, want};

fn part(broker: &Broker, producer: i64) {
    let batch = BatchWriter::new().transaction(producer, 0).write(&[Record::new("v")]).unwrap();
    broker.append_raw("t", 0, batch, RawOffsets::Assign).unwrap();
}

fn end(broker: &Broker, producer: i64, marker: Marker) {
    let batch = BatchWriter::new().transaction(producer, 0).marker(marker).unwrap();
    broker.append_raw("t", 0, batch, RawOffsets::Assign).unwrap();
}

async fn committed(client: &mut Client, offset: i64, max_bytes: i32) -> FetchResponse {
    let want = want(0, offset).with_partition_max_bytes(max_bytes);
    client.call(11, fetch(vec![want]).with_isolation_level(1)).await
}

#[tokio::test]
async fn read_committed_stops_at_the_last_stable_offset_and_names_aborted_by_marker() {
    let broker = broker(1).await;
    part(&broker, 1); // 0
    part(&broker, 2); // 1
    end(&broker, 2, Marker::Abort); // 2
    part(&broker, 3); // 3
    end(&broker, 1, Marker::Abort); // 4
    end(&broker, 3, Marker::Commit); // 5
    part(&broker, 4); // 6, open
    broker.append("t", 0, [Record::new("plain")]).unwrap(); // 7
    let mut client = Client::memory(&broker, 1);

    let all = committed(&mut client, 0, 1 << 20).await;
    let found = partitions(&all)[0];
    assert_eq!(bases(found), [0, 1, 2, 3, 4, 5]);
    assert_eq!((found.last_stable_offset, found.high_watermark), (6, 8));
    let named = |response: &FetchResponse| {
        let aborted = partitions(response)[0].aborted_transactions.clone();
        aborted.map(|all| all.iter().map(|t| (t.producer_id.0, t.first_offset)).collect::<Vec<_>>())
    };
    assert_eq!(named(&all), Some(vec![(2, 1), (1, 0)]));
    let later = committed(&mut client, 3, 1 << 20).await;
    assert_eq!(named(&later), Some(vec![(1, 0)]));
    let one_batch = committed(&mut client, 0, 1).await;
    assert_eq!(
        (bases(partitions(&one_batch)[0]), named(&one_batch)),
        (vec![0], Some(vec![(1, 0)]))
    );

    let uncommitted = client.call(11, fetch(vec![want(0, 0)])).await;
    assert_eq!(bases(partitions(&uncommitted)[0]).len(), 8);
    assert_eq!(named(&uncommitted), None);

    end(&broker, 4, Marker::Commit); // 8
    let all = committed(&mut client, 6, 1 << 20).await;
    assert_eq!(bases(partitions(&all)[0]), [6, 7, 8]);
    assert_eq!(named(&all), Some(vec![]));
}
