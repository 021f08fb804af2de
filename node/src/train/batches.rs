//! Which rows each step sees: a pure function of the seed and the step's number,
//! so that a restart needs no iterator's state.

use crate::data::Batchable;
use crate::data::permutation::{Purpose, permutation};

/// The batches from some step on. Each epoch has its own order; its last batch
/// may be smaller (as PyTorch's `DataLoader` has it by default).
pub(super) struct Batches<'a> {
    data: &'a Batchable,
    batch_size: usize,
    seed: u64,
    step: u64,
    /// The epoch whose order is at hand.
    epoch: Option<u64>,
    order: Vec<u32>,
}

/// The rows of one step.
pub(super) struct Batch {
    /// Row-major.
    pub(super) x: Vec<f32>,
    pub(super) y: Vec<f32>,
}

impl<'a> Batches<'a> {
    /// `data` has rows and `batch_size` is not 0, as `TrainJob::check` made sure.
    pub(super) fn new(data: &'a Batchable, batch_size: u32, seed: u64, first_step: u64) -> Self {
        Self {
            data,
            batch_size: (batch_size as usize).clamp(1, data.rows().max(1)),
            seed,
            step: first_step,
            epoch: None,
            order: Vec::new(),
        }
    }

    pub(super) fn next(&mut self) -> Batch {
        let steps_per_epoch = self.data.rows().div_ceil(self.batch_size).max(1) as u64;
        let epoch = self.step / steps_per_epoch;
        if self.epoch != Some(epoch) {
            // A schema's ROWS_MAX is far below u32::MAX.
            let rows = u32::try_from(self.data.rows()).unwrap_or(u32::MAX);
            self.order = permutation(Purpose::Batches, self.seed, epoch, rows);
            self.epoch = Some(epoch);
        }
        // Below the number of rows, so it fits.
        let start = (self.step % steps_per_epoch) as usize * self.batch_size;
        self.step += 1;
        let columns = self.data.columns();
        let mut batch = Batch {
            x: Vec::with_capacity(self.batch_size * columns),
            y: Vec::with_capacity(self.batch_size),
        };
        for &row in self.order.iter().skip(start).take(self.batch_size) {
            let row = row as usize;
            let x = self.data.x().get(row * columns..(row + 1) * columns);
            batch.x.extend_from_slice(x.unwrap_or_default());
            batch.y.extend(self.data.y().get(row));
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_every_row_once_and_a_restart_goes_on_where_it_was() {
        let rows = 10_u8;
        let x: Vec<f32> = (0..rows).map(f32::from).collect();
        let data = Batchable::new(x, vec![0.0; 10], 1).unwrap();
        let mut batches = Batches::new(&data, 4, 42, 0);
        let seen: Vec<Vec<f32>> = (0..6).map(|_| batches.next().x).collect();
        let sizes: Vec<usize> = seen.iter().map(Vec::len).collect();
        assert_eq!(sizes, [4, 4, 2, 4, 4, 2]);
        let mut epochs: Vec<Vec<f32>> = seen.chunks(3).map(<[_]>::concat).collect();
        assert_ne!(epochs[0], epochs[1]);
        for epoch in &mut epochs {
            epoch.sort_by(f32::total_cmp);
            assert!(epoch.iter().copied().eq((0..rows).map(f32::from)));
        }
        for first_step in 0..6 {
            let mut restarted = Batches::new(&data, 4, 42, first_step);
            assert_eq!(restarted.next().x, seen[first_step as usize]);
        }
    }
}
