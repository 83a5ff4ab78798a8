//! `floor BOOTSTRAP TOPIC drain|views [ROUNDS]`: the baseline that the reader is compared with.
//!
//! It uses one thread, blocking sockets and one connection per leader. It sends the next Fetch
//! before it decodes the last response.
//!
//! - `drain` walks batch headers and discards the bytes.
//! - `views` checks the CRC, decompresses, and parses every record. It builds offset and timestamp
//!   columns and 16-byte Arrow views of key and value. It skips headers, projects no columns and
//!   does not filter aborted transactions.
//!
//! It is a measuring tool in its own workspace, not part of the product. It has `unsafe` code,
//! handles no error, and panics on unexpected input.
//!
//! It prints one JSON line per round: records, value bytes, wire bytes, requests, wall, user and
//! system seconds, peak resident memory.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
        MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader, TopicName,
        fetch_request::{FetchPartition, FetchTopic},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
    },
    protocol::{Decodable, Encodable, StrBytes},
};

#[global_allocator]
static ALLOC: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FETCH: i16 = 12;
const LIST_OFFSETS: i16 = 6;
const METADATA: i16 = 9;

struct Conn(TcpStream);

impl Conn {
    fn open(addr: &str) -> Self {
        let s = TcpStream::connect(addr).expect("connect");
        s.set_nodelay(true).expect("nodelay");
        Self(s)
    }
    fn send(&mut self, key: ApiKey, version: i16, body: &impl Encodable) {
        let mut b = BytesMut::new();
        b.put_i32(0);
        RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_client_id(Some(StrBytes::from_static_str("floor")))
            .encode(&mut b, key.request_header_version(version))
            .expect("header");
        body.encode(&mut b, version).expect("body");
        let n = (b.len() - 4) as i32;
        b[..4].copy_from_slice(&n.to_be_bytes());
        self.0.write_all(&b).expect("send");
    }
    fn recv(&mut self, key: ApiKey, version: i16) -> Bytes {
        let mut n = [0u8; 4];
        self.0.read_exact(&mut n).expect("size");
        let n = i32::from_be_bytes(n) as usize;
        let mut v: Vec<u8> = Vec::with_capacity(n);
        #[allow(clippy::uninit_vec)]
        unsafe {
            v.set_len(n)
        };
        self.0.read_exact(&mut v).expect("frame");
        let mut b = Bytes::from(v);
        ResponseHeader::decode(&mut b, key.response_header_version(version)).expect("header");
        b
    }
}

#[inline(always)]
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
struct Columns {
    offset: Vec<i64>,
    timestamp: Vec<i64>,
    key: Vec<u128>,
    value: Vec<u128>,
}

struct Codecs {
    zstd: zstd::bulk::Decompressor<'static>,
    out: Vec<u8>,
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

fn snappy(src: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut raw = snap::raw::Decoder::new();
    let mut one = |block: &[u8], out: &mut Vec<u8>| {
        let n = snap::raw::decompress_len(block).expect("snappy length");
        let start = out.len();
        out.resize(start + n, 0);
        raw.decompress(block, &mut out[start..]).expect("snappy");
    };
    if src.starts_with(b"\x82SNAPPY\0") {
        let mut at = 16;
        while at < src.len() {
            let n = u32::from_be_bytes(src[at..at + 4].try_into().expect("4")) as usize;
            one(&src[at + 4..at + 4 + n], out);
            at += 4 + n;
        }
    } else {
        one(src, out);
    }
}

impl Codecs {
    fn inflate(&mut self, codec: i16, src: &[u8]) {
        match codec {
            1 => {
                self.out.clear();
                flate2::read::GzDecoder::new(src).read_to_end(&mut self.out).expect("gzip");
            }
            2 => snappy(src, &mut self.out),
            3 => lz4_frame(src, &mut self.out),
            4 => {
                let mut room = (src.len() * 8).max(1 << 16);
                loop {
                    self.out.clear();
                    self.out.reserve(room);
                    match self.zstd.decompress_to_buffer(src, &mut self.out) {
                        Ok(_) => return,
                        Err(_) => room *= 2,
                    }
                }
            }
            other => panic!("codec {other}"),
        }
    }
}

fn records(p: &[u8], base: i64, first_ts: i64, count: i32, c: &mut Columns) -> u64 {
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

fn be64(p: &[u8]) -> i64 {
    i64::from_be_bytes(p[..8].try_into().expect("8"))
}
fn be32(p: &[u8]) -> i32 {
    i32::from_be_bytes(p[..4].try_into().expect("4"))
}

fn usage() -> (f64, f64, i64) {
    let mut u: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut u) };
    let s = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    (s(u.ru_utime), s(u.ru_stime), u.ru_maxrss)
}

