//! What a broker can be told before it starts.

/// Whether a metadata request may create the topics it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoCreate {
    /// Unknown topics are answered as unknown. The default.
    #[default]
    Off,
    /// A metadata request that allows it creates topics of this many partitions.
    Partitions(i32),
}

/// What stands at the end of a partition's bytes in a Fetch response when the next batch does not
/// fit. It never concerns the first batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TailBatches {
    /// Nothing: every batch is whole. The default.
    #[default]
    Whole,
    /// The beginning of the next batch, as Apache Kafka does: readers ignore it.
    Cut,
}

/// Which partition of a Fetch has the first claim on the bytes a response may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FillOrder {
    /// The first of the request, as Apache Kafka does (KIP-74). The default.
    #[default]
    Request,
    /// The last of the request: nothing in the protocol's schema forbids it.
    Reversed,
}

/// The builder's choices.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) cluster_id: String,
    pub(crate) partition_cap_bytes: usize,
    pub(crate) auto_create: AutoCreate,
    pub(crate) tail_batches: TailBatches,
    pub(crate) fill_order: FillOrder,
    pub(crate) fetch_session_slots: usize,
    pub(crate) max_frame_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster_id: String::new(),
            partition_cap_bytes: 256 * 1024 * 1024,
            auto_create: AutoCreate::Off,
            tail_batches: TailBatches::Whole,
            fill_order: FillOrder::Request,
            fetch_session_slots: 1000,
            max_frame_bytes: 128 * 1024 * 1024,
        }
    }
}
