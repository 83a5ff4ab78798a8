//! Compares a stream's position with the log, and applies the data-loss policy if it is lost.

use kafka_direct_core::{DataLossPolicy, IsolationLevel, Offset, Reset, ResetCause};

use crate::{
    DriverError, PartitionState, Position,
    resolve::{Bounds, recreated},
};

/// How a stream treats lost offsets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LossPolicy {
    pub(crate) isolation: IsolationLevel,
    pub(crate) on_data_loss: DataLossPolicy,
}

impl LossPolicy {
    /// Where the stream continues in a partition at `position`.
    ///
    /// A position between the readable end and the high watermark stays: open transactions withhold the
    /// offsets below it. If the position is lost, the policy `resume` moves it and adds the skip to
    /// `resets`. A log that differs from the one that was read from `diverged` on is read from there
    /// again, whatever its end is now.
    pub(crate) fn continued(
        self,
        state: &PartitionState,
        position: &Position,
        diverged: Option<&Offset>,
        resets: &mut Vec<Reset>,
    ) -> Result<Position, DriverError> {
        let bounds = Bounds::of(state, self.isolation)?;
        if let Some(reset) = self.recreated(state, position, bounds.log_start)? {
            resets.push(reset);
            return Ok(Position::new(state, bounds.log_start));
        }
        let Position { mut offset, .. } = *position;
        let end = diverged.map_or(bounds.high, |diverged| bounds.high.min(*diverged));
        if offset > end {
            resets.push(self.lost(state, position, ResetCause::Truncated, (end, offset))?);
            offset = end;
        }
        if offset < bounds.log_start {
            let lost = (offset, bounds.log_start);
            resets.push(self.lost(state, position, ResetCause::Trimmed, lost)?);
            offset = bounds.log_start;
        }
        Ok(Position {
            offset,
            topic_id: state.topic_id.or(position.topic_id),
            leader_epoch: state.leader_epoch.max(position.leader_epoch),
        })
    }

    /// The end of a partition that a stream can reach, if it is to reach `target` and no more.
    ///
    /// If the log was truncated below `target`, the policy `resume` returns the end that exists, and
    /// adds the lost offsets to `resets`. [`Self::continued`] has added those below `position`, which is
    /// the stored one.
    pub(crate) fn reachable_target(
        self,
        state: &PartitionState,
        position: &Position,
        target: Offset,
        resets: &mut Vec<Reset>,
    ) -> Result<Offset, DriverError> {
        let bounds = Bounds::of(state, self.isolation)?;
        if target <= bounds.high {
            return Ok(target);
        }
        let lost = (bounds.high.max(position.offset), target);
        if lost.0 < lost.1 {
            let wanted = Position { offset: target, ..*position };
            resets.push(self.lost(state, &wanted, ResetCause::Truncated, lost)?);
        }
        Ok(bounds.high)
    }

    /// The reset of a topic that was re-created since the position was stored, by its id, or by the
    /// leader epoch where a broker gives no id.
    fn recreated(
        self,
        state: &PartitionState,
        position: &Position,
        log_start: Offset,
    ) -> Result<Option<Reset>, DriverError> {
        let epochs = position.leader_epoch.zip(state.leader_epoch);
        match (position.topic_id, state.topic_id) {
            (Some(old), Some(new)) if old == new => Ok(None),
            (Some(old), Some(new)) => {
                let mut reset = recreated(self.on_data_loss, state, log_start, (old, new))?;
                reset.old_epoch = position.leader_epoch;
                Ok(Some(reset))
            }
            _ => match epochs.filter(|(old, new)| new < old) {
                None => Ok(None),
                Some((old_epoch, new_epoch)) => {
                    let topic_partition = state.topic_partition.clone();
                    if self.on_data_loss == DataLossPolicy::Fail {
                        return Err(DriverError::EpochBackwards {
                            topic_partition,
                            old_epoch,
                            new_epoch,
                            log_start,
                        });
                    }
                    let cause = ResetCause::Recreated;
                    let mut reset = Reset::new(topic_partition, cause, log_start, log_start);
                    (reset.old_epoch, reset.new_epoch) = (Some(old_epoch), Some(new_epoch));
                    Ok(Some(reset))
                }
            },
        }
    }

    /// The record of the lost offsets `[from, to)` under `resume`, or the error of `fail`, which names
    /// the offset of `position`.
    fn lost(
        self,
        state: &PartitionState,
        position: &Position,
        cause: ResetCause,
        (from, to): (Offset, Offset),
    ) -> Result<Reset, DriverError> {
        match self.on_data_loss {
            DataLossPolicy::Fail => Err(DriverError::PositionLost {
                topic_partition: state.topic_partition.clone(),
                offset: position.offset,
                cause,
                watermarks: state.watermarks,
                isolation: self.isolation,
            }),
            DataLossPolicy::Resume => {
                let mut reset = Reset::new(state.topic_partition.clone(), cause, from, to);
                (reset.old_epoch, reset.new_epoch) = (position.leader_epoch, state.leader_epoch);
                Ok(reset)
            }
        }
    }
}
