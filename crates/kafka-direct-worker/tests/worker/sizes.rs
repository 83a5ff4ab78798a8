//! Batches have the requested sizes; memory is bounded, and shared instead of copied.

use arrow_array::{BinaryViewArray, RecordBatch};
use kafka_direct_core::{BufferPool, Codec, ErrorKind, Fetched};
use kafka_direct_worker::{Column, Columns, DecodeOptions, RangeDecoder, WorkerError, scan};

use crate::{
    batch_writer::{Batch, CODECS, Rec, compress, encode_all, encode_body, fetched},
    reader::{all_columns, column, committed, decode},
};

fn sizes(batches: &[RecordBatch]) -> Vec<usize> {
    batches.iter().map(RecordBatch::num_rows).collect()
}

fn value_log(batches: i64, each: i32, codec: Codec) -> Vec<u8> {
    let batch = |index| {
        let records = (0..each).map(|delta| Rec::value(delta, format!("{index:05} {delta:05}")));
        Batch::new(index * i64::from(each), records.collect()).with_codec(codec)
    };
    encode_all(&(0..batches).map(batch).collect::<Vec<_>>())
}

#[test]
fn small_kafka_batches_and_responses_are_combined_and_large_ones_divided() {
    for codec in CODECS {
        let options = all_columns().max_rows(40);
        let small = [
            fetched(0, value_log(60, 1, codec), &[]),
            fetched(60, vec![], &[]),
            fetched(0, value_log(100, 1, codec), &[]),
        ];
        assert_eq!(sizes(&decode(&committed(0, 1000), &small, &options).unwrap()), [40, 40, 20]);
        let large = [fetched(0, value_log(1, 100, codec), &[])];
        assert_eq!(sizes(&decode(&committed(0, 1000), &large, &options).unwrap()), [40, 40, 20]);
    }
}

#[test]
fn max_bytes_closes_a_batch_with_the_record_that_reaches_it() {
    for codec in CODECS {
        let response = [fetched(0, value_log(2, 10, codec), &[])];
        // Values of 11 bytes.
        let options = DecodeOptions::new().max_bytes(34);
        let batches = decode(&committed(0, 1000), &response, &options).unwrap();
        assert!(sizes(&batches).iter().all(|rows| *rows <= 4), "{:?}", sizes(&batches));
        assert_eq!(sizes(&batches).iter().sum::<usize>(), 20);
        let one = options.max_bytes(0);
        assert_eq!(sizes(&decode(&committed(0, 1000), &response, &one).unwrap()), [1; 20]);
    }
}

#[test]
fn decoding_stops_at_the_requested_batch() {
    let mut bytes = value_log(3, 10, Codec::Lz4);
    *bytes.last_mut().unwrap() ^= 1;
    let mut decoder = RangeDecoder::new(&committed(0, 1000), all_columns().max_rows(10));
    decoder.push(fetched(0, bytes, &[])).unwrap();
    assert!(decoder.next_batch().unwrap().is_some());
    assert_eq!(decoder.counts().kafka_batches, 1);
    assert!(decoder.next_batch().unwrap().is_some());
    assert!(decoder.next_batch().is_err());
}

#[test]
fn values_of_uncompressed_batches_are_views_over_the_response() {
    let value = vec![7; 100];
    let batch = Batch::new(0, vec![Rec::value(0, value), Rec::value(1, "short")]);
    let response = fetched(0, batch.encode(), &[]);
    let records = response.records.clone();
    let batches = decode(&committed(0, 9), &[response], &DecodeOptions::new()).unwrap();
    let values: BinaryViewArray = column(&batches[0], "value");
    let [buffer] = values.data_buffers() else { panic!("one buffer") };
    assert_eq!(buffer.as_ptr(), records.as_ptr());
    assert!(!records.is_unique());
    drop((batches, values));
    assert!(records.is_unique());
}

#[test]
fn bytes_that_no_view_points_into_are_not_kept_alive() {
    let key = |delta, key: &str| Rec { key: Some(key.into()), ..Rec::value(delta, vec![7; 100]) };
    let batch = Batch::new(0, vec![key(0, "short"), key(1, "exactly 12 b")]);
    let only = |column| DecodeOptions::new().columns(Columns::none().with(column));
    for requested in [Column::Key, Column::Offset, Column::Topic] {
        let response = fetched(0, batch.encode(), &[]);
        let records = response.records.clone();
        let batches = decode(&committed(0, 9), &[response], &only(requested)).unwrap();
        assert_eq!(sizes(&batches), [2]);
        assert!(records.is_unique(), "{requested}");
    }
}

