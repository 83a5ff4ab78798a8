//! The live view of a running stream: what it does, its rate, its backlog, and where a batch's time goes.
//!
//! Contract: three lines that never wrap, whatever the terminal's width.

use std::{collections::VecDeque, time::Duration};

use indicatif::{HumanBytes, HumanCount};
use kafka_direct::stream::{BatchProgress, StreamState};
use tokio::time::Instant;

/// The rate is that of the batches of this long.
const RATE_OVER: Duration = Duration::from_secs(10);
/// Widest bar of the backlog.
const BAR_COLUMNS: usize = 30;
/// Columns that the spinner takes in the first line, and a line's rest in each.
const RESERVED_COLUMNS: usize = 3;

/// What the view shows.
#[derive(Debug)]
pub(super) struct Live {
    state: StreamState,
    batches: u64,
    records: u64,
    poison: u64,
    last: Option<BatchProgress>,
    /// The last batches; before them, one that ended when the first began.
    recent: VecDeque<Done>,
}

/// A batch that is done.
#[derive(Debug, Clone, Copy)]
struct Done {
    at: Instant,
    records: u64,
    bytes: u64,
    lag: u64,
}

impl Live {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: StreamState::Waiting,
            batches: 0,
            records: 0,
            poison: 0,
            last: None,
            recent: VecDeque::from([Done { at: now, records: 0, bytes: 0, lag: 0 }]),
        }
    }

    /// The stream does something else now.
    pub(super) fn state(&mut self, state: StreamState) {
        self.state = state;
    }

    /// A batch is done.
    pub(super) fn batch(&mut self, batch: &BatchProgress, now: Instant) {
        self.batches = self.batches.saturating_add(1);
        self.records = self.records.saturating_add(batch.records);
        self.poison = self.poison.saturating_add(batch.poison);
        self.last = Some(batch.clone());
        let BatchProgress { records, bytes, lag, .. } = *batch;
        self.recent.push_back(Done { at: now, records, bytes, lag });
        self.forget(now);
    }

    /// Forgets all but one of the batches that ended too long ago for the rate.
    fn forget(&mut self, now: Instant) {
        let is_old = |one: Option<&Done>| {
            one.is_some_and(|done| now.saturating_duration_since(done.at) > RATE_OVER)
        };
        while is_old(self.recent.get(1)) {
            self.recent.pop_front();
        }
    }

    /// The lines of the view at this time, each narrower than `width`.
    pub(super) fn lines(&mut self, now: Instant, width: usize) -> Vec<String> {
        self.forget(now);
        let width = width.saturating_sub(RESERVED_COLUMNS);
        let state = match &self.state {
            StreamState::Waiting if self.last.is_none() => "waiting for records".to_owned(),
            StreamState::Waiting => "waiting".to_owned(),
            StreamState::Running => "running".to_owned(),
            StreamState::Paused => "paused".to_owned(),
            StreamState::Unavailable(reason) => format!("waiting for the cluster: {reason}"),
            _ => "ending".to_owned(),
        };
        let mut lines = Vec::new();
        let Some(last) = &self.last else { return vec![cut(&state, width)] };
        let (records, bytes) = self.rates(now);
        let poison = match self.poison {
            0 => String::new(),
            poison => format!(" ({} undecodable)", HumanCount(poison)),
        };
        lines.push(format!(
            "batch {}  {}/s  {}/s  {} records{poison} in {} batches  {state}",
            last.batch,
            HumanCount(records),
            HumanBytes(bytes),
            HumanCount(self.records),
            HumanCount(self.batches),
        ));
        let most = self.recent.iter().map(|done| done.lag).fold(last.lag, u64::max);
        let of =
            if most > last.lag { format!(" (most {})", HumanCount(most)) } else { String::new() };
        let to_read = format!("{} to read{of}", HumanCount(last.lag));
        let columns = width.saturating_sub(to_read.len().saturating_add(11)).min(BAR_COLUMNS);
        lines.push(format!("  backlog {}{to_read}", bar(last.lag, most, columns)));
        let BatchProgress { planning, reading, writing, commit, total, scheduling_delay, .. } =
            last;
        lines.push(format!(
            "  plan {}  read {} (sink {})  commit {}  total {}  late {}",
            time(*planning),
            time(*reading),
            time(*writing),
            time(*commit),
            time(*total),
            time(*scheduling_delay),
        ));
        lines.iter().map(|line| cut(line, width)).collect()
    }

    /// Records and bytes per second lately.
    fn rates(&self, now: Instant) -> (u64, u64) {
        let began = self.recent.front().map_or(now, |done| done.at);
        let millis = now.saturating_duration_since(began).as_millis().max(1);
        let since = self.recent.iter().skip(1);
        let (records, bytes) = since.fold((0_u128, 0_u128), |(records, bytes), one| {
            (records.saturating_add(one.records.into()), bytes.saturating_add(one.bytes.into()))
        });
        let rate = |count: u128| {
            let rate = count.saturating_mul(1000).checked_div(millis).unwrap_or(0);
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        (rate(records), rate(bytes))
    }
}

