//! How much of what passes may be in memory at once: one budget for all accounts.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What the budget is counted in, bytes: so that a semaphore's 32-bit numbers are enough.
const UNIT: usize = 4096;

/// The bytes that may be held in memory at once.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    units: Arc<Semaphore>,
    all: usize,
}

/// A share of it, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    permit: Option<OwnedSemaphorePermit>,
    /// Bytes of the units taken that are not used yet.
    spare: usize,
}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        let all = (bytes / UNIT).max(1);
        Self { units: Arc::new(Semaphore::new(all)), all }
    }

    /// Bytes in use, to the next unit.
    pub(crate) fn in_use(&self) -> usize {
        (self.all - self.units.available_permits().min(self.all)) * UNIT
    }

    /// A share of nothing yet.
    #[expect(clippy::unused_self, reason = "a share of one memory is not one of another")]
    pub(crate) fn share(&self) -> Share {
        Share { permit: None, spare: 0 }
    }

    /// Lets `share` grow by `bytes`; false where there is no room for that now.
    pub(crate) fn try_grow(&self, share: &mut Share, bytes: usize) -> bool {
        let Some(units) = share.missing_units(bytes) else { return true };
        match Arc::clone(&self.units).try_acquire_many_owned(units) {
            Ok(permit) => {
                share.take(permit, bytes);
                true
            }
            Err(_) => false,
        }
    }

    /// Lets `share` grow by `bytes`, waiting until others have given back enough.
    ///
    /// Whoever waits while holding a share may wait for somebody who does the same: have another way out.
    pub(crate) async fn grow(&self, share: &mut Share, bytes: usize) {
        let Some(units) = share.missing_units(bytes) else { return };
        // More than there is would never be had.
        let units = units.min(u32::try_from(self.all).unwrap_or(u32::MAX));
        // It is never closed.
        if let Ok(permit) = Arc::clone(&self.units).acquire_many_owned(units).await {
            share.take(permit, bytes);
        }
    }
}

impl Share {
    /// Takes another share's memory over.
    pub(crate) fn merge(&mut self, other: Share) {
        self.spare += other.spare;
        match (&mut self.permit, other.permit) {
            (Some(all), Some(permit)) => all.merge(permit),
            (none, permit) => *none = none.take().or(permit),
        }
    }

    /// How many more units `bytes` take; counts them as used where the present ones are enough.
    fn missing_units(&mut self, bytes: usize) -> Option<u32> {
        if bytes <= self.spare {
            self.spare -= bytes;
            return None;
        }
        Some(u32::try_from((bytes - self.spare).div_ceil(UNIT)).unwrap_or(u32::MAX))
    }

    fn take(&mut self, permit: OwnedSemaphorePermit, bytes: usize) {
        self.spare = (self.spare + permit.num_permits() * UNIT).saturating_sub(bytes);
        match &mut self.permit {
            Some(all) => all.merge(permit),
            none => *none = Some(permit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted_in_units_and_given_back() {
        let memory = Memory::new(10 * UNIT);
        let mut share = memory.share();
        assert!(memory.try_grow(&mut share, 1));
        assert!(memory.try_grow(&mut share, UNIT - 1));
        assert_eq!(memory.in_use(), UNIT);
        assert!(memory.try_grow(&mut share, 9 * UNIT));
        assert!(!memory.try_grow(&mut share, 1));
        drop(share);
        assert_eq!(memory.in_use(), 0);
    }
}
