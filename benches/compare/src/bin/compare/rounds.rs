//! Runs interleaved rounds over one load, each in another order, and discards disturbed rounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use kafka_direct_compare_round::Round;

use crate::{
    BoxError,
    clients::{Client, Clients, Pace},
    loads::{Kind, Load},
    spread::Spread,
};

/// Maximum relative distance of `floor drain` from its median; a round beyond it is discarded.
const DRAIN_TOLERANCE: f64 = 0.2;

/// Maximum number of rounds per wanted one; without it, a busy machine would be measured for ever.
const MOST_ROUNDS_PER_KEPT: usize = 3;

/// Maximum error in bytes of ConsumerPerformance, which prints MB with four decimals.
const ROUNDED_BYTES: u64 = 64;

/// A client, and the index of its topic in the load.
pub(crate) type Cell = (Client, usize);

/// Returns the cells of a full round of `load`.
pub(crate) fn cells(load: &Load, clients: &Clients) -> Vec<Cell> {
    use Client::{Drain, Floor, FloorAgain, Ours, OursAgain, OursAlone};
    match load.kind {
        Kind::Clients => {
            let peers = Client::PEERS
                .into_iter()
                .filter(|peer| clients.has(*peer) && (load.engines || peer.pace() != Pace::Engine));
            [Drain, FloorAgain, Floor, Ours, OursAlone]
                .into_iter()
                .chain(peers)
                .map(|one| (one, 0))
                .collect()
        }
        Kind::Aborted => vec![(Drain, 0), (Ours, 0), (Ours, 1), (OursAgain, 0)],
        Kind::Partitions => {
            let mut cells = vec![(Drain, 0)];
            for topic in 0..load.topics.len() {
                cells.extend([(Floor, topic), (Ours, topic)]);
            }
            cells.extend([(FloorAgain, 0), (OursAgain, 0)]);
            cells
        }
    }
}

/// The results of one round, by cell.
#[derive(Default)]
pub(crate) struct Results(BTreeMap<Cell, Round>);

impl Results {
    #[cfg(test)]
    pub(crate) fn from_cells<const N: usize>(cells: [(Cell, Round); N]) -> Self {
        Self(cells.into())
    }

    pub(crate) fn of(&self, cell: Cell) -> Option<&Round> {
        self.0.get(&cell)
    }

    pub(crate) fn cpu(&self, cell: Cell) -> Option<f64> {
        self.of(cell).map(|round| round.cpu_us_per_record)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (Cell, &Round)> + Clone {
        self.0.iter().map(|(cell, round)| (*cell, round))
    }

    fn has(&self, is_one: impl Fn(Client) -> bool) -> bool {
        self.0.keys().any(|(client, _)| is_one(*client))
    }
}

fn is_slow(pace: Pace) -> bool {
    matches!(pace, Pace::Slow | Pace::Engine)
}

fn is_peer(pace: Pace) -> bool {
    pace != Pace::Bar
}

/// A load and all of its rounds, including discarded ones.
pub(crate) struct Measured {
    pub(crate) load: Load,
    pub(crate) rounds: Vec<Results>,
    /// Peers that failed to read the load, with the reason.
    pub(crate) failed: BTreeMap<Client, String>,
}

impl Measured {
    pub(crate) fn of(load: Load) -> Self {
        Self { load, rounds: Vec::new(), failed: BTreeMap::new() }
    }

    pub(crate) fn is_kept(&self, round: &Results) -> bool {
        let drain = |round: &Results| round.cpu((Client::Drain, 0));
        let all = Spread::of(self.rounds.iter().filter_map(drain));
        match (drain(round), all) {
            (Some(figure), Some(all)) => {
                (figure - all.median).abs() <= all.median * DRAIN_TOLERANCE
            }
            _ => true,
        }
    }

    pub(crate) fn kept(&self) -> Vec<&Results> {
        self.rounds.iter().filter(|round| self.is_kept(round)).collect()
    }

