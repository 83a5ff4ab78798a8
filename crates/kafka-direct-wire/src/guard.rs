//! Checks the lengths and counts of a response before kafka-protocol decodes it.
//!
//! The decoders reserve memory for as many elements as a count claims ([`message_schema`] explains
//! the risk). After the check a decoder's memory is within a small factor of the frame's size.
//!
//! Contract: [`check`] never panics, allocates nothing, and accepts everything that Kafka's own
//! encoder writes for the version.

use kafka_direct_core::message_schema::{
    self, Malformed, Schema,
    Shape::{self, Array, Fixed, Structs, Text},
    always, between, since, tagged,
};
use kafka_protocol::messages::ApiKey;

/// No limit here: the configuration bounds the frame's size, and so the number of its elements.
const MAX_ELEMENTS: usize = usize::MAX;

const I16: Shape = Fixed(2);
const I32: Shape = Fixed(4);
const I64: Shape = Fixed(8);
const BOOL: Shape = Fixed(1);
const UUID: Shape = Fixed(16);

/// An array of 32-bit integers.
const INTS: Shape = Array(&I32);

/// Features in ApiVersions, each a name with two 16-bit versions.
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

/// Partition, offset, leader epoch, metadata and error, the same in both forms of OffsetFetch.
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

const OFFSET_COMMIT: Schema = Schema {
    flexible_since: 8,
    fields: &[
        since(3, I32),
        always(Structs(&[always(Text), always(Structs(&[always(I32), always(I16)]))])),
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
        ApiKey::OffsetCommit => Some(&OFFSET_COMMIT),
        ApiKey::OffsetForLeaderEpoch => Some(&OFFSET_FOR_LEADER_EPOCH),
        _ => None,
    }
}

/// Checks the body of a response of `api` in `version`. The body has no response header.
///
/// # Errors
/// What is wrong with the body, as the reason of a protocol error.
pub(crate) fn check(api: ApiKey, version: i16, body: &[u8]) -> Result<(), &'static str> {
    let schema = schema(api).ok_or("this build has no schema for it")?;
    let rest = schema.walk(version, body, MAX_ELEMENTS).map_err(Malformed::reason)?;
    if rest.is_empty() { Ok(()) } else { Err("it has bytes after its end") }
}

/// Skips the tagged fields of a flexible response header and returns the bytes after them.
pub(crate) fn skip_tagged(bytes: &[u8]) -> Result<&[u8], &'static str> {
    message_schema::skip_tagged_fields(bytes, MAX_ELEMENTS).map_err(Malformed::reason)
}
