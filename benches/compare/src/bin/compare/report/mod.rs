//! The report: machine and method, tables, and a summary in sentences.

mod clients;
mod twins;
mod words;

use std::fmt::Write as _;

use crate::{clients::Clients, machine::State, rounds::Measured, spread::Spread};

const METHOD: &str = "\
A client's column is its CPU (user and system) in \u{b5}s per record, the median of the rounds. \
Ratios are computed round by round, and shown as median [95 % interval], least\u{2013}most. \
The interval contains the true median with a probability of 95 %, whatever the distribution; it needs six rounds. \
A/A is `floor views` against itself. The noise is the width of A/A's interval, extended to include 1, over the rounds \
in which both sides of the ratio ran. The margin is the distance from the target, divided by the target. \
A target is *met* only if the noise is under a third of the margin and the whole interval of the ratio meets it; \
otherwise it is *met, within noise*, or *missed*. All clients check CRCs, except ConsumerPerformance, \
which has no setting for it. Its figures include the start of its JVM. Spark runs on `local[2]`, \
and its third run counts. Other clients run in fewer rounds than floor and kafka-direct, the cheapest of them in most.\n";

/// Returns the report in Markdown: machine, method, ratios, and the details of every client.
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
    writeln!(text, "\nOther clients are ahead of kafka-direct in these figures:\n")?;
    for sentence in words::weak_points(measured) {
        writeln!(text, "- {sentence}")?;
    }
    writeln!(
        text,
        "\nDetails of every client, as medians. Wall time includes the broker if it is on the same \
         machine. Peak memory is the maximum of all rounds. Requests are fetches, and their GiB are \
         bytes on the wire. Some clients do not report requests and bytes.\n"
    )?;
    clients::details(text, measured)
}

fn shown(spread: Spread) -> String {
    let Spread { median, least, most, sure } = spread;
    let sure = sure.map(|(least, most)| format!(" [{least:.2}\u{2013}{most:.2}]"));
    format!("{median:.2}{}, {least:.2}\u{2013}{most:.2}", sure.unwrap_or_default())
}

/// Table cell of a figure that was not measured.
const NOTHING: &str = "\u{2013}";
