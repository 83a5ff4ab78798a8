//! The schemas of the requests the broker serves, for the guard.
//!
//! Source: Kafka's message definitions, from which the codecs are generated too. Neighbouring
//! fields of fixed size in the same versions are one entry.

use kafka_direct_core::message_schema::{
    Field, Schema,
    Shape::{Array, Blob, Fixed, Structs, Text},
    always, between, since, tagged,
};

use crate::ApiKey;

const fn schema(flexible_since: i16, fields: &'static [Field]) -> Schema {
    Schema { flexible_since, fields }
}

/// The schema of `api`'s requests.
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
        always(Text),
        always(Fixed(6)),
        always(Structs(&[
            between(0, 12, Text),
            since(13, Fixed(16)),
            always(Structs(&[always(Fixed(4)), always(Blob)])),
        ])),
    ],
);

static FETCH: Schema = schema(
    12,
    &[
        between(0, 14, Fixed(4)),
        always(Fixed(13)),
        since(7, Fixed(8)),
        always(Structs(&[
            between(0, 12, Text),
            since(13, Fixed(16)),
            always(Structs(&[
                always(Fixed(4)),
                since(9, Fixed(4)),
                always(Fixed(8)),
                since(12, Fixed(4)),
                since(5, Fixed(8)),
                always(Fixed(4)),
                tagged(0, Fixed(16)),
            ])),
        ])),
        since(7, Structs(&[between(0, 12, Text), since(13, Fixed(16)), always(Array(&Fixed(4)))])),
        since(11, Text),
    ],
);

static LIST_OFFSETS: Schema = schema(
    6,
    &[
        always(Fixed(4)),
        since(2, Fixed(1)),
        always(Structs(&[
            always(Text),
            always(Structs(&[always(Fixed(4)), since(4, Fixed(4)), always(Fixed(8))])),
        ])),
        since(10, Fixed(4)),
    ],
);

static METADATA: Schema = schema(
    9,
    &[
        always(Structs(&[since(10, Fixed(16)), always(Text)])),
        since(4, Fixed(1)),
        between(8, 10, Fixed(1)),
        since(8, Fixed(1)),
    ],
);

static OFFSET_COMMIT: Schema = schema(
    8,
    &[
        always(Text),
        always(Fixed(4)),
        always(Text),
        since(7, Text),
        between(0, 4, Fixed(8)),
        always(Structs(&[
            always(Text),
            always(Structs(&[always(Fixed(12)), since(6, Fixed(4)), always(Text)])),
        ])),
    ],
);

static OFFSET_FETCH: Schema = schema(
    6,
    &[
        between(0, 7, Text),
        between(0, 7, Structs(&[always(Text), always(Array(&Fixed(4)))])),
        since(
            8,
            Structs(&[
                always(Text),
                since(9, Text),
                since(9, Fixed(4)),
                always(Structs(&[always(Text), always(Array(&Fixed(4)))])),
            ]),
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
        always(Structs(&[
            always(Text),
            always(Fixed(6)),
            always(Structs(&[always(Fixed(4)), always(Array(&Fixed(4)))])),
            always(Structs(&[always(Text), always(Text)])),
        ])),
        always(Fixed(5)),
    ],
);

static DELETE_TOPICS: Schema = schema(
    4,
    &[
        since(6, Structs(&[always(Text), always(Fixed(16))])),
        between(0, 5, Array(&Text)),
        always(Fixed(4)),
    ],
);

static DELETE_RECORDS: Schema = schema(
    2,
    &[always(Structs(&[always(Text), always(Structs(&[always(Fixed(12))]))])), always(Fixed(4))],
);

static OFFSET_FOR_LEADER_EPOCH: Schema = schema(
    4,
    &[since(3, Fixed(4)), always(Structs(&[always(Text), always(Structs(&[always(Fixed(12))]))]))],
);