/// A response of one uncompressed batch: one record with this key and a value of 100 KB.
fn long_values(index: i64, key: &str) -> Fetched {
    let record = Rec { key: Some(key.into()), ..Rec::value(0, vec![7; 100_000]) };
    fetched(index, Batch::new(index, vec![record]).encode(), &[])
}

#[test]
fn few_bytes_of_many_responses_do_not_keep_them_all_alive() {
    let keys = DecodeOptions::new().columns(Columns::none().with(Column::Key));
    let keys = keys.max_bytes(1 << 20);
    let responses: Vec<Fetched> =
        (0..60).map(|n| long_values(n, "a key that no view can hold")).collect();
    let batches = decode(&committed(0, 1000), &responses, &keys).unwrap();
    assert_eq!(sizes(&batches), [11, 11, 11, 11, 11, 5]);
    // A response that no view points into is released when it is decoded, and closes no batch.
    let responses: Vec<Fetched> = (0..60).map(|n| long_values(n, "short")).collect();
    let mut decoder = RangeDecoder::new(&committed(0, 1000), keys);
    for response in responses {
        let records = response.records.clone();
        decoder.push(response).unwrap();
        assert!(decoder.next_batch().unwrap().is_none());
        assert!(records.is_unique());
    }
    assert_eq!(decoder.pending_rows(), 60);
}

#[test]
fn responses_and_decompressed_bytes_are_kept_up_to_one_bound() {
    let keys = DecodeOptions::new().columns(Columns::none().with(Column::Key));
    let keys = keys.max_bytes(1 << 20);
    let responses: Vec<Fetched> = (0..60)
        .map(|n| {
            let record = Rec { key: Some(vec![b'k'; 30]), ..Rec::value(0, vec![7; 100_000]) };
            let codec = if n % 2 == 0 { Codec::None } else { Codec::Lz4 };
            fetched(n, Batch::new(n, vec![record]).with_codec(codec).encode(), &[])
        })
        .collect();
    let batches = decode(&committed(0, 1000), &responses, &keys).unwrap();
    assert_eq!(sizes(&batches), [11, 11, 11, 11, 11, 5]);
}

#[test]
fn decompressed_bytes_of_the_previous_batch_close_none_unless_views_need_them() {
    let keyed =
        |delta: i32, key: &str| Rec { key: Some(key.into()), ..Rec::value(delta, [7; 600]) };
    for (last, expected) in [("short", vec![4, 4]), ("a key that no view can hold", vec![4, 1, 3])]
    {
        let mut records: Vec<Rec> =
            (0..4).map(|delta| keyed(delta, "a key that no view can hold")).collect();
        records.push(keyed(4, last));
        let first = Batch::new(0, records).with_codec(Codec::Zstd);
        let responses: Vec<Fetched> = std::iter::once(fetched(0, first.encode(), &[]))
            .chain((5..8).map(|n| fetched(n, Batch::new(n, vec![keyed(0, "k")]).encode(), &[])))
            .collect();
        let keys = DecodeOptions::new().columns(Columns::none().with(Column::Key));
        let keys = keys.max_rows(4).max_bytes(2000);
        assert_eq!(
            sizes(&decode(&committed(0, 9), &responses, &keys).unwrap()),
            expected,
            "{last}"
        );
    }
}

#[test]
fn a_batch_that_starts_inside_a_kafka_batch_is_as_large_as_others() {
    // Arrow batches are closed by rows or by max_bytes, and do not end where Kafka batches do.
    for (bytes, each) in [(1024, 1000), (700, 1000), (2048, 500)] {
        let responses: Vec<Fetched> = (0..40)
            .map(|n| {
                let records = (0..each).map(|delta| Rec::value(delta, vec![7; bytes])).collect();
                let base = n * i64::from(each);
                fetched(base, Batch::new(base, records).with_codec(Codec::Lz4).encode(), &[])
            })
            .collect();
        let options = DecodeOptions::new();
        let rows = (options.max_bytes.div_ceil(bytes)).min(options.max_rows);
        let sizes = sizes(&decode(&committed(0, 1 << 20), &responses, &options).unwrap());
        // An Arrow batch that also keeps the rest of a Kafka batch alive closes earlier by that
        // many rows.
        let least = rows - usize::try_from(each).unwrap();
        let (_, full) = sizes.split_last().unwrap();
        assert!(full.iter().all(|size| *size >= least), "{bytes}: {sizes:?}");
    }
}

