//! Checks a response's lengths and counts before kafka-protocol's decoders see it.
//!
//! The decoders reserve what a count claims ([`message_schema`] says why that matters). After the
//! check a decoder's memory is within a small factor of the frame's size.
//!
//! Contract: [`check`] never panics, allocates nothing, and accepts whatever Kafka's own encoder
//! writes for the version.

use kafka_direct_core::message_schema::{
    self, Malformed, Schema,
    Shape::{self, Array, Fixed, Structs, Text},
    always, between, since, tagged,
};
use kafka_protocol::messages::ApiKey;

/// The frame's size is bounded by the configuration, and so is the number of its elements.
const MAX_ELEMENTS: usize = usize::MAX;

const I16: Shape = Fixed(2);
const I32: Shape = Fixed(4);
const I64: Shape = Fixed(8);
const BOOL: Shape = Fixed(1);
const UUID: Shape = Fixed(16);

/// An array of 32-bit integers.
const INTS: Shape = Array(&I32);

/// A name with two 16-bit versions, as ApiVersions lists features.
const FEATURES: Shape = Structs(&[always(Text), always(I16), always(I16)]);

const API_VERSIONS: Schema = Schema {
    flexible_since: 3,
    fields: &[
        always(I16),
        always(Structs(&[always(I16), always(I16), always(I16)])),
        since(1, I32),
        tagged(0, FEATURES),
        tagged(1, I64),
        tagged(2, FEATURES),
        tagged(3, BOOL),
    ],
};

const METADATA: Schema = Schema {
    flexible_since: 9,
    fields: &[
        since(3, I32),
        always(Structs(&[always(I32), always(Text), always(I32), since(1, Text)])),
        since(2, Text),
        since(1, I32),
        always(Structs(&[
            always(I16),
            always(Text),
            since(10, UUID),
            since(1, BOOL),
            always(Structs(&[
                always(I16),
                always(I32),
                always(I32),
                since(7, I32),
                always(INTS),
                always(INTS),
                since(5, INTS),
            ])),
            since(8, I32),
        ])),
        between(8, 10, I32),
        since(13, I16),
    ],
};

const LIST_OFFSETS: Schema = Schema {
    flexible_since: 6,
    fields: &[
        since(2, I32),
        always(Structs(&[
            always(Text),
            always(Structs(&[
                always(I32),
                always(I16),
                since(1, I64),
                since(1, I64),
                since(4, I32),
            ])),
        ])),
    ],
};

const FIND_COORDINATOR: Schema = Schema {
    flexible_since: 3,
    fields: &[
        since(1, I32),
        between(0, 3, I16),
        between(1, 3, Text),
        between(0, 3, I32),
        between(0, 3, Text),
        between(0, 3, I32),
        since(
            4,
            Structs(&[
                always(Text),
                always(I32),
                always(Text),
                always(I32),
                always(I16),
                always(Text),
            ]),
        ),
    ],
};

/// Partition, offset, leader epoch, metadata, error: the same in both forms of OffsetFetch.
const COMMITTED: Shape =
    Structs(&[always(I32), always(I64), since(5, I32), always(Text), always(I16)]);

const OFFSET_FETCH: Schema = Schema {
    flexible_since: 6,
    fields: &[
        since(3, I32),
        between(0, 7, Structs(&[always(Text), always(COMMITTED)])),
        between(2, 7, I16),
        since(
            8,
            Structs(&[
                always(Text),
                always(Structs(&[between(0, 9, Text), since(10, UUID), always(COMMITTED)])),
                always(I16),
            ]),
        ),
    ],
};

const OFFSET_FOR_LEADER_EPOCH: Schema = Schema {
    flexible_since: 4,
    fields: &[
        since(2, I32),
        always(Structs(&[
            always(Text),
            always(Structs(&[always(I16), always(I32), since(1, I32), always(I64)])),
        ])),
    ],
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
///
/// # Errors
/// Where the walk ended and why, as the reason of a protocol error.
pub(crate) fn check(api: ApiKey, version: i16, body: &[u8]) -> Result<(), &'static str> {
    let schema = schema(api).ok_or("no schema of it is known here")?;
    let rest = schema.walk(version, body, MAX_ELEMENTS).map_err(Malformed::reason)?;
    if rest.is_empty() { Ok(()) } else { Err("bytes are left over after its end") }
}

/// Skips the tagged fields of a flexible response header; gives what follows them.
pub(crate) fn skip_tagged(bytes: &[u8]) -> Result<&[u8], &'static str> {
    message_schema::skip_tagged_fields(bytes, MAX_ELEMENTS).map_err(Malformed::reason)
}
