//! The start offset of each leader epoch of a partition (KIP-101, KIP-320).

/// Leader epochs with their start offsets, both increasing.
#[derive(Debug, Default)]
pub(crate) struct Epochs(Vec<(i32, i64)>);

impl Epochs {
    /// Starts epoch `epoch` at `offset`. Epochs without records before `offset` are removed.
    pub(crate) fn begin(&mut self, epoch: i32, offset: i64) {
        self.0.retain(|(known, start)| *known < epoch && *start < offset);
        self.0.push((epoch, offset));
    }

    /// The leader epoch in which `offset` was, or will be, written; −1 if there is none.
    pub(crate) fn at(&self, offset: i64) -> i32 {
        self.0.iter().rev().find(|(_, start)| *start <= offset).map_or(-1, |(epoch, _)| *epoch)
    }

    /// The largest leader epoch at or below `epoch`, and its end offset (exclusive).
    ///
    /// Returns (−1, −1) if `epoch` is above all leader epochs.
    pub(crate) fn end_of(&self, epoch: i32, log_end: i64) -> (i32, i64) {
        match self.0.iter().position(|(known, _)| *known > epoch) {
            None if self.0.last().is_some_and(|(last, _)| *last == epoch) => (epoch, log_end),
            None => (-1, -1),
            Some(next) => {
                let end = self.0.get(next).map_or(-1, |(_, start)| *start);
                let largest = next.checked_sub(1).and_then(|at| self.0.get(at));
                (largest.map_or(epoch, |(known, _)| *known), end)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let mut epochs = Epochs::default();
        epochs.begin(0, 0);
        epochs.begin(2, 10);
        epochs.begin(5, 20);
        assert_eq!(epochs.end_of(0, 30), (0, 10));
        assert_eq!(epochs.end_of(1, 30), (0, 10));
        assert_eq!(epochs.end_of(4, 30), (2, 20));
        assert_eq!(epochs.end_of(5, 30), (5, 30));
        assert_eq!(epochs.end_of(6, 30), (-1, -1));
        assert_eq!([epochs.at(9), epochs.at(10), epochs.at(99)], [0, 2, 5]);
    }

    #[test]
    fn truncation_drops_epochs_that_began_after_it() {
        let mut epochs = Epochs::default();
        epochs.begin(0, 0);
        epochs.begin(1, 10);
        epochs.begin(2, 5);
        assert_eq!(epochs.end_of(1, 9), (0, 5));
    }
}
