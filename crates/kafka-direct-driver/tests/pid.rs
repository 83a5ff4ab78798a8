//! Tests of the PID estimator: the checks of Spark's own tests, its state over a restart, bad input.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::time::Duration;

use kafka_direct_core::ErrorKind;
use kafka_direct_driver::{CompletedBatch, LearntRate, PidEstimator, PidSettings};
use proptest::prelude::*;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn estimator(interval: u64, factors: [f64; 3], min_rate: f64) -> PidEstimator {
    let [p, i, d] = factors;
    let settings = PidSettings::default().factors(p, i, d).min_rate(min_rate);
    PidEstimator::new(settings, Some(millis(interval)), None).unwrap()
}

/// Adds a batch given as in Spark's tests: time, elements, processing and scheduling delay in ms.
fn compute(
    pid: &mut PidEstimator,
    (time, span, processing, delay): (u64, u64, u64, u64),
) -> Option<f64> {
    pid.update(&CompletedBatch {
        completed_at: millis(time),
        span,
        processing: millis(processing),
        scheduling_delay: millis(delay),
    })
}

#[test]
fn the_first_batch_gives_no_estimate_and_a_repeated_time_none_either() {
    let mut pid = estimator(20, [1.0, 0.0, 0.0], 10.0);
    assert_eq!(compute(&mut pid, (0, 10, 10, 0)), None);
    assert_eq!(pid.learnt(), None);
    assert_eq!(compute(&mut pid, (10, 10, 10, 0)), Some(1000.0));
    assert_eq!(compute(&mut pid, (10, 10, 10, 0)), None);
}

#[test]
fn an_invalid_batch_changes_nothing() {
    let mut pid = estimator(20, [1.0, 0.0, 1.0], 10.0);
    compute(&mut pid, (0, 10, 10, 0));
    compute(&mut pid, (10, 10, 20, 0));
    let before = pid.clone();
    for batch in [(10, 9, 9, 0), (9, 9, 9, 0), (20, 0, 9, 0), (20, 9, 0, 0)] {
        assert_eq!(compute(&mut pid, batch), None);
        assert_eq!(pid, before, "{batch:?}");
    }
}

#[test]
fn a_stream_that_falls_behind_gets_the_minimum_rate() {
    let mut pid = estimator(20, [1.0, 1.0, 0.0], 5.0);
    let estimates: Vec<_> = (0..50).map(|i| compute(&mut pid, (20 * i, 1, 20, 100))).collect();
    assert_eq!(estimates.first(), Some(&None));
    assert!(estimates.iter().skip(1).all(|estimate| *estimate == Some(5.0)), "{estimates:?}");
}

#[test]
fn without_delay_the_estimate_is_the_measured_rate() {
    let mut pid = estimator(20, [1.0, 1.0, 0.0], 10.0);
    for i in 0..50 {
        let estimate = compute(&mut pid, (20 * i, 20 * (i + 1), 20, 0));
        assert_eq!(estimate, (i > 0).then(|| (i + 1) as f64 * 1000.0));
    }
}

#[test]
fn each_factor_has_its_term() {
    // The measured rates are 1000 and 500 per second; the error of the second batch is 500.
    let second = |factors, delay| {
        let mut pid = estimator(100, factors, 10.0);
        compute(&mut pid, (0, 100, 100, 0));
        compute(&mut pid, (500, 50, 100, delay)).unwrap()
    };
    assert_eq!(second([0.5, 0.0, 0.0], 0), 1000.0 - 0.5 * 500.0);
    assert_eq!(second([0.0, 0.2, 0.0], 40), 1000.0 - 0.2 * (40.0 * 500.0 / 100.0));
    assert_eq!(second([0.0, 0.0, 0.1], 0), 1000.0 - 0.1 * (500.0 / 0.5));
}

#[test]
fn the_defaults_are_those_of_spark() {
    let PidSettings { proportional, integral, derivative, min_rate, .. } = PidSettings::default();
    assert_eq!([proportional, integral, derivative, min_rate], [1.0, 0.2, 0.0, 100.0]);
    // Without an interval, the integral term uses 1 s.
    let mut pid = PidEstimator::new(PidSettings::default(), None, None).unwrap();
    compute(&mut pid, (0, 1000, 1000, 0));
    assert_eq!(compute(&mut pid, (1, 1000, 1000, 500)), Some(1000.0 - 0.2 * 500.0));
}

#[test]
fn settings_out_of_range_are_rejected_by_name() {
    let check = |settings: PidSettings, name: &str| {
        let error = PidEstimator::new(settings, None, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(name), "{error}");
    };
    let default = PidSettings::default();
    for bad in [-0.1, f64::NAN, f64::INFINITY] {
        check(default.factors(bad, 0.0, 0.0), "proportional");
        check(default.factors(0.0, bad, 0.0), "integral");
        check(default.factors(0.0, 0.0, bad), "derivative");
        check(default.min_rate(bad), "minimum rate");
    }
    check(default.min_rate(0.0), "minimum rate");
    let error = PidEstimator::new(default, Some(Duration::ZERO), None).unwrap_err();
    assert!(error.to_string().contains("batch_interval"), "{error}");
}

#[test]
fn the_learnt_rate_survives_a_restart_on_another_clock() {
    let mut pid = estimator(100, [0.5, 0.0, 1.0], 10.0);
    compute(&mut pid, (9000, 100, 100, 0));
    assert_eq!(compute(&mut pid, (9500, 50, 100, 0)), Some(10.0));
    let text = serde_json::to_string(&pid.learnt().unwrap()).unwrap();
    assert_eq!(text, r#"{"records_per_second":10.0,"error":500.0}"#);
    let learnt: LearntRate = serde_json::from_str(&text).unwrap();
    let settings = PidSettings::default().factors(0.5, 0.0, 1.0).min_rate(10.0);
    let mut pid = PidEstimator::new(settings, Some(millis(100)), Some(learnt)).unwrap();
    assert_eq!(pid.learnt(), Some(learnt));
    // The first batch gives an estimate at once, without the term of the derivative.
    assert_eq!(compute(&mut pid, (3, 100, 100, 0)), Some(10.0 + 0.5 * 990.0));
}

#[test]
fn a_stored_rate_out_of_range_is_rejected() {
    for text in [
        r#"{"records_per_second":0.0,"error":0.0}"#,
        r#"{"records_per_second":-1.0,"error":0.0}"#,
        r#"{"records_per_second":null,"error":0.0}"#,
        r#"{"records_per_second":1.0,"error":null}"#,
    ] {
        assert!(serde_json::from_str::<LearntRate>(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn an_estimate_is_finite_and_at_least_the_minimum(
        factors in prop::array::uniform3(prop_oneof![0.0..3.0, Just(f64::MAX)]),
        batches in prop::collection::vec(
            (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()), 1..20,
        ),
    ) {
        let mut pid = estimator(100, factors, 7.0);
        for (time, span, processing, delay) in batches {
            let estimate = pid.update(&CompletedBatch {
                completed_at: Duration::from_nanos(time),
                span,
                processing: Duration::from_nanos(processing),
                scheduling_delay: millis(delay),
            });
            prop_assert!(estimate.is_none_or(|rate| rate.is_finite() && rate >= 7.0));
            prop_assert!(estimate.is_none() || pid.learnt().is_some());
        }
        if let Some(learnt) = pid.learnt() {
            let text = serde_json::to_string(&learnt).unwrap();
            prop_assert!(serde_json::from_str::<LearntRate>(&text).is_ok(), "{}", text);
        }
    }
}
