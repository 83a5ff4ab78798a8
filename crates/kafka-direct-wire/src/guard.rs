//! Checks a response's lengths and counts before kafka-protocol's decoders see it.
//!
//! Those decoders reserve memory for as many elements as an array claims to have. A hostile or
//! garbled count would ask for gigabytes, and a failed allocation aborts the process. So every
//! response is walked first by its schema: each element that a count claims must really be there.
//! A decoder's memory is then within a small factor of the frame's size.
//!
//! Contract: [`check`] never panics, allocates nothing, and accepts whatever Kafka's own encoder
//! writes for the version. Schemas: Kafka's `clients/src/main/resources/common/message`.

use kafka_protocol::messages::ApiKey;

/// Where the walk ended and why, as the reason of a protocol error.
pub(crate) type Malformed = &'static str;

const SHORT: Malformed = "it ends too early";
const COUNT: Malformed = "an array claims more elements than the response holds";
const LENGTH: Malformed = "a string is longer than the response";
const VARINT: Malformed = "a length has more than 32 bits";
const TAGGED: Malformed = "a tagged field has another size than it claims";
const TRAILING: Malformed = "bytes are left over behind its end";

/// How one field looks on the wire.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A field of so many bytes.
    Fixed(usize),
    /// A string, possibly null.
    Str,
    /// An array of 32-bit integers.
    Ints,
    /// An array of structs.
    Structs(&'static [Field]),
}

/// One field with the versions that have it, both inclusive.
#[derive(Debug, Clone, Copy)]
struct Field {
    since: i16,
    until: i16,
    kind: Kind,
}

/// A response: its fields, the first version with compact lengths and tagged fields, and what the
/// tags of its outermost struct mean.
struct Schema {
    flexible_since: i16,
    fields: &'static [Field],
    tags: &'static [(u32, Kind)],
}

const fn since(since: i16, kind: Kind) -> Field {
    Field { since, until: i16::MAX, kind }
}

const fn between(since: i16, until: i16, kind: Kind) -> Field {
    Field { since, until, kind }
}

const I16: Kind = Kind::Fixed(2);
const I32: Kind = Kind::Fixed(4);
const I64: Kind = Kind::Fixed(8);
const BOOL: Kind = Kind::Fixed(1);
const UUID: Kind = Kind::Fixed(16);

/// A name with two 16-bit versions, as ApiVersions lists features.
const FEATURES: Kind = Kind::Structs(&[since(0, Kind::Str), since(0, I16), since(0, I16)]);

const API_VERSIONS: Schema = Schema {
    flexible_since: 3,
    fields: &[
        since(0, I16),
        since(0, Kind::Structs(&[since(0, I16), since(0, I16), since(0, I16)])),
        since(1, I32),
    ],
    tags: &[(0, FEATURES), (1, I64), (2, FEATURES), (3, BOOL)],
};

const METADATA: Schema = Schema {
    flexible_since: 9,
    fields: &[
        since(3, I32),
        since(
            0,
            Kind::Structs(&[
                since(0, I32),
                since(0, Kind::Str),
                since(0, I32),
                since(1, Kind::Str),
            ]),
        ),
        since(2, Kind::Str),
        since(1, I32),
        since(
            0,
            Kind::Structs(&[
                since(0, I16),
                since(0, Kind::Str),
                since(10, UUID),
                since(1, BOOL),
                since(
                    0,
                    Kind::Structs(&[
                        since(0, I16),
                        since(0, I32),
                        since(0, I32),
                        since(7, I32),
                        since(0, Kind::Ints),
                        since(0, Kind::Ints),
                        since(5, Kind::Ints),
                    ]),
                ),
                since(8, I32),
            ]),
        ),
        between(8, 10, I32),
        since(13, I16),
    ],
    tags: &[],
};

const LIST_OFFSETS: Schema = Schema {
    flexible_since: 6,
    fields: &[
        since(2, I32),
        since(
            0,
            Kind::Structs(&[
                since(0, Kind::Str),
                since(
                    0,
                    Kind::Structs(&[
                        since(0, I32),
                        since(0, I16),
                        since(1, I64),
                        since(1, I64),
                        since(4, I32),
                    ]),
                ),
            ]),
        ),
    ],
    tags: &[],
};

const FIND_COORDINATOR: Schema = Schema {
    flexible_since: 3,
    fields: &[
        since(1, I32),
        between(0, 3, I16),
        between(1, 3, Kind::Str),
        between(0, 3, I32),
        between(0, 3, Kind::Str),
        between(0, 3, I32),
        since(
            4,
            Kind::Structs(&[
                since(0, Kind::Str),
                since(0, I32),
                since(0, Kind::Str),
                since(0, I32),
                since(0, I16),
                since(0, Kind::Str),
            ]),
        ),
    ],
    tags: &[],
};

/// Partition, offset, leader epoch, metadata, error: the same in both forms of OffsetFetch.
const COMMITTED: Kind = Kind::Structs(&[
    since(0, I32),
    since(0, I64),
    since(5, I32),
    since(0, Kind::Str),
    since(0, I16),
]);

