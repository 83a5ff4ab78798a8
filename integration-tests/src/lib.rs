//! A test suite of the engine's guarantees, for the embedded broker and for real Apache Kafka.
//!
//! **Promises:** every function of [`suite`] tests one property and needs only a
//! [`cluster::TestCluster`]. It passes on the embedded broker and on real Apache Kafka.
//!
//! **Out of scope:** the kind of the cluster. No function depends on it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::type_complexity,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a failed step is a failed test, and numbers of tests are small"
)]

pub mod cluster;
pub mod dump;
pub mod rows;
pub mod simulated;
pub mod suite;

/// Declares one test per property of the suite.
///
/// In `guarantees!(expression)`, the expression is a future of a [`cluster::TestCluster`].
#[macro_export]
macro_rules! guarantees {
    ($cluster:expr) => {
        $crate::guarantees! { @each $cluster;
            reading::every_record_of_the_log_is_read_once,
            reading::every_cut_gives_exactly_the_records_inside,
            reading::pieces_give_what_the_whole_gives,
            reading::all_codecs_give_the_same_records,
            reading::counting_and_taking_agree_with_collecting,
            reading::a_plan_reads_the_same_after_more_was_written,
            reading::partitions_without_data_are_no_task,
            reading::many_topics_are_one_batch,
            reading::typed_records_are_decoded_or_named,
            starts::starts_and_ends_resolve_to_offsets,
            starts::a_group_start_reads_from_its_commit,
            starts::an_offset_outside_the_log_is_refused_or_clamped,
            starts::a_trimmed_log_is_lost_data_or_a_recorded_reset,
            starts::unknown_topics_and_partitions_are_named_and_not_created,
            outputs::a_stream_copies_a_topic_and_does_not_read_its_output,
            plans::a_plan_of_another_cluster_is_refused,
            plans::a_plan_of_a_recreated_topic_is_refused,
            streams::a_stream_publishes_where_it_ended_to_a_group,
            streams::a_slow_stream_does_not_stop_another_one_on_its_cluster,
            decoding::a_stream_decodes_json_and_sends_poison_away_before_its_commit,
            streams::batches_below_the_size_of_a_kafka_batch_fetch_it_once,
            tasks::a_closure_that_fails_is_run_again_from_the_start,
            tasks::a_closure_that_panics_ends_the_batch,
            tasks::at_most_the_set_number_of_ranges_run_at_once,
            tasks::results_of_partitions_come_in_plan_order,
            sinks::a_sink_gets_every_record_once_and_one_commit_in_plan_order,
            sinks::a_sink_that_fails_is_aborted_and_gets_the_identical_range_again,
            sinks::nothing_is_committed_if_a_range_cannot_be_written,
            sinks::attempts_that_panic_or_are_stopped_by_others_are_aborted,
            sinks::a_range_that_an_earlier_run_finished_is_not_read_again,
            sinks::events_report_a_run_from_its_plan_to_its_last_range,
            memory::readers_that_nobody_polls_do_not_stop_the_others,
            memory::the_budget_bounds_what_is_queued,
            memory::batches_kept_for_ever_do_not_stop_the_read,
        }
    };
    (@each $cluster:expr; $($module:ident :: $name:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let cluster = $cluster.await;
                $crate::suite::$module::$name(&cluster).await;
            }
        )*
    };
}
