//! Tests of the printed form of a plan.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use kafka_direct_core::{DataLossPolicy, IsolationLevel, Offset, TopicPartition, Watermarks};
use kafka_direct_driver::{
    Lookups, PartitionState, PlanTable, Selection, StartOffset, Starts, plan,
};

fn state(topic: &str, partition: i32, last_stable: i64, high: i64) -> PartitionState {
    PartitionState {
        topic_partition: TopicPartition::new(topic, partition),
        topic_id: None,
        leader_epoch: None,
        watermarks: Watermarks {
            log_start: Offset::ZERO,
            last_stable: Offset::new(last_stable),
            high: Offset::new(high),
        },
    }
}

fn table(selection: &Selection, states: Vec<PartitionState>) -> String {
    PlanTable(&plan(selection, None, states, &Lookups::new()).unwrap()).to_string()
}

#[test]
fn ranges_idle_partitions_withheld_offsets_and_total_are_printed() {
    let states = || {
        vec![
            state("orders", 0, 120, 120),
            state("orders", 1, 0, 0),
            state("orders", 2, 7, 9),
            state("orders", 3, 0, 0),
            state("refunds", 0, 0, 0),
            state("refunds", 1, 0, 0),
            state("refunds", 2, 0, 0),
        ]
    };
    let expected = "\
topic   partition  from  until  span
orders          0     0    120   120
orders          2     0      7     7
5 partitions have nothing to read: orders-1, orders-3, refunds-0 to refunds-2
orders-2: open transactions withhold 2 offsets, [7, 9)
total: 2 ranges in 2 of 7 partitions, span 127";
    assert_eq!(table(&Selection::new(), states()), expected);
    let all = table(&Selection::new().isolation(IsolationLevel::ReadUncommitted), states());
    assert!(!all.contains("open transactions"), "{all}");
}

#[test]
fn with_a_width_long_topics_are_wrapped_and_numbers_are_not() {
    let topic = "long".repeat(20);
    let states = vec![state(&topic, 0, i64::MAX, i64::MAX)];
    let plan = plan(&Selection::new(), None, states, &Lookups::new()).unwrap();
    let text = format!("{:80}", PlanTable(&plan));
    let rows: Vec<&str> = text.lines().skip(1).take_while(|row| !row.contains("total")).collect();
    assert!(rows.len() > 1 && text.lines().all(|line| line.len() <= 80), "{text}");
    assert_eq!(text.matches(&i64::MAX.to_string()).count(), 3, "{text}");
    let name: String = rows.concat().matches(char::is_alphabetic).collect();
    assert_eq!(name, topic);
    assert_eq!(PlanTable(&plan).to_string().lines().count(), 3);
}

#[test]
fn pieces_and_clamps_are_printed_if_there_are_any() {
    let starts = Starts::per_partition([(TopicPartition::new("t", 1), StartOffset::At(5.into()))]);
    let selection = Selection::new()
        .starts(starts.with_default(StartOffset::Earliest))
        .max_records_per_partition(6)
        .on_data_loss(DataLossPolicy::Resume);
    let mut trimmed = state("t", 1, 10, 10);
    trimmed.watermarks.log_start = Offset::new(8);
    let expected = "\
topic  partition  piece  from  until  span
t              0      0     0      6     6
t              0      1     6     12     6
t              1      0     8     10     2
t-1: offsets [5, 8) do not exist and are skipped
total: 3 ranges in 2 of 2 partitions, span 14";
    assert_eq!(table(&selection, vec![state("t", 0, 12, 12), trimmed]), expected);
}

#[test]
fn a_plan_without_ranges_has_no_table() {
    let expected = "\
1 partition has nothing to read: t-0
total: 0 ranges in 0 of 1 partition, span 0";
    assert_eq!(table(&Selection::new(), vec![state("t", 0, 0, 0)]), expected);
    let none = table(&Selection::new(), vec![]);
    assert_eq!(none, "total: 0 ranges in 0 of 0 partitions, span 0");
}

#[test]
fn a_long_plan_is_cut_and_its_total_counts_everything() {
    let states = |count| (0..count).map(|partition| state("t", partition, 2, 3)).collect();
    let fifty = table(&Selection::new(), states(50));
    assert!(!fifty.contains("more"), "{fifty}");
    let many = table(&Selection::new(), states(51));
    let lines: Vec<_> = many.lines().collect();
    // The header; 40 ranges and a count; 40 partitions with open transactions and a count; the
    // total.
    assert_eq!(lines.len(), 1 + 40 + 1 + 40 + 1 + 1, "{many}");
    assert_eq!(lines[41], "... 11 more");
    assert_eq!(lines[83], "total: 51 ranges in 51 of 51 partitions, span 102");
}

#[test]
fn scattered_idle_partitions_are_cut_too() {
    let states =
        (0..400).map(|index| state("t", index, i64::from(index % 2), i64::from(index % 2)));
    let text = table(&Selection::new(), states.collect());
    assert!(text.contains("200 partitions have nothing to read: t-0, t-2, "), "{text}");
    assert!(text.contains("t-78, ... 160 more\n"), "{text}");
}
