//! Properties of every plan, for any input.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use kafka_direct_core::{
    BatchPlan, DataLossPolicy, IsolationLevel, Offset, OffsetRange, TopicPartition, Watermarks,
};
use kafka_direct_driver::{
    DriverError, EndOffset, Lookup, Lookups, NoMatch, PartitionState, Selection, StartOffset,
    Starts, lookups_needed, plan, plan_ranges,
};
use proptest::prelude::*;

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        60 => 0..60_i64,
        1 => any::<i64>(),
        2 => Just(i64::MAX),
        1 => Just(i64::MIN),
        1 => Just(-1),
    ]
}

fn start() -> impl Strategy<Value = StartOffset> {
    let leaf = prop_oneof![
        Just(StartOffset::Earliest),
        Just(StartOffset::Latest),
        number().prop_map(|offset| StartOffset::At(Offset::new(offset))),
        number().prop_map(StartOffset::FromEnd),
        (number(), prop_oneof![Just(NoMatch::Error), Just(NoMatch::Latest)])
            .prop_map(|(millis, no_match)| StartOffset::Timestamp { millis, no_match }),
    ];
    leaf.prop_recursive(3, 3, 1, |inner| {
        ("[gh]", inner).prop_map(|(group, fallback)| StartOffset::GroupCommitted {
            group,
            fallback: Box::new(fallback),
        })
    })
}

fn end() -> impl Strategy<Value = EndOffset> {
    prop_oneof![
        Just(EndOffset::Latest),
        number().prop_map(|offset| EndOffset::At(Offset::new(offset))),
        number().prop_map(EndOffset::FromEnd),
        number().prop_map(|millis| EndOffset::Timestamp { millis }),
    ]
}

/// Watermarks that are mostly in order, as brokers return them, and sometimes in any order.
fn watermarks() -> impl Strategy<Value = Watermarks> {
    let sorted = [number(), number(), number()].prop_map(|mut marks| {
        marks.sort_unstable();
        marks
    });
    let any = [number(), number(), number()];
    prop_oneof![9 => sorted, 1 => any].prop_map(|marks| {
        let [log_start, last_stable, high] = marks.map(Offset::new);
        Watermarks { log_start, last_stable, high }
    })
}

fn states() -> impl Strategy<Value = Vec<PartitionState>> {
    let known = (watermarks(), any::<Option<i32>>());
    prop::collection::btree_map(("[ab]", 0..4_i32), known, 0..6).prop_map(|states| {
        let states = states.into_iter();
        let state = states.map(|((topic, partition), (watermarks, leader_epoch))| PartitionState {
            topic_partition: TopicPartition::new(topic, partition),
            topic_id: None,
            leader_epoch,
            watermarks,
        });
        state.collect()
    })
}

/// A selection in which every per-partition start is of an existing partition.
fn selection(states: &[PartitionState]) -> impl Strategy<Value = Selection> + use<> {
    let names: Vec<_> = states.iter().map(|state| state.topic_partition.clone()).collect();
    let exceptions = prop::collection::vec(prop::option::of(start()), names.len());
    let limit = || prop::option::of(0..50_u64);
    (start(), exceptions, end(), any::<(bool, bool)>(), limit(), prop::option::of(1..4_u64))
        .prop_map(move |(start, exceptions, end, (committed, resume), min, max)| {
            let entries = names.iter().cloned().zip(exceptions);
            let entries = entries.filter_map(|(name, start)| Some((name, start?)));
            let isolation = if committed {
                IsolationLevel::ReadCommitted
            } else {
                IsolationLevel::ReadUncommitted
            };
            let policy = if resume { DataLossPolicy::Resume } else { DataLossPolicy::Fail };
            Selection::new()
                .starts(Starts::per_partition(entries).with_default(start))
                .ends(end)
                .isolation(isolation)
                .on_data_loss(policy)
                .min_partitions(min)
                .max_records_per_partition(max)
        })
}

fn input() -> impl Strategy<Value = (Vec<PartitionState>, Vec<PartitionState>, Selection)> {
    states().prop_flat_map(|states| {
        let selection = selection(&states);
        (Just(states.clone()), Just(states).prop_shuffle(), selection)
    })
}

fn look_up(needed: impl IntoIterator<Item = Lookup>, results: &[Option<i64>]) -> Lookups {
    let mut lookups = Lookups::new();
    let mut results = results.iter().cycle().copied();
    for lookup in needed {
        let offset = results.next().flatten().map(Offset::new);
        match lookup {
            Lookup::Timestamp { topic_partition, millis } => {
                lookups.insert_timestamp(topic_partition, millis, offset);
            }
            Lookup::Committed { group, topic_partition } => {
                lookups.insert_committed(group, topic_partition, offset);
            }
        }
    }
    lookups
}