/// Two records, the first of which is corrupt: its header count is 2, and only one header follows.
/// Views are made over that header before the fault is found.
fn with_missing_second_header() -> Vec<u8> {
    let headers = vec![(vec![0xff; 30], Some(vec![7; 100_000]))];
    let mut broken = Rec { headers, ..Rec::default() }.body();
    broken[5] = 4;
    let mut plain = Vec::new();
    encode_body(&mut plain, &broken);
    Rec::value(1, "good").encode(&mut plain);
    plain
}

#[test]
fn corrupt_batches_after_a_pending_row_keep_nothing_alive() {
    for codec in CODECS {
        let mut decoder = RangeDecoder::new(&committed(0, 1000), all_columns());
        decoder.push(fetched(0, Batch::of_values(0, &["first"]).encode(), &[])).unwrap();
        assert!(decoder.next_batch().unwrap().is_none());
        let mut batch = Batch::of_values(1, &["", ""]).with_codec(codec);
        batch.plain = Some(with_missing_second_header());
        for _ in 0..30 {
            let response = fetched(1, batch.encode(), &[]);
            let records = response.records.clone();
            decoder.push(response).unwrap();
            assert!(decoder.next_batch().is_err());
            assert_eq!(decoder.pending_rows(), 1);
            assert!(records.is_unique(), "{codec:?}");
        }
        assert_eq!(decoder.flush().unwrap().unwrap().num_rows(), 1);
    }
}

#[test]
fn a_corrupt_batch_pushed_again_adds_no_decompressed_bytes() {
    let mut broken = Rec::value(1, vec![7; 50_000]).body();
    broken[5] = 0x7f;
    let mut plain = Vec::new();
    Rec::value(0, vec![7; 100]).encode(&mut plain);
    encode_body(&mut plain, &broken);
    let mut batch = Batch::of_values(0, &["", ""]).with_codec(Codec::Lz4);
    batch.plain = Some(plain);
    let mut decoder = RangeDecoder::new(&committed(0, 1000), all_columns());
    for _ in 0..30 {
        decoder.push(fetched(0, batch.encode(), &[])).unwrap();
        assert!(decoder.next_batch().is_err());
        assert_eq!(decoder.pending_rows(), 1);
    }
    let values: BinaryViewArray = column(&decoder.flush().unwrap().unwrap(), "value");
    assert!(values.data_buffers()[0].len() < 60_000, "{}", values.data_buffers()[0].len());
}

#[test]
fn responses_that_are_corrupt_after_a_row_are_kept_up_to_max_bytes() {
    let options = all_columns().max_bytes(1 << 20);
    let mut decoder = RangeDecoder::new(&committed(0, 1000), options);
    let (mut responses, mut sizes) = (Vec::new(), Vec::new());
    for n in 0..40 {
        let mut bytes = Batch::of_values(n, &["more than a view can hold"]).encode();
        let mut broken = Batch::new(n + 1, vec![Rec::value(0, vec![7; 100_000])]).encode();
        *broken.last_mut().unwrap() ^= 1;
        bytes.extend(broken);
        let response = fetched(n, bytes, &[]);
        responses.push(response.records.clone());
        decoder.push(response).unwrap();
        loop {
            match decoder.next_batch() {
                Ok(Some(batch)) => sizes.push(batch.num_rows()),
                Ok(None) => panic!("the corrupt batch was skipped"),
                Err(error) => break assert_eq!(error.kind(), ErrorKind::Corrupt),
            }
        }
        let kept = responses.iter().filter(|records| !records.is_unique()).count();
        assert!(kept <= 11, "{kept} responses");
    }
    assert_eq!(sizes, [11, 11, 11]);
}

#[test]
fn a_corrupt_batch_that_is_pushed_repeatedly_keeps_nothing_alive() {
    for codec in CODECS {
        let mut batch = Batch::of_values(0, &["", ""]).with_codec(codec);
        batch.plain = Some(with_missing_second_header());
        let pool = BufferPool::new(64 << 20);
        let mut decoder = RangeDecoder::with_pool(&committed(0, 1000), all_columns(), pool.clone());
        for _ in 0..30 {
            let response = fetched(0, batch.encode(), &[]);
            let records = response.records.clone();
            decoder.push(response).unwrap();
            assert!(decoder.next_batch().is_err());
            assert_eq!(decoder.pending_rows(), 0);
            assert!(records.is_unique(), "{codec:?}");
        }
        drop(decoder);
        // No arena was larger than one batch needs, plus some reserve.
        let unused: Vec<Vec<u8>> = (0..30).map(|_| pool.take_any(64 << 10)).collect();
        assert!(unused.iter().all(|buffer| buffer.capacity() < 1 << 20), "{codec:?}");
    }
}

