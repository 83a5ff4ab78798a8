//! Writes the report: one self-contained HTML file with tables and plots.

use std::fmt::Write as _;

use chrono::Utc;

use super::{
    Document,
    figures::{Figures, Partition, Round, float},
    plots, summary, table,
};
use crate::exit::Failure;

const PAGE_STYLE: &str = "\
:root { color-scheme: light dark; --text: #1c2330; --soft: #5a6475; --line: #d5dae2; --page: #ffffff;
  --series-1: #2f6fb5; --series-2: #c2620f; --series-3: #2d8a57; --series-4: #8a4fa8 }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e8ef; --soft: #a2acbc; --line: #3a4250; --page: #14181f;
    --series-1: #6aa7e8; --series-2: #f0954a; --series-3: #5fc48d; --series-4: #c08bdc } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; background: var(--page);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.3; margin: 0 } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
p { margin: .4rem 0 } .soft { color: var(--soft) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right }
th, td { white-space: nowrap }
th:first-child, td:first-child { text-align: left; white-space: pre; position: sticky; left: 0;
  background: var(--page) }
tr.part td { border-bottom: 0; padding-top: .7rem; font-weight: 600 }
td:last-child, th:last-child { font-weight: 600 }
.wide { overflow-x: auto }
.wide > svg { min-width: 38rem }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem }
.warning { border-left: .3rem solid var(--series-2); padding-left: .7rem; font-weight: 600 }
pre { font-size: .9rem; margin: .8rem 0; padding: .6rem .8rem; border: 1px solid var(--line);
  border-radius: 4px; white-space: pre-wrap }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .8rem 0 }
dt { color: var(--soft) } dd { margin: 0 }
@media (max-width: 30rem) {
  dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .4rem }
  th:first-child, td:first-child { white-space: pre-wrap; min-width: 10rem; max-width: 13rem } }
.key { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 1rem; border-radius: 2px }
";

/// Returns the HTML of the report.
pub(super) fn page(document: &Document<'_>, median: &Figures) -> Result<String, Failure> {
    let rounds = document.rounds;
    let topics = escaped(&summary::topics(&document.subject.topics));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>kafka-direct bench: {topics}</title>\n<style>\n{PAGE_STYLE}{}</style></head>\n<body>\n<h1>{}</h1>\n",
        plots::STYLE,
        escaped(&summary::headline(document, median)),
    );
    if let Some(warning) = summary::warning(document, median) {
        let _ = writeln!(page, "<p class=\"warning\">Warning: {}</p>", escaped(&warning));
    }
    let _ = writeln!(page, "<pre>{}</pre>", escaped(document.command));
    if document.embedded_broker {
        paragraph(
            &mut page,
            "The embedded broker ran in the same process: CPU time and memory are those of client and broker together.",
        );
    }
    for cut in rounds.iter().filter_map(|round| table::cut(round, document.subject.ranges)) {
        paragraph(&mut page, &format!("{cut}."));
    }
    if let Some(records) = document.generated_records {
        let codec = document.codec.as_deref().unwrap_or("none");
        let records = indicatif::HumanCount(records);
        paragraph(
            &mut page,
            &format!("The topic was written by this command: {records} records, codec {codec}."),
        );
    }
    if !document.complete {
        paragraph(&mut page, "Unfinished rounds are not shown.");
    }
    page.push_str(&settings(document));
    heading(&mut page, "Figures");
    page.push_str(&figures(rounds, median));
    heading(&mut page, "Throughput over time");
    page.push_str(&key(rounds));
    let _ = writeln!(page, "<div class=\"wide\">{}</div>", plots::throughput(rounds)?);
    heading(&mut page, "Latency of a fetch");
    paragraph(&mut page, "All rounds together; eight bars per doubling of the latency.");
    let _ = writeln!(page, "<div class=\"wide\">{}</div>", plots::latency(rounds)?);
    if let Some(last) = rounds.last() {
        heading(&mut page, &format!("Partitions in round {}", last.round));
        let time = plots::partitions(&last.partitions, "seconds to read it", |part| part.wall_s)?;
        let thousands = |part: &Partition| float(part.records) / 1e3;
        let records = plots::partitions(&last.partitions, "thousand records", thousands)?;
        let _ = writeln!(page, "<div class=\"two\"><div>{time}</div><div>{records}</div></div>");
        page.push_str(&partitions(last));
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

/// The settings of the run, and when the report was written.
fn settings(document: &Document<'_>) -> String {
    let time = ("time", Utc::now().format("%Y-%m-%d %H:%M UTC").to_string());
    let mut html = String::from("<dl>\n");
    for (name, value) in summary::settings(document).into_iter().chain([time]) {
        let _ = writeln!(html, "<dt>{name}</dt><dd>{}</dd>", escaped(&value));
    }
    html.push_str("</dl>\n");
    html
}

/// The legend of the plots: the colour of each round.
fn key(rounds: &[Round]) -> String {
    let mut text = String::from("<p class=\"soft\">");
    for (round, series) in rounds.iter().zip((1..=plots::SERIES).cycle()) {
        let _ = write!(
            text,
            "<span class=\"key\" style=\"background: var(--series-{series})\"></span>round {}",
            round.round
        );
    }
    text.push_str("</p>\n");
    text
}

fn figures(rounds: &[Round], median: &Figures) -> String {
    let mut columns: Vec<Vec<table::Row>> =
        rounds.iter().map(|round| table::rows(&round.figures)).collect();
    columns.push(table::rows(median));
    let mut html = String::from("<div class=\"wide\"><table><tr><th></th>");
    for round in rounds {
        let _ = write!(html, "<th>round {}</th>", round.round);
    }
    html.push_str("<th>median</th></tr>\n");
    let longest = columns.iter().max_by_key(|rows| rows.len());
    for (label, text) in longest.into_iter().flatten() {
        let class = if text.is_some() { "" } else { " class=\"part\"" };
        let _ = write!(html, "<tr{class}><td>{label}</td>");
        for rows in &columns {
            let row = rows.iter().find(|(own, _)| own == label);
            let cell = row.and_then(|(_, text)| text.as_deref()).unwrap_or_default();
            let _ = write!(html, "<td>{}</td>", escaped(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table></div>\n");
    html
}

fn partitions(round: &Round) -> String {
    let mut html = String::from("<div class=\"wide\"><table><tr>");
    for head in table::PARTITION_HEADS {
        let _ = write!(html, "<th>{head}</th>");
    }
    html.push_str("</tr>\n");
    for part in &round.partitions {
        html.push_str("<tr>");
        for cell in table::partition(part) {
            let _ = write!(html, "<td>{}</td>", escaped(&cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table></div>\n");
    html
}

fn heading(page: &mut String, text: &str) {
    let _ = writeln!(page, "<h2>{}</h2>", escaped(text));
}

fn paragraph(page: &mut String, text: &str) {
    let _ = writeln!(page, "<p class=\"soft\">{}</p>", escaped(text));
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