    /// Returns the spread of a figure over the kept rounds that have it.
    pub(crate) fn spread(&self, figure: impl Fn(&Results) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.kept().into_iter().filter_map(figure))
    }

    /// Returns the CPU time per record, in microseconds.
    pub(crate) fn cpu(&self, cell: Cell) -> Option<Spread> {
        self.spread(|round| round.cpu(cell))
    }

    /// Returns the spread of the ratio of two cells' figures, computed round by round.
    pub(crate) fn ratio(
        &self,
        over: Cell,
        under: Cell,
        figure: impl Fn(&Round) -> f64,
    ) -> Option<Spread> {
        self.spread(|round| Some(figure(round.of(over)?) / figure(round.of(under)?)))
    }

    /// Returns the number of kept rounds in which `client` ran.
    pub(crate) fn rounds_with(&self, client: Client) -> usize {
        self.kept().iter().filter(|round| round.has(|one| one == client)).count()
    }

    /// Returns the peer with the least CPU time per record, of those that ran in most rounds.
    pub(crate) fn cheapest_other(&self) -> Option<Client> {
        let of_ours = |client| {
            let cpu = |round: &Round| round.cpu_us_per_record;
            Some(self.ratio((client, 0), (Client::Ours, 0), cpu)?.median)
        };
        let others = Client::PEERS.into_iter().filter_map(|peer| Some((peer, of_ours(peer)?)));
        let cheapest = others.min_by(|(one, cost), (other, other_cost)| {
            let rounds = self.rounds_with(*other).cmp(&self.rounds_with(*one));
            rounds.then(cost.total_cmp(other_cost))
        });
        cheapest.map(|(peer, _)| peer)
    }

    /// Returns the cells that have a figure, in the order of the tables.
    pub(crate) fn measured_cells(&self) -> BTreeSet<Cell> {
        self.kept().into_iter().flat_map(|round| round.0.keys().copied()).collect()
    }
}

/// The numbers of rounds to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Rounds that are kept.
    pub(crate) rounds: usize,
    /// Kept rounds in which other clients run too.
    pub(crate) peer_rounds: usize,
    /// Kept rounds in which slow clients run too.
    pub(crate) slow_rounds: usize,
    /// Kept rounds in which the cheapest other client runs.
    pub(crate) rival_rounds: usize,
}

/// Runs a warm-up round, and then rounds until enough are kept.
pub(crate) fn measure(
    clients: &Clients,
    bootstrap: &str,
    load: Load,
    wanted: Wanted,
) -> Result<Measured, BoxError> {
    let all = cells(&load, clients);
    let only = |keep: &dyn Fn(Pace) -> bool| -> Vec<Cell> {
        all.iter().copied().filter(|(client, _)| keep(client.pace())).collect()
    };
    let (bars, quick) = (only(&|pace| !is_peer(pace)), only(&|pace| !is_slow(pace)));
    let mut measured = Measured::of(load);
    // This round is discarded. It warms up the broker and counts the records.
    let warm = one_round(clients, bootstrap, &mut measured, &quick, None, 0)?;
    let records = warm.of((Client::Floor, 0)).map(|round| round.records);
    loop {
        let kept = measured.kept();
        let wants = |cells: &[Cell], fewer: &[Cell], rounds: usize, is_one: fn(Pace) -> bool| {
            let has = |round: &&&Results| round.has(|client| is_one(client.pace()));
            cells.len() > fewer.len() && kept.iter().filter(has).count() < rounds
        };
        let wants_slow = wants(&all, &quick, wanted.slow_rounds, is_slow);
        let wants_peers = wants(&quick, &bars, wanted.peer_rounds, is_peer);
        let rival = measured
            .cheapest_other()
            .filter(|rival| measured.rounds_with(*rival) < wanted.rival_rounds);
        let is_enough =
            kept.len() >= wanted.rounds && !wants_slow && !wants_peers && rival.is_none();
        let number = measured.rounds.len();
        if is_enough || number >= wanted.rounds * MOST_ROUNDS_PER_KEPT {
            return Ok(measured);
        }
        let now = match (wants_slow, wants_peers) {
            (true, _) => all.clone(),
            (_, true) => quick.clone(),
            _ => bars.iter().copied().chain(rival.map(|rival| (rival, 0))).collect(),
        };
        let round = one_round(clients, bootstrap, &mut measured, &now, records, number)?;
        let figures: Vec<String> = round
            .all()
            .map(|((client, topic), round)| {
                let shown = if topic == 0 { String::new() } else { format!(" ({})", topic + 1) };
                format!("{}{shown} {:.3}", client.name(), round.cpu_us_per_record)
            })
            .collect();
        let name = &measured.load.name;
        eprintln!("{name}, round {}: {} \u{b5}s a record", number + 1, figures.join(", "));
        measured.rounds.push(round);
    }
}

