//! Rounds over one load: interleaved, in alternating order, the disturbed ones left out.

use kafka_direct_compare::Round;

use crate::{
    BoxError,
    clients::{Binaries, Client},
    loads::Load,
    spread::Spread,
};

/// How far `floor drain` may be from its median before its round is thrown away.
const DRAIN_TOLERANCE: f64 = 0.2;

/// A machine that is never quiet would otherwise be measured for ever.
const MOST_ROUNDS_PER_KEPT: usize = 3;

/// One result of every client, in the order of `Client::ALL`.
pub(crate) struct Results(Vec<Round>);

impl Results {
    pub(crate) fn of(&self, client: Client) -> &Round {
        let place = Client::ALL.iter().position(|one| *one == client);
        &self.0[place.unwrap_or_default()]
    }

    pub(crate) fn results(&self) -> &[Round] {
        &self.0
    }
}

/// A load and every round over it.
pub(crate) struct Measured {
    pub(crate) load: Load,
    pub(crate) rounds: Vec<Results>,
}

impl Measured {
    pub(crate) fn is_kept(&self, round: &Results) -> bool {
        let drain = |round: &Results| round.of(Client::Drain).cpu_us_per_record;
        let all = Spread::of(self.rounds.iter().map(drain));
        all.is_none_or(|all| is_near(drain(round), all.median))
    }

    pub(crate) fn kept(&self) -> Vec<&Results> {
        self.rounds.iter().filter(|round| self.is_kept(round)).collect()
    }

    /// Over the rounds that were kept.
    pub(crate) fn spread(&self, figure: impl Fn(&Results) -> f64) -> Option<Spread> {
        Spread::of(self.kept().into_iter().map(figure))
    }
}

fn is_near(figure: f64, median: f64) -> bool {
    (figure - median).abs() <= median * DRAIN_TOLERANCE
}

/// One round to warm up, then rounds until `wanted` of them are kept.
pub(crate) fn measure(
    binaries: &Binaries,
    bootstrap: &str,
    load: Load,
    wanted: u16,
) -> Result<Measured, BoxError> {
    let wanted = usize::from(wanted);
    let warm_up = one_round(binaries, bootstrap, &load, false)?;
    check(&load, &warm_up)?;
    let mut measured = Measured { load, rounds: Vec::new() };
    while measured.kept().len() < wanted && measured.rounds.len() < wanted * MOST_ROUNDS_PER_KEPT {
        let is_reversed = measured.rounds.len() % 2 == 1;
        let round = one_round(binaries, bootstrap, &measured.load, is_reversed)?;
        check(&measured.load, &round)?;
        let figure = |client| round.of(client).cpu_us_per_record;
        eprintln!(
            "{}, round {}: floor {:.4}, kafka-direct {:.4}, rskafka {:.4} \u{b5}s a record",
            measured.load.name,
            measured.rounds.len() + 1,
            figure(Client::Floor),
            figure(Client::Ours),
            figure(Client::Rskafka),
        );
        measured.rounds.push(round);
    }
    Ok(measured)
}

fn one_round(
    binaries: &Binaries,
    bootstrap: &str,
    load: &Load,
    is_reversed: bool,
) -> Result<Results, BoxError> {
    let mut order = Client::ALL;
    if is_reversed {
        order.reverse();
    }
    let mut results = Vec::with_capacity(order.len());
    for client in order {
        results.push(binaries.run(client, bootstrap, &load.topic)?);
    }
    if is_reversed {
        results.reverse();
    }
    Ok(Results(results))
}

/// Every client must have read the same: a fast client that reads less is not fast.
fn check(load: &Load, round: &Results) -> Result<(), BoxError> {
    let floor = round.of(Client::Floor);
    if let Some(expected) = load.expected.filter(|expected| *expected != floor.records) {
        return Err(format!(
            "topic {} holds {} records where this load has {expected}: delete the topic first",
            load.topic, floor.records
        )
        .into());
    }
    for client in Client::ALL {
        let result = round.of(client);
        let are_values_equal = !client.sees_values() || result.value_bytes == floor.value_bytes;
        if result.records != floor.records || !are_values_equal {
            return Err(format!(
                "topic {}: {} read {} records with {} bytes of values, {} read {} with {}",
                load.topic,
                client.name(),
                result.records,
                result.value_bytes,
                Client::Floor.name(),
                floor.records,
                floor.value_bytes,
            )
            .into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(records: u64, value_bytes: u64, cpu_us_per_record: f64) -> Round {
        Round {
            client: String::new(),
            records,
            value_bytes,
            wire_bytes: 0,
            requests: 1,
            wall_s: 1.0,
            user_s: 1.0,
            system_s: 0.0,
            cpu_us_per_record,
            peak_rss_kib: 1,
        }
    }

    fn round_with_drain(cpu: f64) -> Results {
        let mut results = vec![result(10, 100, 1.0); Client::ALL.len()];
        results[0] = result(10, 0, cpu);
        Results(results)
    }

    #[test]
    fn a_round_whose_drain_moved_by_more_than_a_fifth_is_thrown_away() {
        let rounds = [1.0, 1.1, 1.4, 0.7, 0.9].map(round_with_drain).into();
        let measured = Measured { load: Load::existing("t"), rounds };
        let kept: Vec<f64> =
            measured.kept().iter().map(|r| r.of(Client::Drain).cpu_us_per_record).collect();
        assert_eq!(kept, [1.0, 1.1, 0.9]);
    }

    #[test]
    fn clients_that_read_different_records_or_values_are_an_error() {
        let load = Load::existing("t");
        assert!(check(&load, &round_with_drain(1.0)).is_ok());
        for (place, wrong) in
            [(0, result(9, 0, 1.0)), (2, result(9, 100, 1.0)), (4, result(10, 99, 1.0))]
        {
            let mut round = round_with_drain(1.0);
            round.0[place] = wrong;
            assert!(check(&load, &round).is_err(), "place {place}");
        }
    }

    #[test]
    fn a_topic_that_is_not_the_load_is_an_error() {
        let mut load = Load::existing("t");
        load.expected = Some(11);
        assert!(check(&load, &round_with_drain(1.0)).is_err());
    }
}
