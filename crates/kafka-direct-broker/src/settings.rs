//! The settings of a broker.

/// Whether a Metadata request may create the topics it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoCreate {
    /// No topics are created; the response reports them as unknown. The default.
    #[default]
    Off,
    /// A Metadata request that allows it creates topics with this many partitions.
    Partitions(i32),
}

/// How a partition's bytes end in a Fetch response when the next batch does not fit.
///
/// It never affects the first batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TailBatches {
    /// With the last whole batch. The default.
    #[default]
    Whole,
    /// With the beginning of the next batch, as in Apache Kafka. Readers ignore it.
    Cut,
}

/// Which partition of a Fetch is the first to use the response's byte limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FillOrder {
    /// The first partition in the request, as in Apache Kafka (KIP-74). The default.
    #[default]
    Request,
    /// The last partition in the request; the protocol does not forbid it.
    Reversed,
}

/// Whether a Fetch response keeps the byte limits of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ByteLimits {
    /// Only the first batch of the response may exceed them, as in Apache Kafka. The default.
    #[default]
    Kept,
    /// Every partition returns all its records, as brokers with records in remote storage may do.
    Ignored,
}

/// The settings chosen with the builder.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) cluster_id: String,
    pub(crate) partition_cap_bytes: usize,
    pub(crate) auto_create: AutoCreate,
    pub(crate) tail_batches: TailBatches,
    pub(crate) fill_order: FillOrder,
    pub(crate) byte_limits: ByteLimits,
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
            byte_limits: ByteLimits::Kept,
            fetch_session_slots: 1000,
            max_frame_bytes: 128 * 1024 * 1024,
        }
    }
}
