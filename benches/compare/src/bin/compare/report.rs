//! The tables.

use std::fmt::Write as _;

use kafka_direct_compare::Round;

use crate::{
    clients::Client,
    machine::State,
    rounds::{Measured, Results},
    spread::Spread,
};

/// The machine, the method, ratios, and then every client by itself.
pub(crate) fn markdown(state: &State, notes: &[String], measured: &[Measured]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, state, notes, measured);
    text
}

fn write(
    text: &mut String,
    state: &State,
    notes: &[String],
    measured: &[Measured],
) -> std::fmt::Result {
    for (name, value) in state.lines() {
        writeln!(text, "- {name}: {value}")?;
    }
    for note in notes {
        let (name, value) = note.split_once('=').unwrap_or(("Note", note));
        writeln!(text, "- {name}: {value}")?;
    }
    writeln!(
        text,
        "\nCPU (user and system) of the client in \u{b5}s a record, median of the rounds; ratios are \
         taken round by round: median [least\u{2013}most]. A/A is `floor views` against itself.\n"
    )?;
    ratios(text, measured)?;
    writeln!(
        text,
        "\nEvery client by itself, medians. Wall time is of client and broker together where they \
         share a machine; peak memory is the most of all rounds.\n"
    )?;
    details(text, measured)
}

fn ratios(text: &mut String, measured: &[Measured]) -> std::fmt::Result {
    writeln!(
        text,
        "| load | records | floor drain | floor views | kafka-direct | rskafka | \
         kafka-direct / floor | rskafka / kafka-direct | A/A | rounds kept, thrown away |"
    )?;
    writeln!(text, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    let cpu = |client| move |round: &Results| round.of(client).cpu_us_per_record;
    for one in measured {
        let median = |client| one.spread(cpu(client)).map_or(f64::NAN, |spread| spread.median);
        let ratio = |over, under| {
            let spread = one.spread(|round| cpu(over)(round) / cpu(under)(round));
            spread.map_or_else(|| "\u{2013}".to_owned(), shown)
        };
        let kept = one.kept();
        writeln!(
            text,
            "| {} | {} | {:.3} | {:.3} | {:.3} | {:.3} | {} | {} | {} | {}, {} |",
            one.load.name,
            kept.first().map_or(0, |round| round.of(Client::Floor).records),
            median(Client::Drain),
            median(Client::Floor),
            median(Client::Ours),
            median(Client::Rskafka),
            ratio(Client::Ours, Client::Floor),
            ratio(Client::Rskafka, Client::Ours),
            ratio(Client::FloorAgain, Client::Floor),
            kept.len(),
            one.rounds.len() - kept.len(),
        )?;
    }
    Ok(())
}

fn shown(spread: Spread) -> String {
    format!("{:.2} [{:.2}\u{2013}{:.2}]", spread.median, spread.least, spread.most)
}

fn details(text: &mut String, measured: &[Measured]) -> std::fmt::Result {
    writeln!(
        text,
        "| load | client | records/s | user \u{b5}s | system \u{b5}s | CPU s per GiB of values | \
         peak MiB | fetches | MiB on the wire |"
    )?;
    writeln!(text, "|---|---|--:|--:|--:|--:|--:|--:|--:|")?;
    for one in measured {
        for client in [Client::Floor, Client::Ours, Client::Rskafka] {
            let spread = |figure: fn(&Round) -> f64| one.spread(|round| figure(round.of(client)));
            let median = |figure| spread(figure).map_or(f64::NAN, |spread| spread.median);
            let wire = median(|round| round.wire_bytes as f64 / MIB);
            writeln!(
                text,
                "| {} | {} | {:.0} | {:.3} | {:.3} | {:.2} | {:.0} | {:.0} | {} |",
                one.load.name,
                client.name(),
                median(|round| round.records as f64 / round.wall_s),
                median(|round| round.user_s * 1e6 / round.records.max(1) as f64),
                median(|round| round.system_s * 1e6 / round.records.max(1) as f64),
                median(|round| {
                    (round.user_s + round.system_s) / round.value_bytes.max(1) as f64 * GIB
                }),
                spread(|round| round.peak_rss_kib as f64 / 1024.0).map_or(f64::NAN, |all| all.most),
                median(|round| round.requests as f64),
                if wire > 0.0 { format!("{wire:.0}") } else { "not told".to_owned() },
            )?;
        }
    }
    Ok(())
}

const MIB: f64 = (1 << 20) as f64;
const GIB: f64 = (1 << 30) as f64;