/// A bar of `part` in `whole`, with a space behind it; empty if there is no room or nothing to show.
fn bar(part: u64, whole: u64, columns: usize) -> String {
    if columns < 5 || whole == 0 {
        return String::new();
    }
    let share = u128::from(part).saturating_mul(columns as u128);
    let full = share.checked_div(whole.into()).unwrap_or(0);
    let full = usize::try_from(full).unwrap_or(columns).clamp(usize::from(part > 0), columns);
    format!("[{}{}] ", "#".repeat(full), "-".repeat(columns.saturating_sub(full)))
}

/// A time with about three digits.
fn time(time: Duration) -> String {
    if time < Duration::from_millis(1) { "0ms".to_owned() } else { format!("{time:.0?}") }
}

/// At most `width` characters of a line.
fn cut(line: &str, width: usize) -> String {
    let one_line = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    one_line.take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(batch: u64, records: u64, lag: u64) -> BatchProgress {
        let mut progress = BatchProgress::default();
        progress.batch = batch;
        (progress.records, progress.bytes, progress.lag) =
            (records, records.saturating_mul(100), lag);
        progress.planning = Duration::from_millis(3);
        progress.total = Duration::from_millis(20);
        progress
    }

    #[tokio::test(start_paused = true)]
    async fn rate_and_backlog_are_those_of_the_last_batches() {
        let began = Instant::now();
        let mut live = Live::new(began);
        assert_eq!(live.lines(began, 80), ["waiting for records"]);
        live.state(StreamState::Running);
        for second in 1..=30 {
            let lag = 4000 - 100 * second;
            live.batch(&batch(second, 500, lag), began + Duration::from_secs(second));
        }
        let lines = live.lines(began + Duration::from_secs(30), 80);
        assert!(lines[0].starts_with("batch 30  500/s  48.83 KiB/s  15,000 records in 30 batches"));
        assert_eq!(
            lines[1],
            "  backlog [##############----------------] 1,000 to read (most 2,100)"
        );
        assert_eq!(lines[2], "  plan 3ms  read 0ms (sink 0ms)  commit 0ms  total 20ms  late 0ms");
        // Nothing for a minute: the rate falls.
        let later = live.lines(began + Duration::from_secs(90), 80);
        assert!(later[0].starts_with("batch 30  0/s"), "{later:?}");
        live.batch(&batch(31, 1000, 0), began + Duration::from_secs(90));
        live.batch(&batch(32, 1000, 0), began + Duration::from_secs(120));
        assert_eq!(live.lines(began + Duration::from_secs(131), 80)[1], "  backlog 0 to read");
    }

    #[tokio::test(start_paused = true)]
    async fn no_line_is_as_wide_as_the_terminal() {
        let began = Instant::now();
        let mut live = Live::new(began);
        live.batch(&batch(u64::MAX, u64::MAX, u64::MAX), began);
        live.batch(&batch(u64::MAX, u64::MAX, u64::MAX / 2), began);
        live.state(StreamState::Unavailable("no broker\nanswers ".repeat(40).into()));
        for width in [0, 1, 10, 40, 80, 200] {
            let lines = live.lines(began, width);
            let fits = |line: &String| line.chars().count() < width.max(1) && !line.contains('\n');
            assert!(lines.iter().all(fits), "{width}: {lines:?}");
        }
    }
}
