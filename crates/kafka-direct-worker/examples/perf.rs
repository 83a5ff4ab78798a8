//! temporary
#![allow(warnings, clippy::all, clippy::restriction, clippy::pedantic)]
struct Instant(u64);
fn cpu() -> u64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .unwrap()
        .split(" ")
        .next()
        .unwrap()
        .parse()
        .unwrap()
}
impl Instant {
    fn now() -> Self {
        Self(cpu())
    }
    fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(cpu() - self.0)
    }
}
use bytes::Bytes;
use kafka_direct_core::*;
use kafka_direct_worker::*;
#[path = "../tests/worker/batch_writer.rs"]
mod bw;
use bw::*;

fn varint(p: &[u8], at: &mut usize) -> i64 {
    let (mut u, mut shift) = (0u64, 0);
    loop {
        let b = p[*at];
        *at += 1;
        u |= u64::from(b & 0x7f) << shift;
        if b < 0x80 {
            return ((u >> 1) as i64) ^ -((u & 1) as i64);
        }
        shift += 7;
    }
}
#[inline(always)]
fn view(d: &[u8], at: u32) -> u128 {
    let n = d.len() as u32;
    if n <= 12 {
        let mut a = [0u8; 16];
        a[..4].copy_from_slice(&n.to_le_bytes());
        a[4..4 + d.len()].copy_from_slice(d);
        u128::from_le_bytes(a)
    } else {
        let prefix = u32::from_le_bytes([d[0], d[1], d[2], d[3]]);
        u128::from(n) | u128::from(prefix) << 32 | u128::from(at) << 96
    }
}
#[derive(Default)]
struct Cols {
    offset: Vec<i64>,
    timestamp: Vec<i64>,
    key: Vec<u128>,
    value: Vec<u128>,
}
fn records(p: &[u8], base: i64, first_ts: i64, count: i32, c: &mut Cols) -> u64 {
    let (mut at, mut bytes) = (0, 0);
    for _ in 0..count {
        let n = varint(p, &mut at) as usize;
        let end = at + n;
        at += 1;
        c.timestamp.push(first_ts + varint(p, &mut at));
        c.offset.push(base + varint(p, &mut at));
        let k = varint(p, &mut at);
        if k >= 0 {
            c.key.push(view(&p[at..at + k as usize], at as u32));
            at += k as usize;
        } else {
            c.key.push(0);
        }
        let v = varint(p, &mut at);
        if v >= 0 {
            c.value.push(view(&p[at..at + v as usize], at as u32));
            bytes += v as u64;
        } else {
            c.value.push(0);
        }
        at = end;
    }
    bytes
}
fn lz4_frame(src: &[u8], out: &mut Vec<u8>) {
    let flags = src[4];
    let mut at = 7 + if flags & 0x08 != 0 { 8 } else { 0 };
    out.clear();
    let max = 64 << 10 << (2 * (usize::from(src[5] >> 4 & 7).max(4) - 4));
    loop {
        let n = u32::from_le_bytes(src[at..at + 4].try_into().expect("4"));
        at += 4;
        if n == 0 {
            return;
        }
        let len = (n & 0x7fff_ffff) as usize;
        let block = &src[at..at + len];
        if n >> 31 == 1 {
            out.extend_from_slice(block);
        } else {
            let start = out.len();
            out.resize(start + max, 0);
            let (dict, rest) = out.split_at_mut(start);
            let n = if flags & 0x20 != 0 {
                lz4_flex::block::decompress_into(block, rest)
            } else {
                let from = dict.len().saturating_sub(64 << 10);
                lz4_flex::block::decompress_into_with_dict(block, rest, &dict[from..])
            }
            .expect("lz4");
            out.truncate(start + n);
        }
        at += len + if flags & 0x10 != 0 { 4 } else { 0 };
    }
}
fn inflate(codec: i16, src: &[u8], out: &mut Vec<u8>, z: &mut zstd::bulk::Decompressor<'static>) {
    use std::io::Read;
    match codec {
        1 => {
            out.clear();
            flate2::read::GzDecoder::new(src).read_to_end(out).unwrap();
        }
        2 => {
            out.clear();
            let n = snap::raw::decompress_len(src).unwrap();
            out.resize(n, 0);
            snap::raw::Decoder::new().decompress(src, out).unwrap();
        }
        3 => lz4_frame(src, out),
        4 => {
            let mut room = (src.len() * 8).max(1 << 16);
            loop {
                out.clear();
                out.reserve(room);
                match z.decompress_to_buffer(src, out) {
                    Ok(_) => return,
                    Err(_) => room *= 2,
                }
            }
        }
        _ => panic!(),
    }
}
struct Floor {
    c: Cols,
    out: Vec<u8>,
    z: zstd::bulk::Decompressor<'static>,
}
impl Floor {
    fn run(&mut self, set: &[u8]) -> u64 {
        let columns = &mut self.c;
        columns.offset.clear();
        columns.timestamp.clear();
        columns.key.clear();
        columns.value.clear();
        let mut at = 0;
        let mut n = 0;
        let be32 = |p: &[u8]| i32::from_be_bytes(p[..4].try_into().unwrap());
        let be64 = |p: &[u8]| i64::from_be_bytes(p[..8].try_into().unwrap());
        // header walk as the floor does before
        while at + 61 <= set.len() {
            at += 12 + be32(&set[at + 8..]) as usize;
        }
        at = 0;
        while at < set.len() {
            let len = 12 + be32(&set[at + 8..]) as usize;
            let b = &set[at..at + len];
            at += len;
            let attributes = i16::from_be_bytes([b[21], b[22]]);
            let count = be32(&b[57..]);
            n += count as u64;
            let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &b[21..]);
            assert_eq!(crc, u64::from(be32(&b[17..]) as u32), "crc");
            let codec = attributes & 7;
            let body = if codec == 0 {
                &b[61..]
            } else {
                inflate(codec, &b[61..], &mut self.out, &mut self.z);
                &self.out
            };
            records(body, be64(b), be64(&b[27..]), count, columns);
        }
        std::hint::black_box(&columns.value);
        n
    }
}
fn rng(s: &mut u64) -> u64 {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    *s
}
fn values(kind: &str, i: u64, s: &mut u64) -> Vec<u8> {
    match kind {
        "rand100" => (0..100).map(|_| rng(s) as u8).collect(),
        "rand1k" => (0..1024).map(|_| rng(s) as u8).collect(),
        _ => format!("{{\"id\":{:012},\"user\":\"user-{:06}\",\"event\":\"page_view\",\"url\":\"https://example.com/products/{}/details?ref={}\",\"amount\":{}.{:02},\"country\":\"DE\",\"session\":\"{:016x}\",\"agent\":\"Mozilla/5.0 (X11; Linux)\",\"ok\":true}}", i, rng(s) % 100000, rng(s) % 5000, rng(s) % 50, rng(s) % 1000, rng(s) % 100, rng(s)).into_bytes(),
    }
}
fn build(kind: &str, per_batch: usize, total_bytes: usize, codec: Codec) -> (Vec<Vec<u8>>, u64) {
    // sets of ~1 MiB
    let mut s = 88172645463325252u64;
    let mut sets = vec![];
    let mut cur = vec![];
    let mut base = 0i64;
    let mut bytes = 0;
    let mut n = 0;
    while bytes < total_bytes {
        let recs: Vec<Rec> = (0..per_batch)
            .map(|d| Rec {
                delta: d as i32,
                time_delta: (d / 40) as i64,
                key: None,
                value: Some(values(kind, base as u64 + d as u64, &mut s)),
                headers: vec![],
            })
            .collect();
        let b = Batch::new(base, recs).with_codec(codec).encode();
        base += per_batch as i64;
        n += per_batch as u64;
        bytes += b.len();
        cur.extend(b);
        if cur.len() >= 1 << 20 {
            sets.push(std::mem::take(&mut cur));
        }
    }
    if !cur.is_empty() {
        sets.push(cur);
    }
    (sets, n)
}
fn main() {
    let only = std::env::args().nth(1);
    let cases: Vec<(&str, &str, usize, usize, Codec)> = vec![
        ("rand100-none", "rand100", 1170, 4 << 20, Codec::None),
        ("rand100-tiny", "rand100", 1, 4 << 20, Codec::None),
        ("rand1k-none", "rand1k", 1000, 4 << 20, Codec::None),
        ("json-none", "json", 550, 4 << 20, Codec::None),
        ("json-lz4", "json", 550, 2 << 20, Codec::Lz4),
        ("json-lz4-tiny", "json", 1, 2 << 20, Codec::Lz4),
        ("json-snappy", "json", 550, 2 << 20, Codec::Snappy),
        ("json-zstd", "json", 550, 2 << 20, Codec::Zstd),
        ("json-zstd-tiny", "json", 1, 2 << 20, Codec::Zstd),
        ("json-gzip", "json", 550, 4 << 20, Codec::Gzip),
        ("json-gzip-tiny", "json", 1, 2 << 20, Codec::Gzip),
    ];
    for (name, kind, per, total, codec) in cases {
        if only.as_deref().is_some_and(|o| !name.contains(o)) {
            continue;
        }
        let (mut sets, mut n) = build(kind, per, total, codec);
        let reps = (300_000 / n).max(1);
        let bytes: usize = sets.iter().map(Vec::len).sum();
        let mut floor =
            Floor { c: Cols::default(), out: vec![], z: zstd::bulk::Decompressor::new().unwrap() };
        let answers: Vec<Fetched> = sets.iter().map(|s| fetched(0, s.clone(), &[])).collect();
        let planned = PlannedRange::new(
            OffsetRange::new(TopicPartition::new("orders", 3), 0, i64::MAX).unwrap(),
            IsolationLevel::ReadCommitted,
        );
        let mut res: [Vec<f64>; 5] = Default::default();
        for round in 0..9 {
            let t = Instant::now();
            let mut c = 0;
            for _ in 0..reps {
                for a in &answers {
                    c += floor.run(&a.records);
                }
            }
            assert_eq!(c, n * reps);
            res[0].push(t.elapsed().as_nanos() as f64 / (n * reps) as f64);
            if std::env::args().nth(2).is_some_and(|a| a == "floor") {
                continue;
            }
            for (slot, keep, cols) in [
                (1, 0usize, Columns::default()),
                (2, 4, Columns::default()),
                (3, 0, Columns::none()),
                (
                    4,
                    0,
                    Columns::none()
                        .with(Column::Key)
                        .with(Column::Value)
                        .with(Column::Offset)
                        .with(Column::Timestamp),
                ),
            ] {
                let t = Instant::now();
                let mut c = 0;
                let mut held = std::collections::VecDeque::new();
                for _ in 0..reps {
                    let mut d =
                        RangeDecoder::new(&planned, DecodeOptions::new().with_columns(cols));

                    for a in &answers {
                        d.push(a.clone()).unwrap();
                        while let Some(b) = d.next_batch().unwrap() {
                            c += b.num_rows() as u64;
                            held.push_back(b);
                            if held.len() > keep {
                                held.pop_front();
                            }
                        }
                    }
                    c += d.flush().unwrap().map_or(0, |b| b.num_rows() as u64);
                }
                assert_eq!(c, n * reps);
                res[slot].push(t.elapsed().as_nanos() as f64 / (n * reps) as f64);
            }
        }
        for r in &mut res {
            if r.is_empty() {
                r.push(0.0)
            }
        }
        let med: Vec<String> = res
            .iter_mut()
            .map(|v| {
                v.sort_by(f64::total_cmp);
                format!("{:7.1} (min {:6.1})", v[v.len() / 2], v[0])
            })
            .collect();
        println!(
            "{name:16} records {n:8} wire {:3} MiB | floor {} | worker {} | held4 {} | none {} | 4col {}",
            bytes >> 20,
            med[0],
            med[1],
            med[2],
            med[3],
            med[4]
        );
    }
}
