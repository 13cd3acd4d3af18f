//! The book of an upload: every instance in order of arrival, and what became of it.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    answer::Item,
    instance::{Digest, Held, Name, Outcome},
    job::Job,
    remembered::Missing,
};
use crate::{dicom_identity::Uid, gateway::Shared};

/// The book. Dropped, it tells the gateway's memory what was read and not stored where the upload broke off before its end,
/// whatever ended it: its job may be resubmitted, and sends the rest.
pub(super) struct Records {
    shared: Arc<Shared>,
    account: String,
    pub(super) job: Option<Job>,
    all: Vec<Record>,
    pub(super) bytes: u64,
    pub(super) present: usize,
    /// The client has sent it to its end. So nothing continues it: its job, resubmitted, has nothing left to send.
    pub(super) is_complete: bool,
    /// Everything is stored, and its client is told so.
    pub(super) is_settled: bool,
}

#[derive(Default)]
struct Record {
    name: Option<Arc<Name>>,
    whole: Option<(u64, Digest)>,
    outcome: Option<Outcome>,
}

impl Records {
    pub(super) fn new(shared: &Arc<Shared>, account: &str, job: Option<Job>) -> Self {
        Self {
            shared: Arc::clone(shared),
            account: account.to_owned(),
            job,
            all: Vec::new(),
            bytes: 0,
            present: 0,
            is_complete: false,
            is_settled: false,
        }
    }

    /// An instance was read, or its beginning was.
    pub(super) fn read(&mut self, held: &Held) {
        if self.all.len() <= held.index {
            self.all.resize_with(held.index + 1, Record::default);
        }
        if let Some(record) = self.all.get_mut(held.index) {
            record.name.clone_from(&held.name);
            record.whole = held.whole;
            self.bytes += held.length();
        }
    }

    /// An instance that was begun is whole.
    pub(super) fn whole(&mut self, index: usize, length: u64, digest: Digest) {
        if let Some(record) = self.all.get_mut(index) {
            record.whole = Some((length, digest));
            self.bytes += length;
            self.remember(index);
        }
    }

    /// What became of an instance.
    pub(super) fn became(&mut self, index: usize, outcome: Outcome) {
        if let Some(record) = self.all.get_mut(index) {
            record.outcome = Some(outcome);
            self.remember(index);
        }
    }

    /// Bytes of an instance, as far as is known.
    pub(super) fn length(&self, index: usize) -> u64 {
        self.all.get(index).and_then(|record| record.whole).map_or(0, |(length, _)| length)
    }

    /// Which instance it is, where it says so.
    pub(super) fn name(&self, index: usize) -> Option<&Name> {
        self.all.get(index)?.name.as_deref()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn stored(&self) -> usize {
        self.all.iter().filter(|record| record.outcome.as_ref().is_some_and(Outcome::is_stored)).count()
    }

    /// Whether it is known what became of an instance.
    pub(super) fn is_known(&self, index: usize) -> bool {
        self.all.get(index).is_some_and(|record| record.outcome.is_some())
    }

    /// Of how many it is known what became of them.
    pub(super) fn known(&self) -> usize {
        self.all.iter().filter(|record| record.outcome.is_some()).count()
    }

    /// The instances of which it is not known what became of them.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &Name> {
        self.all.iter().filter(|record| record.outcome.is_none()).filter_map(|record| record.name.as_deref())
    }

    pub(super) fn names(&self) -> BTreeSet<Arc<Name>> {
        self.all.iter().filter_map(|record| record.name.clone()).collect()
    }

    pub(super) fn is_all_stored(&self) -> bool {
        self.stored() == self.all.len()
    }

    /// The studies that it is about.
    pub(super) fn studies(&self) -> BTreeSet<Uid> {
        self.all.iter().filter_map(|record| Some(record.name.as_ref()?.study.clone())).collect()
    }

    /// For the answer. What has no outcome failed as `otherwise` says.
    pub(super) fn items(&self, otherwise: &str) -> Vec<Item> {
        let item = |record: &Record| Item {
            name: record.name.clone(),
            outcome: record.outcome.clone().unwrap_or_else(|| Outcome::failed(otherwise)),
        };
        self.all.iter().map(item).collect()
    }

    /// What is stored without a warning is not sent again for a while.
    fn remember(&self, index: usize) {
        if let Some(Record {
            name: Some(name),
            whole: Some((_, digest)),
            outcome: Some(Outcome::Stored { warning: None, .. }),
        }) = self.all.get(index)
        {
            self.shared.remembered.stored(&self.account, name, *digest, self.shared.world.now());
        }
    }
}

impl Record {
    /// What later uploads are told, if it is not stored.
    fn missing(&self) -> Option<Missing> {
        let why = match &self.outcome {
            Some(Outcome::Failed { detail, .. }) => Some(Arc::from(detail.as_str())),
            _ => None,
        };
        Some(Missing { name: self.name.clone()?, why })
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        let stored = |record: &&Record| record.outcome.as_ref().is_some_and(Outcome::is_stored);
        let (is_in, is_out): (Vec<_>, Vec<_>) = self.all.iter().partition(stored);
        let remembered = &self.shared.remembered;
        let names = || is_in.iter().filter_map(|record| record.name.as_deref());
        remembered.found(&self.account, names());
        if self.is_settled {
            remembered.settled(&self.account, names());
        }
        if let Some(job) = self.job.as_ref().filter(|_| !self.is_complete) {
            let missing = is_out.into_iter().filter_map(Record::missing);
            remembered.not_stored(&self.account, job, missing, self.shared.world.now());
        }
    }
}
