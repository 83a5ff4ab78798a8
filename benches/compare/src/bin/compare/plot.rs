//! The plot: CPU time per record by client, with one panel per load.
//!
//! Each panel has its own scale, because loads differ by a factor of ten. The figure is at the end
//! of its bar.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{BoxError, clients::Client, loads::Kind, rounds::Measured};

const COLUMNS: usize = 3;
const PANEL_WIDTH: i32 = 380;
const NAMES_WIDTH: i32 = 118;
const FIGURES_WIDTH: i32 = 52;
const BAR: i32 = 16;
const GAP: i32 = 5;
const TITLE: i32 = 30;
const HEAD: i32 = 56;
const MARGIN: i32 = 12;

const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const FLOOR: RGBColor = RGBColor(0xb4, 0xbb, 0xc4);
const OURS: RGBColor = RGBColor(0xd9, 0x48, 0x1c);
const OTHERS: RGBColor = RGBColor(0x5b, 0x8d, 0xb8);

/// Client name, figure, and colour of the bar.
type Bar = (&'static str, f64, RGBColor);

/// Draws the plot and returns it as SVG text.
pub(crate) fn svg(measured: &[Measured]) -> Result<String, BoxError> {
    let panels: Vec<(&str, Vec<Bar>)> = measured
        .iter()
        .filter(|one| one.load.kind == Kind::Clients)
        .map(|one| (one.load.name.as_str(), bars(one)))
        .collect();
    let most = panels.iter().map(|(_, bars)| bars.len()).max().unwrap_or(0);
    let height = TITLE + most as i32 * (BAR + GAP) + 2 * MARGIN;
    let rows = panels.len().div_ceil(COLUMNS) as i32;
    let columns = panels.len().clamp(2, COLUMNS) as i32;
    let size = ((columns * PANEL_WIDTH) as u32, (HEAD + rows * height) as u32);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        let title = "Client CPU in microseconds a record (user and system, shorter is cheaper)";
        write(&area, title, (MARGIN, 30), 19, HPos::Left)?;
        for (index, (name, bars)) in (0..).zip(&panels) {
            let (column, row) = (index % COLUMNS as i32, index / COLUMNS as i32);
            let corner = (column * PANEL_WIDTH + MARGIN, HEAD + row * height);
            panel(&area, corner, name, bars)?;
        }
        area.present().map_err(drawing)?;
    }
    Ok(text)
}

fn bars(one: &Measured) -> Vec<Bar> {
    let clients = [Client::Floor, Client::Ours].into_iter().chain(Client::PEERS);
    let bar = |client: Client| {
        let colour = match client {
            Client::Floor => FLOOR,
            Client::Ours => OURS,
            _ => OTHERS,
        };
        one.cpu((client, 0)).map(|cpu| (short(client), cpu.median, colour))
    };
    clients.filter_map(bar).collect()
}

/// Returns a client name that is short enough for the space next to its bar.
const fn short(client: Client) -> &'static str {
    match client {
        Client::JavaPerformance => "Java perf. tool",
        _ => client.name(),
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn panel(
    area: &Area<'_>,
    (left, top): (i32, i32),
    name: &str,
    bars: &[Bar],
) -> Result<(), BoxError> {
    write(area, name, (left, top + TITLE / 2), 14, HPos::Left)?;
    let longest = bars.iter().map(|(_, figure, _)| *figure).fold(f64::MIN_POSITIVE, f64::max);
    let room = PANEL_WIDTH - NAMES_WIDTH - FIGURES_WIDTH - 2 * MARGIN;
    let zero = left + NAMES_WIDTH;
    for (index, (name, figure, colour)) in (0..).zip(bars) {
        let y = top + TITLE + index * (BAR + GAP);
        let length = (figure / longest * f64::from(room)).round().max(1.0) as i32;
        let corners = [(zero, y), (zero + length, y + BAR)];
        area.draw(&Rectangle::new(corners, colour.filled())).map_err(drawing)?;
        write(area, name, (zero - 6, y + BAR / 2), 12, HPos::Right)?;
        let shown = format!("{figure:.3}");
        write(area, &shown, (zero + length + 5, y + BAR / 2), 12, HPos::Left)?;
    }
    Ok(())
}

fn write(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    size: i32,
    side: HPos,
) -> Result<(), BoxError> {
    let style = ("sans-serif", size).into_font().color(&INK).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(drawing)
}

fn drawing(error: impl std::fmt::Display) -> BoxError {
    format!("cannot draw the plot: {error}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{loads::Load, rounds::Results};
    use kafka_direct_compare_round::Round;

    #[test]
    fn every_load_and_every_client_measured_on_it_is_in_the_plot() {
        let mut one = Measured::of(Load::existing("Orders & more=orders"));
        let cpu = |cpu_us_per_record| Round { cpu_us_per_record, ..Round::default() };
        one.rounds = vec![Results::from_cells([
            ((Client::Ours, 0), cpu(0.125)),
            ((Client::FranzGo, 0), cpu(0.5)),
        ])];
        let plot = svg(&[one]).unwrap();
        for shown in ["Orders &amp; more", "kafka-direct", "0.125", "franz-go", "0.500"] {
            assert!(plot.contains(shown), "{shown}");
        }
        assert!(!plot.contains("rskafka"));
    }
}