fn inside_the_log(plan: &BatchPlan) -> Result<(), TestCaseError> {
    for planned in plan.ranges() {
        let of = |tp| plan.partitions().iter().find(|p| &p.topic_partition == tp);
        let marks = of(planned.topic_partition()).unwrap().watermarks;
        prop_assert!(planned.range().from() >= marks.log_start);
        prop_assert!(planned.range().until() <= marks.end(plan.isolation()));
        prop_assert!(!planned.range().is_empty_span());
    }
    for reset in plan.resets() {
        prop_assert!(reset.skipped() > 0);
        let skips = |r: &OffsetRange| {
            r.topic_partition() == &reset.topic_partition
                && r.from() < reset.to
                && reset.from < r.until()
        };
        prop_assert!(!plan.ranges().iter().any(|planned| skips(planned.range())));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_plan_does_not_depend_on_the_order_of_partitions_and_is_inside_the_log(
        (states, shuffled, selection) in input(),
        results in prop::collection::vec(prop::option::of(number()), 1..8),
    ) {
        let needed = lookups_needed(&selection, &states);
        prop_assert_eq!(&needed, &lookups_needed(&selection, &shuffled));
        let lookups = look_up(needed.clone().unwrap_or_default(), &results);
        let planned = plan(&selection, None, states.clone(), &lookups);
        prop_assert_eq!(&planned, &plan(&selection, None, shuffled, &lookups));
        if needed.is_err() {
            prop_assert!(planned.is_err());
        } else {
            let missing = matches!(planned, Err(DriverError::MissingResponse { .. }));
            prop_assert!(!missing, "{:?}", planned);
        }
        if let Ok(plan) = planned {
            prop_assert_eq!(plan.partitions().len(), states.len());
            inside_the_log(&plan)?;
            if selection.on_data_loss == DataLossPolicy::Fail {
                prop_assert!(plan.resets().is_empty());
            }
            prop_assert_eq!(BatchPlan::from_json(&plan.to_json()).unwrap(), plan);
        }
    }

    #[test]
    fn under_resume_no_explicit_offset_is_ever_lost(
        (states, _, selection) in input(), from in number(), until in number(),
    ) {
        let selection = selection
            .on_data_loss(DataLossPolicy::Resume)
            .starts(StartOffset::At(Offset::new(from)))
            .ends(EndOffset::At(Offset::new(until)));
        if let Ok(plan) = plan(&selection, None, states, &Lookups::new()) && from < until {
            for partition in plan.partitions() {
                // Every requested offset is either read or recorded as missing, exactly once.
                let tp = &partition.topic_partition;
                let mut parts: Vec<_> = plan
                    .ranges()
                    .iter()
                    .filter(|planned| planned.topic_partition() == tp)
                    .map(|planned| (planned.range().from().get(), planned.range().until().get()))
                    .chain(plan.resets().iter().filter(|reset| &reset.topic_partition == tp)
                        .map(|reset| (reset.from.get(), reset.to.get())))
                    .collect();
                parts.sort_unstable();
                prop_assert_eq!(parts.first().map(|part| part.0), Some(from));
                prop_assert_eq!(parts.last().map(|part| part.1), Some(until));
                for (one, next) in parts.iter().zip(parts.iter().skip(1)) {
                    prop_assert_eq!(one.1, next.0);
                }
            }
        }
    }

    #[test]
    fn a_plan_of_ranges_does_not_depend_on_their_order_and_is_inside_the_log(
        (states, shuffled, selection) in input(),
        spans in prop::collection::vec((any::<prop::sample::Index>(), number(), number()), 0..8),
    ) {
        let mut ranges = Vec::new();
        for (index, from, until) in spans {
            if !states.is_empty() && let Ok(range) =
                OffsetRange::new(index.get(&states).topic_partition.clone(), from, until)
            {
                ranges.push(range);
            }
        }
        let reversed = ranges.iter().rev().cloned().collect();
        let planned = plan_ranges(ranges.clone(), &selection, None, states);
        prop_assert_eq!(&planned, &plan_ranges(reversed, &selection, None, shuffled));
        if let Ok(plan) = planned {
            inside_the_log(&plan)?;
            let requested: i128 = ranges.iter().map(|range| i128::from(range.span())).sum();
            prop_assert!(i128::from(plan.span()) <= requested);
        }
    }
}