/// Returns the order of a round, which is the same in every run.
///
/// The order differs between rounds, so that no client always runs after the same one, whose
/// effects on the machine (e.g. caches) would change its figures.
fn order(cells: &[Cell], round: usize) -> Vec<Cell> {
    let mut order = cells.to_vec();
    order.sort_by_cached_key(|cell| {
        let mut hasher = DefaultHasher::new();
        (round, cell).hash(&mut hasher);
        hasher.finish()
    });
    order
}

fn one_round(
    clients: &Clients,
    bootstrap: &str,
    measured: &mut Measured,
    cells: &[Cell],
    mut records: Option<u64>,
    number: usize,
) -> Result<Results, BoxError> {
    let mut results = Results::default();
    for cell in order(cells, number) {
        let (client, topic) = cell;
        if measured.failed.contains_key(&client) {
            continue;
        }
        let topic = &measured.load.topics[topic].name;
        match clients.run(client, bootstrap, topic, records) {
            Ok(round) => {
                records = records.or(Some(round.records));
                results.0.insert(cell, round);
            }
            Err(error) if client.pace() == Pace::Bar => return Err(error),
            // The other clients can still be measured.
            Err(error) => {
                eprintln!("left out of further rounds: {error}");
                measured.failed.insert(client, error.to_string());
            }
        }
    }
    check(&measured.load, results.all())?;
    Ok(results)
}