#[test]
fn a_batch_over_decompressed_bytes_keeps_no_unused_space_alive() {
    let batch = Batch::new(0, vec![Rec::value(0, vec![7; 100])]).with_codec(Codec::Lz4);
    let response = fetched(0, batch.encode(), &[]);
    let batches = decode(&committed(0, 9), &[response], &DecodeOptions::new()).unwrap();
    let values: BinaryViewArray = column(&batches[0], "value");
    assert_eq!(values.data_buffers().len(), 1);
    assert!(values.data_buffers()[0].capacity() < 400, "{:?}", values.data_buffers()[0].capacity());
}

#[test]
fn a_bomb_ends_at_the_bound_and_its_error_names_the_option() {
    let plain = vec![0; 4 << 20];
    for codec in CODECS.into_iter().filter(|codec| *codec != Codec::None) {
        let mut batch = Batch::of_values(5, &["x"]).with_codec(codec);
        batch.stored = Some(compress(codec, &plain));
        let options = all_columns().max_batch_bytes(1 << 20);
        let response = fetched(0, batch.encode(), &[]);
        let error =
            decode(&committed(0, 9), std::slice::from_ref(&response), &options).unwrap_err();
        assert!(matches!(error, WorkerError::BatchTooLarge { .. }), "{codec:?} {error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("`max_batch_bytes`"), "{error}");
        assert!(error.to_string().contains("offset 5"), "{error}");
        // At an end of the range, a scan decompresses the batch too.
        let mut edge = batch.clone();
        edge.base = 0;
        edge.last_delta = Some(9);
        let error = scan(&committed(1, 9), &fetched(0, edge.encode(), &[]), &options);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a_batch_of_exactly_the_bound_is_read() {
    for codec in CODECS {
        let batch = Batch::of_values(0, &["a", "b"]).with_codec(codec);
        let bound = Batch::of_values(0, &["a", "b"]).encode().len() - 61;
        let response = [fetched(0, batch.encode(), &[])];
        let options = all_columns().max_batch_bytes(bound);
        assert_eq!(
            sizes(&decode(&committed(0, 9), &response, &options).unwrap()),
            [2],
            "{codec:?}"
        );
    }
}

#[test]
fn keys_alone_do_not_keep_more_decompressed_bytes_than_max_bytes() {
    let record = |delta| Rec { key: Some(vec![1; 20]), ..Rec::value(delta, vec![2; 10_000]) };
    let batch = |index: i64| Batch::new(index, vec![record(0)]).with_codec(Codec::Zstd);
    let log = encode_all(&(0..50).map(batch).collect::<Vec<_>>());
    let options =
        DecodeOptions::new().columns(Columns::none().with(Column::Key)).max_bytes(100_000);
    let batches = decode(&committed(0, 99), &[fetched(0, log, &[])], &options).unwrap();
    assert_eq!(sizes(&batches), [10; 5]);
}

#[test]
fn counts_are_the_totals_of_the_decoder() {
    let log = [
        Batch::new(0, vec![Rec { key: Some(b"kk".to_vec()), ..Rec::value(0, "vvv") }]),
        Batch::of_values(1, &["aborted"]).with_producer(4),
        Batch::marker(2, 4, false),
        Batch::of_values(3, &["v"]).with_codec(Codec::Gzip),
    ];
    let mut decoder = RangeDecoder::new(&committed(0, 9), DecodeOptions::new());
    decoder.push(fetched(0, encode_all(&log), &[(4, 1)])).unwrap();
    assert!(decoder.next_batch().unwrap().is_none());
    assert_eq!(decoder.counts().records, 0);
    decoder.flush().unwrap();
    let counts = *decoder.counts();
    assert_eq!((counts.records, counts.key_bytes, counts.value_bytes), (2, 2, 4));
    assert_eq!((counts.kafka_batches, counts.aborted_batches, counts.control_batches), (4, 1, 1));
    assert_eq!(counts.decompressed_bytes, 12 + 8);
    assert_eq!(counts.codecs.names().collect::<Vec<_>>(), ["none", "gzip"]);
    assert_eq!(counts.plus(&counts).records, 4);
}
