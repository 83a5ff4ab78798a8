//! The requests the broker serves, as far as lengths and versions go, for the guard.
//!
//! Source: Kafka's message definitions, as the codecs were generated from them. Fields that stand
//! side by side and have a fixed size in the same versions are one entry.

use crate::{
    ApiKey,
    guard::{Field, Schema, Shape},
};

const LAST: i16 = i16::MAX;

const fn since(from: i16, shape: Shape) -> Field {
    Field { from, until: LAST, shape }
}

const fn all(shape: Shape) -> Field {
    since(0, shape)
}

const fn between(from: i16, until: i16, shape: Shape) -> Field {
    Field { from, until, shape }
}

const fn schema(flexible: i16, fields: &'static [Field]) -> Schema {
    Schema { flexible, fields, inner_tags: &[] }
}

use Shape::{Array, Blob, Fields, Fixed, Text};

/// The form of `api`'s requests.
pub(crate) const fn of(api: ApiKey) -> &'static Schema {
    match api {
        ApiKey::Produce => &PRODUCE,
        ApiKey::Fetch => &FETCH,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::Metadata => &METADATA,
        ApiKey::OffsetCommit => &OFFSET_COMMIT,
        ApiKey::OffsetFetch => &OFFSET_FETCH,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::CreateTopics => &CREATE_TOPICS,
        ApiKey::DeleteTopics => &DELETE_TOPICS,
        ApiKey::DeleteRecords => &DELETE_RECORDS,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
    }
}

static PRODUCE: Schema = schema(
    9,
    &[
        all(Text),
        all(Fixed(6)),
        all(Array(&Fields(&[
            between(0, 12, Text),
            since(13, Fixed(16)),
            all(Array(&Fields(&[all(Fixed(4)), all(Blob)]))),
        ]))),
    ],
);

static FETCH: Schema = Schema {
    flexible: 12,
    fields: &[
        between(0, 14, Fixed(4)),
        all(Fixed(13)),
        since(7, Fixed(8)),
        all(Array(&Fields(&[
            between(0, 12, Text),
            since(13, Fixed(16)),
            all(Array(&Fields(&[
                all(Fixed(4)),
                since(9, Fixed(4)),
                all(Fixed(8)),
                since(12, Fixed(4)),
                since(5, Fixed(8)),
                all(Fixed(4)),
            ]))),
        ]))),
        since(
            7,
            Array(&Fields(&[between(0, 12, Text), since(13, Fixed(16)), all(Array(&Fixed(4)))])),
        ),
        since(11, Text),
    ],
    inner_tags: &[(0, 16)],
};

static LIST_OFFSETS: Schema = schema(
    6,
    &[
        all(Fixed(4)),
        since(2, Fixed(1)),
        all(Array(&Fields(&[
            all(Text),
            all(Array(&Fields(&[all(Fixed(4)), since(4, Fixed(4)), all(Fixed(8))]))),
        ]))),
        since(10, Fixed(4)),
    ],
);

static METADATA: Schema = schema(
    9,
    &[
        all(Array(&Fields(&[since(10, Fixed(16)), all(Text)]))),
        since(4, Fixed(1)),
        between(8, 10, Fixed(1)),
        since(8, Fixed(1)),
    ],
);

static OFFSET_COMMIT: Schema = schema(
    8,
    &[
        all(Text),
        all(Fixed(4)),
        all(Text),
        since(7, Text),
        between(0, 4, Fixed(8)),
        all(Array(&Fields(&[
            all(Text),
            all(Array(&Fields(&[all(Fixed(12)), since(6, Fixed(4)), all(Text)]))),
        ]))),
    ],
);

static OFFSET_FETCH: Schema = schema(
    6,
    &[
        between(0, 7, Text),
        between(0, 7, Array(&Fields(&[all(Text), all(Array(&Fixed(4)))]))),
        since(
            8,
            Array(&Fields(&[
                all(Text),
                since(9, Text),
                since(9, Fixed(4)),
                all(Array(&Fields(&[all(Text), all(Array(&Fixed(4)))]))),
            ])),
        ),
        since(7, Fixed(1)),
    ],
);

static FIND_COORDINATOR: Schema =
    schema(3, &[between(0, 3, Text), since(1, Fixed(1)), since(4, Array(&Text))]);

static API_VERSIONS: Schema = schema(3, &[since(3, Text), since(3, Text)]);

static CREATE_TOPICS: Schema = schema(
    5,
    &[
        all(Array(&Fields(&[
            all(Text),
            all(Fixed(6)),
            all(Array(&Fields(&[all(Fixed(4)), all(Array(&Fixed(4)))]))),
            all(Array(&Fields(&[all(Text), all(Text)]))),
        ]))),
        all(Fixed(5)),
    ],
);

static DELETE_TOPICS: Schema = schema(
    4,
    &[
        since(6, Array(&Fields(&[all(Text), all(Fixed(16))]))),
        between(0, 5, Array(&Text)),
        all(Fixed(4)),
    ],
);

static DELETE_RECORDS: Schema = schema(
    2,
    &[all(Array(&Fields(&[all(Text), all(Array(&Fields(&[all(Fixed(12))])))]))), all(Fixed(4))],
);

static OFFSET_FOR_LEADER_EPOCH: Schema = schema(
    4,
    &[
        since(3, Fixed(4)),
        all(Array(&Fields(&[all(Text), all(Array(&Fields(&[all(Fixed(12))])))]))),
    ],
);