/// Checks that every client read the same records and the same bytes of values.
fn check<'a>(
    load: &Load,
    runs: impl Iterator<Item = (Cell, &'a Round)> + Clone,
) -> Result<(), BoxError> {
    // Floor or ours: the first of the cells whose client reads values.
    let Some((cell, first)) = runs.clone().find(|((client, _), _)| client.sees_values()) else {
        return Ok(());
    };
    if let Some(expected) = load.expected.filter(|expected| *expected != first.records) {
        return Err(format!(
            "topic {} has {} records, but this load has {expected}: delete the topic first",
            load.topics[cell.1].name, first.records
        )
        .into());
    }
    for ((client, topic), run) in runs {
        let are_values_equal = match client {
            Client::Drain => true,
            // This client counts keys too, and rounds the bytes.
            Client::JavaPerformance => {
                !load.keyless || run.value_bytes.abs_diff(first.value_bytes) <= ROUNDED_BYTES
            }
            _ => run.value_bytes == first.value_bytes,
        };
        if run.records != first.records || !are_values_equal {
            return Err(format!(
                "topic {}: {} read {} records with {} bytes of values, {} read {} with {}",
                load.topics[topic].name,
                client.name(),
                run.records,
                run.value_bytes,
                cell.0.name(),
                first.records,
                first.value_bytes,
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
        Round { records, value_bytes, cpu_us_per_record, ..Round::default() }
    }

    fn round_with_drain(cpu: f64) -> Results {
        Results::from_cells([((Client::Drain, 0), result(10, 0, cpu))])
    }

    #[test]
    fn a_round_whose_drain_differs_by_more_than_a_fifth_is_discarded() {
        let mut measured = Measured::of(Load::existing("t"));
        measured.rounds = [1.0, 1.1, 1.4, 0.7, 0.9].map(round_with_drain).into();
        let kept: Vec<f64> =
            measured.kept().iter().filter_map(|round| round.cpu((Client::Drain, 0))).collect();
        assert_eq!(kept, [1.0, 1.1, 0.9]);
    }

    fn checked(load: &Load, wrong: Option<(Client, Round)>) -> bool {
        let drained = ((Client::Drain, 0), result(10, 0, 1.0));
        let mut runs = vec![drained];
        let all = [Client::Floor, Client::Ours, Client::Rskafka, Client::JavaPerformance];
        runs.extend(all.map(|client| ((client, 0), result(10, 100, 1.0))));
        if let Some((client, round)) = wrong {
            runs.push(((client, 0), round));
        }
        check(load, runs.iter().map(|(cell, round)| (*cell, round))).is_ok()
    }

    #[test]
    fn clients_that_read_different_records_or_values_are_an_error() {
        let load = Load::existing("t");
        assert!(checked(&load, None));
        let wrong = [
            (Client::Drain, result(9, 0, 1.0)),
            (Client::Ours, result(9, 100, 1.0)),
            (Client::Spark, result(10, 99, 1.0)),
            (Client::JavaPerformance, result(9, 100, 1.0)),
        ];
        for one in wrong {
            assert!(!checked(&load, Some(one.clone())), "{one:?}");
        }
    }

    #[test]
    fn only_consumer_performance_may_round_the_bytes_and_count_keys() {
        let (near, far) = (result(10, 100 + ROUNDED_BYTES, 1.0), result(10, 1000, 1.0));
        let unknown = Load::existing("t");
        let keyless = Load { keyless: true, ..unknown.clone() };
        assert!(checked(&keyless, Some((Client::JavaPerformance, near.clone()))));
        assert!(!checked(&keyless, Some((Client::JavaPoll, near))));
        assert!(!checked(&keyless, Some((Client::JavaPerformance, far.clone()))));
        assert!(checked(&unknown, Some((Client::JavaPerformance, far))));
    }

    #[test]
    fn every_client_runs_in_every_round_and_after_every_other_in_some() {
        let cells: Vec<Cell> = [Client::Drain, Client::Floor, Client::FloorAgain, Client::Ours]
            .map(|client| (client, 0))
            .to_vec();
        let mut followed = BTreeMap::new();
        for round in 0..400 {
            let order = order(&cells, round);
            assert_eq!(order.iter().collect::<BTreeSet<_>>(), cells.iter().collect());
            for pair in order.windows(2) {
                *followed.entry((pair[0], pair[1])).or_insert(0) += 1;
            }
        }
        assert_eq!(followed.len(), 12);
        assert!(followed.values().all(|times| (70..130).contains(times)), "{followed:?}");
    }

    #[test]
    fn a_topic_that_is_not_the_load_is_an_error() {
        let mut load = Load::existing("t");
        load.expected = Some(11);
        assert!(!checked(&load, None));
    }

    #[test]
    fn the_cheapest_other_is_that_of_the_rounds_in_which_most_ran() {
        let mut measured = Measured::of(Load::existing("t"));
        let cell = |client, cpu| ((client, 0), result(1, 1, cpu));
        // The machine is twice as slow in the first round.
        measured.rounds = vec![
            Results::from_cells([
                cell(Client::Ours, 2.0),
                cell(Client::Rskafka, 8.0),
                cell(Client::FranzGo, 10.0),
            ]),
            Results::from_cells([cell(Client::Ours, 1.0), cell(Client::FranzGo, 4.5)]),
        ];
        assert_eq!(measured.cheapest_other(), Some(Client::FranzGo));
        measured.rounds.pop();
        assert_eq!(measured.cheapest_other(), Some(Client::Rskafka));
        assert_eq!(
            (measured.rounds_with(Client::FranzGo), measured.rounds_with(Client::Spark)),
            (1, 0)
        );
    }
}
