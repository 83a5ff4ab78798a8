//! Tables of the loads that all clients read: CPU, ratios and targets, and details.

use std::{collections::BTreeSet, fmt::Write as _};

use kafka_direct_compare_round::Round;

use super::{NOTHING, shown};
use crate::{
    clients::Client,
    loads::Kind,
    rounds::Measured,
    spread::Spread,
    targets::{Bound, noise},
};

const MIB: f64 = (1 << 20) as f64;
const GIB: f64 = (1 << 30) as f64;

fn cpu(round: &Round) -> f64 {
    round.cpu_us_per_record
}

/// Writes the table of CPU, ratios and targets: one row per load, one column per measured client.
pub(super) fn figures(text: &mut String, measured: &[Measured]) -> std::fmt::Result {
    let loads: Vec<&Measured> =
        measured.iter().filter(|one| one.load.kind == Kind::Clients).collect();
    if loads.is_empty() {
        return Ok(());
    }
    let found: BTreeSet<Client> = loads
        .iter()
        .flat_map(|one| one.measured_cells())
        .map(|(client, _)| client)
        .filter(|client| *client != Client::FloorAgain)
        .collect();
    write!(text, "| load | records |")?;
    for client in &found {
        write!(text, " {} |", client.name())?;
    }
    writeln!(
        text,
        " kafka-direct / floor views | target | one thread / floor views | target | cheapest other / \
         kafka-direct | target | A/A | noise | noise where the other ran | rounds kept, with the other, thrown away |"
    )?;
    let right = "--:|".repeat(found.len() + 1);
    writeln!(text, "|---|{right}--:|---|--:|---|--:|---|--:|--:|--:|--:|")?;
    for one in loads {
        let kept = one.kept().len();
        let records = one.spread(|round| Some(round.of((Client::Floor, 0))?.records as f64));
        write!(text, "| {} | {:.0} |", one.load.name, records.map_or(0.0, |all| all.median))?;
        for client in &found {
            match one.cpu((*client, 0)) {
                Some(cpu) if *client == Client::Ours => write!(text, " **{:.3}** |", cpu.median)?,
                Some(cpu) => write!(text, " {:.3} |", cpu.median)?,
                None => write!(text, " {NOTHING} |")?,
            }
        }
        let again = one.ratio((Client::FloorAgain, 0), (Client::Floor, 0), cpu);
        let over_floor = one.ratio((Client::Ours, 0), (Client::Floor, 0), cpu);
        judged(text, over_floor, None, one.load.over_bar, again)?;
        let alone = one.ratio((Client::OursAlone, 0), (Client::Floor, 0), cpu);
        judged(text, alone, None, one.load.over_bar, again)?;
        let other = one.cheapest_other();
        let under = other.and_then(|other| one.ratio((other, 0), (Client::Ours, 0), cpu));
        let again_there = one.spread(|round| {
            round.of((other?, 0))?;
            Some(round.cpu((Client::FloorAgain, 0))? / round.cpu((Client::Floor, 0))?)
        });
        judged(text, under, other, one.load.under_others, again_there)?;
        let [noise, noise_there] = [again, again_there].map(|again| match noise(again) {
            noise if noise.is_finite() => format!("{noise:.3}"),
            _ => NOTHING.to_owned(),
        });
        let again = again.map_or_else(|| NOTHING.to_owned(), shown);
        let with_other = other.map_or(0, |other| one.rounds_with(other));
        writeln!(
            text,
            " {again} | {noise} | {noise_there} | {kept}, {with_other}, {} |",
            one.rounds.len() - kept
        )?;
    }
    Ok(())
}

/// Writes two cells: the ratio, and its target with the verdict.
fn judged(
    text: &mut String,
    ratio: Option<Spread>,
    whose: Option<Client>,
    bound: Option<Bound>,
    again: Option<Spread>,
) -> std::fmt::Result {
    let Some(ratio) = ratio else { return write!(text, " {NOTHING} | {NOTHING} |") };
    write!(text, " {}", shown(ratio))?;
    if let Some(client) = whose {
        write!(text, " ({})", client.name())?;
    }
    match bound {
        Some(bound) => write!(text, " | {} |", bound.judged(ratio, again)),
        None => write!(text, " | {NOTHING} |"),
    }
}

/// Writes the table of details: one row per load and client.
pub(super) fn details(text: &mut String, measured: &[Measured]) -> std::fmt::Result {
    writeln!(
        text,
        "| load | client | records/s | user \u{b5}s | system \u{b5}s | CPU s per GiB of values | \
         peak MiB | requests | MiB on the wire | requests per GiB | request bytes per GiB |"
    )?;
    writeln!(text, "|---|---|{}", "--:|".repeat(9))?;
    for one in measured {
        for cell in one.measured_cells() {
            let (client, topic) = cell;
            if matches!(client, Client::Drain | Client::FloorAgain | Client::OursAgain) {
                continue;
            }
            let spread =
                |figure: &dyn Fn(&Round) -> f64| one.spread(|round| Some(figure(round.of(cell)?)));
            let median = |figure: &dyn Fn(&Round) -> f64| {
                spread(figure).map_or(f64::NAN, |spread| spread.median)
            };
            let peak = spread(&|round| round.peak_rss_kib as f64 / 1024.0);
            let if_reported = |figure: f64| {
                if figure > 0.0 { format!("{figure:.0}") } else { NOTHING.to_owned() }
            };
            let gib = |round: &Round| round.wire_bytes as f64 / GIB;
            let name = match one.load.kind {
                Kind::Clients => one.load.name.clone(),
                _ => format!("{} ({})", one.load.name, one.load.topics[topic].name),
            };
            writeln!(
                text,
                "| {name} | {} | {:.0} | {:.3} | {:.3} | {:.2} | {:.0} | {} | {} | {} | {} |",
                client.name(),
                median(&|round| round.records as f64 / round.wall_s),
                median(&|round| round.user_s * 1e6 / round.records.max(1) as f64),
                median(&|round| round.system_s * 1e6 / round.records.max(1) as f64),
                median(&|round| round.cpu_s() / round.value_bytes.max(1) as f64 * GIB),
                peak.map_or(f64::NAN, |all| all.most),
                if_reported(median(&|round| round.requests as f64)),
                if_reported(median(&|round| round.wire_bytes as f64 / MIB)),
                if_reported(finite(median(&|round| round.requests as f64 / gib(round)))),
                if_reported(finite(median(&|round| {
                    round.request_bytes.unwrap_or(0) as f64 / gib(round)
                }))),
            )?;
        }
    }
    Ok(())
}

/// Replaces an infinite or undefined figure, from a division by 0, with 0.
fn finite(figure: f64) -> f64 {
    if figure.is_finite() { figure } else { 0.0 }
}
