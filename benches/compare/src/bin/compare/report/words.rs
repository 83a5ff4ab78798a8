//! Sentences about the figures in which other clients are ahead of ours.

use kafka_direct_compare_round::Round;

use crate::{clients::Client, loads::Kind, rounds::Measured};

/// A figure to compare, and how it is shown.
struct Aspect {
    ahead: &'static str,
    none: &'static str,
    unit: &'static str,
    decimals: usize,
    /// Returns the figure of a round; more is worse.
    figure: fn(&Round) -> f64,
    is_most_of_rounds: bool,
    /// Whether floor is compared too; not for CPU, which the table compares.
    counts_floor: bool,
}

const ASPECTS: [Aspect; 4] = [
    Aspect {
        ahead: "Less CPU a record than kafka-direct",
        none: "No other client needs less CPU a record than kafka-direct on any load.",
        unit: "\u{b5}s",
        decimals: 3,
        figure: |round| round.cpu_us_per_record,
        is_most_of_rounds: false,
        counts_floor: false,
    },
    Aspect {
        ahead: "Less wall time than kafka-direct",
        none: "No other client, and not floor, needs less wall time than kafka-direct on any load.",
        unit: "\u{b5}s a record",
        decimals: 3,
        figure: |round| round.wall_s * 1e6 / round.records.max(1) as f64,
        is_most_of_rounds: false,
        counts_floor: true,
    },
    Aspect {
        ahead: "Less peak memory than kafka-direct",
        none: "No other client, and not floor, needs less memory than kafka-direct on any load.",
        unit: "MiB",
        decimals: 0,
        figure: |round| round.peak_rss_kib as f64 / 1024.0,
        is_most_of_rounds: true,
        counts_floor: true,
    },
    Aspect {
        ahead: "Fewer requests than kafka-direct",
        none: "No client that reports its requests needs fewer than kafka-direct on any load.",
        unit: "fetches",
        decimals: 0,
        // A client that does not report requests (0) is not compared.
        figure: |round| if round.requests == 0 { f64::NAN } else { round.requests as f64 },
        is_most_of_rounds: false,
        counts_floor: true,
    },
];

/// Returns one sentence per aspect and client that is ahead of ours on any load.
pub(super) fn weak_points(measured: &[Measured]) -> Vec<String> {
    let loads: Vec<&Measured> =
        measured.iter().filter(|one| one.load.kind == Kind::Clients).collect();
    let mut sentences = Vec::new();
    for aspect in &ASPECTS {
        let before = sentences.len();
        for client in [Client::Floor].into_iter().chain(Client::PEERS) {
            if client == Client::Floor && !aspect.counts_floor {
                continue;
            }
            let ahead: Vec<String> =
                loads.iter().filter_map(|one| aspect.ahead(one, client)).collect();
            if !ahead.is_empty() {
                let (words, name) = (aspect.ahead, client.name());
                sentences.push(format!("{words}: {name} on {}.", ahead.join("; ")));
            }
        }
        if sentences.len() == before {
            sentences.push(aspect.none.to_owned());
        }
    }
    sentences
}

impl Aspect {
    /// Returns `LOAD (theirs against ours)` if `client` is ahead of ours on the load.
    fn ahead(&self, one: &Measured, client: Client) -> Option<String> {
        let figure = |client| {
            let all = one.spread(|round| Some((self.figure)(round.of((client, 0))?)))?;
            Some(if self.is_most_of_rounds { all.most } else { all.median })
        };
        let (theirs, ours) = (figure(client)?, figure(Client::Ours)?);
        let (decimals, unit, load) = (self.decimals, self.unit, &one.load.name);
        (theirs < ours)
            .then(|| format!("{load} ({theirs:.decimals$} against {ours:.decimals$} {unit})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{loads::Load, rounds::Results};

    fn measured(ours: f64, theirs: f64) -> Measured {
        let round = |cpu_us_per_record| Round {
            records: 1,
            cpu_us_per_record,
            wall_s: cpu_us_per_record,
            peak_rss_kib: 2048,
            ..Round::default()
        };
        let mut one = Measured::of(Load::existing("orders"));
        let cells = [((Client::Ours, 0), round(ours)), ((Client::Rskafka, 0), round(theirs))];
        one.rounds = vec![Results::from_cells(cells)];
        one
    }

    #[test]
    fn a_client_ahead_is_named_with_both_figures() {
        let sentences = weak_points(&[measured(0.5, 0.25)]);
        let wanted =
            "Less CPU a record than kafka-direct: rskafka on orders (0.250 against 0.500 \u{b5}s).";
        assert_eq!(sentences[0], wanted);
    }

    #[test]
    fn each_aspect_without_a_client_ahead_has_a_sentence() {
        let sentences = weak_points(&[measured(0.25, 0.5)]);
        let none: Vec<&str> = ASPECTS.iter().map(|aspect| aspect.none).collect();
        assert_eq!(sentences, none);
    }
}
