//! An upload's instances in order of arrival, and what became of them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    book::{Book, Cursor, Spelled},
    instance::{Digest, Held, Name, Outcome},
    job::Job,
    reason,
    remembered::{MOST_MISSING, Missing},
};
use crate::{dicom_identity::Uid, gateway::Shared};

/// So many studies of an upload are told apart.
const MOST_STUDIES: usize = 1000;
/// An upload has no more instances. What it has to say of each of them would fill memory, here and with its client.
const MOST_INSTANCES: usize = 5_000_000;

/// The instances. Dropped, it tells the gateway's memory what was read and not stored where the upload broke off before its end,
/// whatever ended it: its job may be resubmitted, and sends the rest.
pub(super) struct Records {
    shared: Arc<Shared>,
    account: String,
    pub(super) job: Option<Job>,
    /// The number of the upload among those that the gateway remembers.
    upload: u64,
    book: Option<Book>,
    /// Instances of which not everything is known yet.
    pending: HashMap<usize, Pending>,
    studies: BTreeSet<Uid>,
    pub(super) bytes: u64,
    pub(super) present: usize,
    /// The client has sent it to its end. So nothing continues it: its job, resubmitted, has nothing left to send.
    pub(super) is_complete: bool,
    /// Everything is stored, and its client is told so.
    pub(super) is_settled: bool,
}

struct Pending {
    name: Option<Arc<Name>>,
    whole: Option<(u64, Digest)>,
    /// It is stored, and without a warning.
    is_stored: bool,
}

impl Records {
    pub(super) fn new(shared: &Arc<Shared>, account: &str, job: Option<Job>) -> Self {
        Self {
            shared: Arc::clone(shared),
            account: account.to_owned(),
            job,
            upload: shared.remembered.next_upload(),
            book: Some(Book::new(&shared.memory)),
            pending: HashMap::new(),
            studies: BTreeSet::new(),
            bytes: 0,
            present: 0,
            is_complete: false,
            is_settled: false,
        }
    }

    /// An instance was read, or its beginning was.
    pub(super) fn read(&mut self, held: &Held) {
        let Some(book) = &mut self.book else { return };
        while book.len() < held.index {
            book.push(None);
        }
        book.push(held.name.as_deref());
        if let Some(name) = &held.name
            && self.studies.len() < MOST_STUDIES
            && !self.studies.contains(&name.study)
        {
            self.studies.insert(name.study.clone());
        }
        self.bytes += held.length();
        let pending = Pending { name: held.name.clone(), whole: held.whole, is_stored: false };
        self.pending.insert(held.index, pending);
    }

    /// Whether there is no place for more instances.
    pub(super) fn is_full(&self) -> bool {
        let most = (self.shared.settings.memory / 4 * 3).max(128 << 10);
        let too_large = |book: &Book| book.bytes() > most || book.is_beyond_budget();
        self.len() > MOST_INSTANCES || self.book.as_ref().is_some_and(too_large)
    }

    /// An instance that was begun is whole.
    pub(super) fn whole(&mut self, index: usize, length: u64, digest: Digest) {
        self.bytes += length;
        if let Some(pending) = self.pending.get_mut(&index) {
            pending.whole = Some((length, digest));
            self.remember(index);
        }
    }

    /// What became of an instance.
    pub(super) fn became(&mut self, index: usize, outcome: Outcome) {
        if let Some(pending) = self.pending.get_mut(&index) {
            pending.is_stored = matches!(outcome, Outcome::Stored { warning: None, .. });
            if let (Outcome::Stored { warning: Some(_), .. }, Some(name)) = (&outcome, &pending.name) {
                self.shared.remembered.replaced(&self.account, name);
            }
        }
        if let Some(book) = &mut self.book {
            book.set(index, outcome);
        }
        self.remember(index);
    }

    /// Bytes of an instance, as far as is known.
    pub(super) fn length(&self, index: usize) -> u64 {
        self.pending.get(&index).and_then(|pending| pending.whole).map_or(0, |(length, _)| length)
    }

    /// Which instance it is, where it says so and is not settled.
    pub(super) fn name(&self, index: usize) -> Option<&Name> {
        self.pending.get(&index)?.name.as_deref()
    }

    pub(super) fn len(&self) -> usize {
        self.book.as_ref().map_or(0, Book::len)
    }

    pub(super) fn stored(&self) -> usize {
        self.book.as_ref().map_or(0, |book| book.stored)
    }

