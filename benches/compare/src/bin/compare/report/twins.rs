//! Tables of the loads with several topics of the same records, where ours is compared with itself.

use std::fmt::Write as _;

use kafka_direct_compare_round::Round;

use super::{NOTHING, shown};
use crate::{
    clients::Client,
    loads::Kind,
    rounds::Measured,
    spread::Spread,
    targets::{Bound, Verdict, noise},
};

fn cpu(round: &Round) -> f64 {
    round.cpu_us_per_record
}

fn median(spread: Option<Spread>) -> f64 {
    spread.map_or(f64::NAN, |spread| spread.median)
}

/// Writes the table of ours with aborted transactions and without.
pub(super) fn aborted(text: &mut String, measured: &[Measured]) -> std::fmt::Result {
    for one in measured.iter().filter(|one| one.load.kind == Kind::Aborted) {
        writeln!(
            text,
            "\n{}: kafka-direct against itself on the same visible records written without \
             transactions; A/A is on the latter.\n",
            one.load.name
        )?;
        writeln!(
            text,
            "| without transactions, \u{b5}s | with, \u{b5}s | with / without | target | A/A |"
        )?;
        writeln!(text, "|--:|--:|--:|---|--:|")?;
        let (without, with) = ((Client::Ours, 0), (Client::Ours, 1));
        let again = one.ratio((Client::OursAgain, 0), without, cpu);
        let ratio = one.ratio(with, without, cpu);
        let verdict = ratio.zip(one.load.over_bar).map(|(ratio, bound)| bound.judged(ratio, again));
        writeln!(
            text,
            "| {:.3} | {:.3} | {} | {} | {} |",
            median(one.cpu(without)),
            median(one.cpu(with)),
            ratio.map_or_else(|| NOTHING.to_owned(), shown),
            verdict.as_deref().unwrap_or(NOTHING),
            again.map_or_else(|| NOTHING.to_owned(), shown),
        )?;
    }
    Ok(())
}

/// Writes the table of ours and floor with an increasing number of partitions.
pub(super) fn partitions(text: &mut String, measured: &[Measured]) -> std::fmt::Result {
    for one in measured.iter().filter(|one| one.load.kind == Kind::Partitions) {
        let again = one.ratio((Client::OursAgain, 0), (Client::Ours, 0), speed);
        writeln!(
            text,
            "\n{}: the same number of records in topics with more and more partitions. Throughput \
             is records per second of wall time, including the broker. A/A of kafka-direct's throughput: \
             {}.\n",
            one.load.name,
            again.map_or_else(|| NOTHING.to_owned(), shown)
        )?;
        writeln!(
            text,
            "| topic | kafka-direct, records/s | against the first topic | does it fall? | \
             floor views, records/s | against floor views | kafka-direct, \u{b5}s | floor views, \u{b5}s |"
        )?;
        writeln!(text, "|---|--:|--:|---|--:|--:|--:|--:|")?;
        for (index, topic) in one.load.topics.iter().enumerate() {
            let (ours, floor) = ((Client::Ours, index), (Client::Floor, index));
            let rate = |cell| median(one.spread(|round| round.of(cell).map(speed)));
            let against = one.ratio(ours, (Client::Ours, 0), speed);
            let of_floor = one.ratio(ours, floor, speed);
            writeln!(
                text,
                "| {} | {:.0} | {} | {} | {:.0} | {} | {:.3} | {:.3} |",
                topic.name,
                rate(ours),
                against.map_or_else(|| NOTHING.to_owned(), shown),
                if index == 0 { NOTHING } else { falls(against, again) },
                rate(floor),
                of_floor.map_or_else(|| NOTHING.to_owned(), shown),
                median(one.cpu(ours)),
                median(one.cpu(floor)),
            )?;
        }
    }
    Ok(())
}

fn speed(round: &Round) -> f64 {
    round.records as f64 / round.wall_s
}

fn falls(against: Option<Spread>, again: Option<Spread>) -> &'static str {
    let Some(against) = against else { return NOTHING };
    let width = noise(again);
    match Bound::AtLeast(1.0).verdict(against, width) {
        Verdict::Met | Verdict::WithinNoise => "no",
        Verdict::Missed if against.median >= 1.0 - width => "not beyond noise",
        Verdict::Missed => "**yes**",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_falls_only_if_it_does_by_more_than_the_noise() {
        let again = Spread::of([0.95, 0.97, 1.0, 1.0, 1.02, 1.05]);
        let falls = |against| falls(Spread::of([against]), again);
        assert_eq!(falls(1.2), "no");
        assert_eq!(falls(0.95), "not beyond noise");
        assert_eq!(falls(0.85), "**yes**");
    }
}
