//! The output: where the figures come from, the tables, and what they say in words.

mod clients;
mod twins;
mod words;

use std::fmt::Write as _;

use crate::{clients::Clients, machine::State, rounds::Measured, spread::Spread};

const METHOD: &str = "\
CPU (user and system) of the client in \u{b5}s a record, median of the rounds; ratios are taken round \
by round, and shown as median [interval that holds their true median with a probability of 95 %, as the order \
of the rounds' ratios tells whatever their distribution, of six rounds or more], least\u{2013}most. \
A/A is `floor views` against itself. The noise is the width of A/A's interval, 1 included, over the rounds \
in which both sides of the ratio ran: a target is *met* only if the noise is under a third of the margin, \
the distance from the target as a share of it, and the ratio's own interval lies on the right side; \
otherwise it is *met, within noise*, or *missed*. CRCs are checked \
by all but ConsumerPerformance, which cannot be told to, and whose figures include the start of its \
JVM. Spark runs on `local[2]`, its third time. Other clients run in fewer rounds than floor and kafka-direct, the cheapest of them in most.\n";

/// The machine, the method, ratios, and then every client by itself.
pub(crate) fn markdown(
    state: &State,
    notes: &[String],
    clients: &Clients,
    measured: &[Measured],
    plot: Option<&str>,
) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, state, notes, clients, measured, plot);
    text
}

fn write(
    text: &mut String,
    state: &State,
    notes: &[String],
    clients: &Clients,
    measured: &[Measured],
    plot: Option<&str>,
) -> std::fmt::Result {
    for (name, value) in state.lines() {
        writeln!(text, "- {name}: {value}")?;
    }
    for note in notes {
        let (name, value) = note.split_once('=').unwrap_or(("Note", note));
        writeln!(text, "- {name}: {value}")?;
    }
    for (client, reason) in clients.left_out() {
        writeln!(text, "- not measured: {}: {reason}", client.name())?;
    }
    for one in measured {
        for (client, reason) in &one.failed {
            writeln!(text, "- not measured: {} on {}: {reason}", client.name(), one.load.name)?;
        }
    }
    writeln!(text, "\n{METHOD}")?;
    if let Some(plot) = plot {
        writeln!(text, "![CPU a record by client and load]({plot})\n")?;
    }
    clients::figures(text, measured)?;
    twins::aborted(text, measured)?;
    twins::partitions(text, measured)?;
    writeln!(text, "\nWhat is slower or larger than elsewhere, by these figures:\n")?;
    for sentence in words::weak_points(measured) {
        writeln!(text, "- {sentence}")?;
    }
    writeln!(
        text,
        "\nEvery client by itself, medians. Wall time is of client and broker together where they \
         share a machine; peak memory is the most of all rounds; requests are fetches, and GiB of \
         theirs are on the wire. Some clients do not tell what they sent and got.\n"
    )?;
    clients::details(text, measured)
}

fn shown(spread: Spread) -> String {
    let Spread { median, least, most, sure } = spread;
    let sure = sure.map(|(least, most)| format!(" [{least:.2}\u{2013}{most:.2}]"));
    format!("{median:.2}{}, {least:.2}\u{2013}{most:.2}", sure.unwrap_or_default())
}

/// Of something that was not measured.
const NOTHING: &str = "\u{2013}";