    /// Whether it is known what became of an instance.
    pub(super) fn is_known(&self, index: usize) -> bool {
        self.book.as_ref().is_some_and(|book| book.is_known(index))
    }

    /// Of how many it is known what became of them.
    pub(super) fn known(&self) -> usize {
        self.book.as_ref().map_or(0, |book| book.stored + book.failed)
    }

    /// Up to so many of the instances of which it is not known what became of them: SOP Instance UIDs.
    pub(super) fn unknown(&self, most: usize) -> Vec<String> {
        let mut unknown = Vec::new();
        self.each(|name, outcome| {
            if let (Some(name), None) = (name, outcome) {
                unknown.push(name.instance.clone());
            }
            unknown.len() < most
        });
        unknown
    }

    /// Leaves those out that this upload has in it.
    pub(super) fn leave_out(&self, missing: &mut Vec<Missing>) {
        let mut here = BTreeSet::new();
        let instances: BTreeSet<Uid> = missing.iter().map(|missing| missing.name.instance.clone()).collect();
        self.each(|name, _| {
            if let Some(name) = name.filter(|name| instances.contains(name.instance.as_str())) {
                here.insert(name.clone());
            }
            true
        });
        missing.retain(|missing| !here.contains(&Spelled::of(&missing.name)));
    }

    pub(super) fn is_all_stored(&self) -> bool {
        self.stored() == self.len()
    }

    /// The studies that it is about, the first thousand.
    pub(super) fn studies(&self) -> &BTreeSet<Uid> {
        &self.studies
    }

    /// Why instances failed, each reason once, as the store has it in words.
    pub(super) fn details(&self) -> Vec<&str> {
        let outcomes = self.book.as_ref().map(Book::outcomes).unwrap_or_default();
        outcomes.iter().filter_map(Outcome::detail).filter(|detail| !detail.trim().is_empty()).collect()
    }

    /// What the numbers of the failures mean.
    pub(super) fn reasons(&self) -> Vec<String> {
        reason::numbers(self.book.as_ref().map(Book::outcomes).unwrap_or_default())
    }

    /// The book, for the answer, when everything that follows from it is done.
    pub(super) fn close(&mut self) -> Book {
        self.end();
        self.book.take().unwrap_or_else(|| Book::new(&self.shared.memory))
    }

    /// Every instance in order, until told to stop.
    fn each(&self, mut wants_more: impl FnMut(Option<&Spelled>, Option<&Outcome>) -> bool) {
        let Some(book) = &self.book else { return };
        let mut cursor = Cursor::default();
        while let Some((name, outcome)) = book.next(&mut cursor)
            && wants_more(name, outcome)
        {}
    }

    /// What is stored without a warning is not sent again for a while.
    fn remember(&mut self, index: usize) {
        let Some(Pending { name, whole, is_stored }) = self.pending.get(&index) else { return };
        if let (Some(name), Some((_, digest)), true) = (name, whole, is_stored) {
            let remembered = &self.shared.remembered;
            remembered.stored(&self.account, name, *digest, self.upload, self.shared.world.now());
        }
        if whole.is_some() && self.is_known(index) {
            self.pending.remove(&index);
        }
    }

    /// Tells the gateway's memory what is in the store and what is not.
    fn end(&self) {
        let remembered = &self.shared.remembered;
        if self.is_settled {
            remembered.settled(self.upload);
        }
        let lacks = remembered.lacks(&self.account);
        let job = self.job.as_ref().filter(|_| !self.is_complete);
        if !lacks && job.is_none() {
            return;
        }
        let mut missing = Vec::new();
        self.each(|name, outcome| {
            let Some(name) = name else { return true };
            if outcome.is_some_and(Outcome::is_stored) {
                if lacks {
                    remembered.found(&self.account, &name.study, &name.instance);
                }
            } else if job.is_some() && missing.len() < MOST_MISSING {
                let why = match outcome {
                    Some(Outcome::Failed { reason, detail }) => {
                        Some(Arc::from(reason::in_words(*reason, detail)))
                    }
                    _ => None,
                };
                missing.extend(name.to_name().map(|name| Missing { name: Arc::new(name), why }));
            }
            true
        });
        if let Some(job) = job {
            remembered.not_stored(&self.account, job, missing, self.shared.world.now());
        }
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        if self.book.is_some() {
            self.end();
        }
    }
}