fn round(bootstrap: &str, topic: &str, decode: bool) {
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    let mut boot = Conn::open(bootstrap);
    let ask = MetadataRequestTopic::default().with_name(Some(name.clone()));
    boot.send(
        ApiKey::Metadata,
        METADATA,
        &MetadataRequest::default()
            .with_topics(Some(vec![ask]))
            .with_allow_auto_topic_creation(false),
    );
    let md = MetadataResponse::decode(&mut boot.recv(ApiKey::Metadata, METADATA), METADATA)
        .expect("metadata");
    let mut leaders: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for p in &md.topics[0].partitions {
        leaders.entry(p.leader_id.0).or_default().push(p.partition_index);
    }
    let mut brokers: Vec<(Conn, Vec<i32>)> = leaders
        .into_iter()
        .map(|(id, ps)| {
            let b = md.brokers.iter().find(|b| b.node_id.0 == id).expect("leader is listed");
            (Conn::open(&format!("{}:{}", b.host.as_str(), b.port)), ps)
        })
        .collect();
    let (mut next, mut end): (BTreeMap<i32, i64>, BTreeMap<i32, i64>) = Default::default();
    for (conn, ps) in &mut brokers {
        for (when, into) in [(-2, &mut next), (-1, &mut end)] {
            let q = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![
                ListOffsetsTopic::default().with_name(name.clone()).with_partitions(
                    ps.iter()
                        .map(|p| {
                            ListOffsetsPartition::default()
                                .with_partition_index(*p)
                                .with_timestamp(when)
                        })
                        .collect(),
                ),
            ]);
            conn.send(ApiKey::ListOffsets, LIST_OFFSETS, &q);
            let r = ListOffsetsResponse::decode(
                &mut conn.recv(ApiKey::ListOffsets, LIST_OFFSETS),
                LIST_OFFSETS,
            )
            .expect("offsets");
            into.extend(r.topics[0].partitions.iter().map(|p| (p.partition_index, p.offset)));
        }
    }
    let request = |ps: &[i32], next: &BTreeMap<i32, i64>| {
        let l: Vec<_> = ps
            .iter()
            .filter(|p| next[p] < end[p])
            .map(|p| {
                FetchPartition::default()
                    .with_partition(*p)
                    .with_fetch_offset(next[p])
                    .with_partition_max_bytes(4 << 20)
            })
            .collect();
        (!l.is_empty()).then(|| {
            FetchRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_max_wait_ms(500)
                .with_min_bytes(1)
                .with_max_bytes(50 << 20)
                .with_session_epoch(-1)
                .with_topics(vec![
                    FetchTopic::default().with_topic(name.clone()).with_partitions(l),
                ])
        })
    };

    let (start, (u0, s0, _)) = (Instant::now(), usage());
    let (mut n, mut bytes, mut wire, mut requests) = (0u64, 0u64, 0u64, 0u64);
    let mut columns = Columns::default();
    let mut codecs =
        Codecs { zstd: zstd::bulk::Decompressor::new().expect("zstd"), out: Vec::new() };
    let mut live: Vec<bool> = brokers
        .iter_mut()
        .map(|(c, ps)| request(ps, &next).map(|q| c.send(ApiKey::Fetch, FETCH, &q)).is_some())
        .collect();
    while live.iter().any(|l| *l) {
        for (i, (conn, ps)) in brokers.iter_mut().enumerate() {
            if !live[i] {
                continue;
            }
            let mut frame = conn.recv(ApiKey::Fetch, FETCH);
            wire += frame.len() as u64;
            requests += 1;
            let response = FetchResponse::decode(&mut frame, FETCH).expect("fetch");
            let mut sets = Vec::new();
            for p in response.responses.into_iter().flat_map(|t| t.partitions) {
                assert_eq!(p.error_code, 0, "partition {}", p.partition_index);
                let set = p.records.unwrap_or_default();
                let mut at = 0;
                while at + 61 <= set.len() && at + 12 + be32(&set[at + 8..]) as usize <= set.len() {
                    next.insert(
                        p.partition_index,
                        be64(&set[at..]) + i64::from(be32(&set[at + 23..])) + 1,
                    );
                    at += 12 + be32(&set[at + 8..]) as usize;
                }
                sets.push(set.slice(..at));
            }
            match request(ps, &next) {
                Some(q) => conn.send(ApiKey::Fetch, FETCH, &q),
                None => live[i] = false,
            }
            for set in sets {
                columns.offset.clear();
                columns.timestamp.clear();
                columns.key.clear();
                columns.value.clear();
                let mut at = 0;
                while at < set.len() {
                    let len = 12 + be32(&set[at + 8..]) as usize;
                    let b = &set[at..at + len];
                    at += len;
                    let attributes = i16::from_be_bytes([b[21], b[22]]);
                    if attributes & 0x20 != 0 {
                        continue;
                    }
                    let count = be32(&b[57..]);
                    n += count as u64;
                    if !decode {
                        continue;
                    }
                    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &b[21..]);
                    assert_eq!(crc, u64::from(be32(&b[17..]) as u32), "crc");
                    let codec = attributes & 7;
                    let body = if codec == 0 {
                        &b[61..]
                    } else {
                        codecs.inflate(codec, &b[61..]);
                        &codecs.out
                    };
                    bytes += records(body, be64(b), be64(&b[27..]), count, &mut columns);
                }
                std::hint::black_box(&columns.value);
            }
        }
    }
    let (u, s, rss) = usage();
    println!(
        "{{\"client\":\"floor-{}\",\"records\":{n},\"value_bytes\":{bytes},\"wire_bytes\":{wire},\"requests\":{requests},\"wall_s\":{:.3},\"user_s\":{:.3},\"system_s\":{:.3},\"cpu_us_per_record\":{:.4},\"peak_rss_kib\":{rss}}}",
        if decode { "views" } else { "drain" },
        start.elapsed().as_secs_f64(),
        u - u0,
        s - s0,
        (u - u0 + s - s0) * 1e6 / n.max(1) as f64,
    );
}

fn main() {
    let a: Vec<String> = std::env::args().collect();
    let [_, bootstrap, topic, mode, rest @ ..] = a.as_slice() else {
        eprintln!("usage: floor BOOTSTRAP TOPIC drain|views [ROUNDS]");
        std::process::exit(2);
    };
    for _ in 0..rest.first().map_or(1, |r| r.parse().expect("ROUNDS")) {
        round(bootstrap, topic, mode == "views");
    }
}
