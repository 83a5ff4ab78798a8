//! Logs whose older part is in remote storage (KIP-405).

use kafka_direct::{Columns, ErrorKind, KafkaRdd, StartOffset};
use kafka_direct_broker::{ApiKey, BatchWriter, Fault, RawOffsets};

use super::{broker, connect, offsets, whole};

#[tokio::test]
async fn remote_storage_that_is_late_is_waited_for_and_never_a_hole() {
    let broker = broker(1, 40, 4).await;
    let rdd = whole(&connect(&broker).await).await;
    broker.set_local_start("t", 0, Some(20.into())).unwrap();
    broker.faults().every(ApiKey::Fetch, Fault::Empty);
    let read = tokio::spawn(async move { offsets(&rdd).await });
    // Many more empty responses than the reader needs to detect a hole.
    while broker.requests(ApiKey::Fetch) < 12 {
        assert!(!read.is_finished(), "{:?}", read.await);
        tokio::task::yield_now().await;
    }
    broker.faults().clear();
    assert_eq!(read.await.unwrap().unwrap(), (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn remote_storage_out_of_reach_is_unavailable_and_named() {
    let broker = broker(1, 40, 4).await;
    let rdd = whole(&connect(&broker).await).await;
    broker.set_local_start("t", 0, Some(20.into())).unwrap();
    broker.faults().every(ApiKey::Fetch, Fault::Empty);
    let error = offsets(&rdd).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains("t-0 [0, 40)") && text.contains("remote storage"), "{text}");
}

#[tokio::test]
async fn a_hole_in_the_local_part_ends_the_range_whatever_the_broker_reports_of_remote_storage() {
    for versions in [2..=7, 2..=8, 2..=10] {
        let broker = broker(1, 40, 4).await;
        broker.cap_versions(ApiKey::ListOffsets, versions.clone());
        let straddling =
            BatchWriter::new().base_offset(50).last_offset_delta(9).write(&[]).unwrap();
        broker.append_raw("t", 0, straddling, RawOffsets::Keep).unwrap();
        broker.truncate("t", 0, 55).unwrap();
        broker.set_local_start("t", 0, Some(20.into())).unwrap();
        let cluster = connect(&broker).await;
        let builder = KafkaRdd::builder(&cluster).topic("t").columns(Columns::all());
        let rdd = builder.start(StartOffset::At(20.into())).build().await.unwrap();
        assert_eq!(rdd.span(), 35);
        let read = offsets(&rdd).await.unwrap();
        assert_eq!(read, (20..40).collect::<Vec<_>>(), "ListOffsets {versions:?}");
    }
}