const OFFSET_FETCH: Schema = Schema {
    flexible_since: 6,
    fields: &[
        since(3, I32),
        between(0, 7, Kind::Structs(&[since(0, Kind::Str), since(0, COMMITTED)])),
        between(2, 7, I16),
        since(
            8,
            Kind::Structs(&[
                since(0, Kind::Str),
                since(
                    0,
                    Kind::Structs(&[
                        between(0, 9, Kind::Str),
                        since(10, UUID),
                        since(0, COMMITTED),
                    ]),
                ),
                since(0, I16),
            ]),
        ),
    ],
    tags: &[],
};

const OFFSET_FOR_LEADER_EPOCH: Schema = Schema {
    flexible_since: 4,
    fields: &[
        since(2, I32),
        since(
            0,
            Kind::Structs(&[
                since(0, Kind::Str),
                since(
                    0,
                    Kind::Structs(&[since(0, I16), since(0, I32), since(1, I32), since(0, I64)]),
                ),
            ]),
        ),
    ],
    tags: &[],
};

const fn schema(api: ApiKey) -> Option<&'static Schema> {
    match api {
        ApiKey::ApiVersions => Some(&API_VERSIONS),
        ApiKey::Metadata => Some(&METADATA),
        ApiKey::ListOffsets => Some(&LIST_OFFSETS),
        ApiKey::FindCoordinator => Some(&FIND_COORDINATOR),
        ApiKey::OffsetFetch => Some(&OFFSET_FETCH),
        ApiKey::OffsetForLeaderEpoch => Some(&OFFSET_FOR_LEADER_EPOCH),
        _ => None,
    }
}

/// Walks the body of a response (what follows the response header) of `api` in `version`.
pub(crate) fn check(api: ApiKey, version: i16, body: &[u8]) -> Result<(), Malformed> {
    let schema = schema(api).ok_or("no schema of it is known here")?;
    let flexible = version >= schema.flexible_since;
    let mut walk = Walk { rest: body, version, flexible };
    walk.fields(schema.fields)?;
    if flexible {
        walk.tagged(schema.tags)?;
    }
    if walk.rest.is_empty() { Ok(()) } else { Err(TRAILING) }
}

/// Skips the tagged fields of a flexible response header; gives what follows them.
pub(crate) fn skip_tagged(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut walk = Walk { rest: bytes, version: 0, flexible: true };
    walk.tagged(&[])?;
    Ok(walk.rest)
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
}

impl<'a> Walk<'a> {
    fn skip(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.rest = self.rest.get(bytes..).ok_or(SHORT)?;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0u64;
        for shift in [0u32, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| VARINT);
            }
        }
        Err(VARINT)
    }

    /// A count or length that cannot exceed the bytes that remain; null counts as 0.
    fn bounded(&mut self, plain: Option<i64>, why: Malformed) -> Result<usize, Malformed> {
        let claimed = match plain {
            Some(length) => length.max(0),
            None => i64::from(self.varint()?).saturating_sub(1).max(0),
        };
        usize::try_from(claimed).ok().filter(|claimed| *claimed <= self.rest.len()).ok_or(why)
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        let plain = match self.flexible {
            true => None,
            false => Some(i64::from(i32::from_be_bytes(self.take()?))),
        };
        self.bounded(plain, COUNT)
    }

    fn fields(&mut self, fields: &'static [Field]) -> Result<(), Malformed> {
        for field in fields {
            if (field.since..=field.until).contains(&self.version) {
                self.kind(field.kind)?;
            }
        }
        Ok(())
    }

    fn kind(&mut self, kind: Kind) -> Result<(), Malformed> {
        match kind {
            Kind::Fixed(bytes) => self.skip(bytes),
            Kind::Str => {
                let plain = match self.flexible {
                    true => None,
                    false => Some(i64::from(i16::from_be_bytes(self.take()?))),
                };
                let length = self.bounded(plain, LENGTH)?;
                self.skip(length)
            }
            Kind::Ints => {
                let count = self.count()?;
                self.skip(count.checked_mul(4).ok_or(COUNT)?).map_err(|_| COUNT)
            }
            Kind::Structs(fields) => {
                for _ in 0..self.count()? {
                    self.fields(fields).map_err(|why| if why == SHORT { COUNT } else { why })?;
                    if self.flexible {
                        self.tagged(&[])?;
                    }
                }
                Ok(())
            }
        }
    }

    fn tagged(&mut self, known: &'static [(u32, Kind)]) -> Result<(), Malformed> {
        let count = usize::try_from(self.varint()?).map_err(|_| COUNT)?;
        if count > self.rest.len() {
            return Err(COUNT);
        }
        for _ in 0..count {
            let tag = self.varint()?;
            let size = usize::try_from(self.varint()?).map_err(|_| LENGTH)?;
            let (value, rest) = self.rest.split_at_checked(size).ok_or(LENGTH)?;
            if let Some((_, kind)) = known.iter().find(|(number, _)| *number == tag) {
                let mut inner = Walk { rest: value, ..*self };
                inner.kind(*kind)?;
                if !inner.rest.is_empty() {
                    return Err(TAGGED);
                }
            }
            self.rest = rest;
        }
        Ok(())
    }
}
