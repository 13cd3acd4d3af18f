//! What uploads leave behind for later ones: what was stored, and what was read and not stored.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use ring::digest::{SHA256, digest};

use super::{
    instance::{Digest, Name},
    job::Job,
};
use crate::dicom_identity::Uid;

/// How many stored instances of uploads that failed are remembered, the newest. Each takes 150 bytes.
const MOST_STORED: usize = 100_000;
/// How long. A failed upload is begun again within hours; later, somebody else may have put another instance in its place.
const FRESH: Duration = Duration::from_secs(6 * 3600);
/// How many missing instances are remembered, those of the newest jobs. Each takes 400 bytes.
pub(crate) const MOST_MISSING: usize = 20_000;
/// How long. Whoever resubmits a job later than a week after it failed cannot be told any more what it leaves out.
const RESUBMITTED_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// The memory of a gateway; it ends with it.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    stored: Mutex<Stored>,
    missing: Mutex<VecDeque<Unfinished>>,
    uploads: AtomicU64,
}

/// Stands for an account and an instance, or a study, of it.
type Key = [u8; 16];

#[derive(Debug, Default)]
struct Stored {
    entries: HashMap<Key, Entry>,
    /// In the order of remembering; an entry that was renewed is here more than once.
    order: VecDeque<(Key, u64)>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    study: Key,
    digest: Digest,
    /// The number of the upload that has it.
    upload: u64,
    at: SystemTime,
}

/// What a job has read and not stored, while it can still be resubmitted.
#[derive(Debug)]
struct Unfinished {
    account: String,
    job: Job,
    /// When it was told last.
    at: SystemTime,
    instances: BTreeMap<Uid, Missing>,
}

/// An instance that was read and is not in the store.
#[derive(Debug, Clone)]
pub(crate) struct Missing {
    pub(crate) name: Arc<Name>,
    /// Why the store did not take it, where it said so.
    pub(crate) why: Option<Arc<str>>,
}

impl From<Arc<Name>> for Missing {
    fn from(name: Arc<Name>) -> Self {
        Self { name, why: None }
    }
}

impl Unfinished {
    /// Whether its job may still be resubmitted. A clock that went back makes nothing older.
    fn is_fresh(&self, now: SystemTime) -> bool {
        now.duration_since(self.at).unwrap_or_default() < RESUBMITTED_WITHIN
    }
}

fn key(account: &str, uid: &str) -> Key {
    let hash = digest(&SHA256, &[account.as_bytes(), b"\0", uid.as_bytes()].concat());
    let mut key = Key::default();
    key.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    key
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Remembered {
    /// The number of another upload.
    pub(crate) fn next_upload(&self) -> u64 {
        self.uploads.fetch_add(1, Relaxed)
    }

    /// The store has taken this instance of an upload, or has shown that it has it.
    pub(crate) fn stored(&self, account: &str, name: &Name, digest: Digest, upload: u64, now: SystemTime) {
        let mut stored = locked(&self.stored);
        let (number, of) = (stored.next, key(account, name.instance.as_str()));
        stored.next += 1;
        let study = key(account, name.study.as_str());
        stored.entries.insert(of, Entry { number, study, digest, upload, at: now });
        stored.order.push_back((of, number));
        while stored.entries.len() > MOST_STORED || stored.order.len() > 2 * MOST_STORED {
            let Some((oldest, number)) = stored.order.pop_front() else { break };
            if stored.entries.get(&oldest).is_some_and(|entry| entry.number == number) {
                stored.entries.remove(&oldest);
            }
        }
    }

    /// Whether some instance with this UID was stored.
    pub(crate) fn knows(&self, account: &str, instance: &Uid) -> bool {
        locked(&self.stored).entries.contains_key(&key(account, instance.as_str()))
    }

    /// Whether this very instance was stored a short time ago, and nothing else was in its place since.
    pub(crate) fn was_stored(&self, account: &str, name: &Name, digest: &Digest, now: SystemTime) -> bool {
        let stored = locked(&self.stored);
        stored.entries.get(&key(account, name.instance.as_str())).is_some_and(|entry| {
            entry.digest == *digest && now.duration_since(entry.at).unwrap_or_default() < FRESH
        })
    }

    /// What lies at this path below the account's DICOMweb root is changed or deleted, not by an upload.
    pub(crate) fn changes(&self, account: &str, path: &str) {
        match path.split('/').collect::<Vec<_>>().as_slice() {
            [_, _, _, _, _, instance, ..] => self.forget(account, instance),
            [_, study, ..] => self.forget(account, study),
            // It may be anything.
            _ => *locked(&self.stored) = Stored::default(),
        }
    }

    /// Nobody has a reason to send its instances again soon: all of this upload was stored.
    pub(crate) fn settled(&self, upload: u64) {
        let Stored { entries, order, .. } = &mut *locked(&self.stored);
        entries.retain(|_, entry| entry.upload != upload);
        order.retain(|(of, number)| entries.get(of).is_some_and(|entry| entry.number == *number));
    }

    /// The store has this instance otherwise than it was sent.
    pub(crate) fn replaced(&self, account: &str, name: &Name) {
        locked(&self.stored).entries.remove(&key(account, name.instance.as_str()));
    }

    /// The instance, or the study, was deleted, or is to be replaced.
    pub(crate) fn forget(&self, account: &str, uid: &str) {
        let of = key(account, uid);
        locked(&self.stored).entries.retain(|instance, entry| *instance != of && entry.study != of);
    }

    /// An upload of this job broke off after it had read these instances, and has not stored them.
    pub(crate) fn not_stored(
        &self,
        account: &str,
        job: &Job,
        instances: impl IntoIterator<Item = Missing>,
        now: SystemTime,
    ) {
        let mut instances = instances.into_iter().peekable();
        if instances.peek().is_none() {
            return;
        }
        let mut missing = locked(&self.missing);
        let known = missing.iter().position(|known| known.account == account && known.job == *job);
        // The newest is the last.
        let mut unfinished = known.and_then(|position| missing.remove(position)).unwrap_or_else(|| {
            let (account, job) = (account.to_owned(), job.clone());
            Unfinished { account, job, at: now, instances: BTreeMap::new() }
        });
        unfinished.at = now;
        for instance in instances {
            // Of a job that lacks so many it is enough to know these.
            if unfinished.instances.len() < MOST_MISSING {
                unfinished.instances.insert(instance.name.instance.clone(), instance);
            }
        }
        missing.push_back(unfinished);
        missing.retain(|unfinished| unfinished.is_fresh(now));
        let mut all: usize = missing.iter().map(|unfinished| unfinished.instances.len()).sum();
        while all > MOST_MISSING
            && missing.len() > 1
            && let Some(oldest) = missing.pop_front()
        {
            all -= oldest.instances.len();
        }
    }

    /// What earlier uploads of this job have left missing.
    pub(crate) fn missing(&self, account: &str, job: &Job, now: SystemTime) -> Vec<Missing> {
        let missing = locked(&self.missing);
        let is_it =
            |known: &&Unfinished| known.account == account && known.job == *job && known.is_fresh(now);
        missing
            .iter()
            .find(is_it)
            .map(|known| known.instances.values().cloned().collect())
            .unwrap_or_default()
    }

    /// The instance at this path was deleted: nobody misses it any longer. Whether somebody did.
    ///
    /// A deletion of its series or study is no such word: of that, a job that is resubmitted would send a part.
    pub(crate) fn given_up(&self, account: &str, path: &str) -> bool {
        let ["studies", study, "series", series, "instances", instance] =
            path.split('/').collect::<Vec<_>>()[..]
        else {
            return false;
        };
        let mut missing = locked(&self.missing);
        let mut was_missing = false;
        for known in missing.iter_mut().filter(|known| known.account == account) {
            known.instances.retain(|uid, Missing { name, .. }| {
                let is_it = uid.as_str() == instance
                    && name.series.as_str() == series
                    && name.study.as_str() == study;
                was_missing |= is_it;
                !is_it
            });
        }
        missing.retain(|known| !known.instances.is_empty());
        was_missing
    }

    /// Whether anything is missing of this account.
    pub(crate) fn lacks(&self, account: &str) -> bool {
        locked(&self.missing).iter().any(|known| known.account == account)
    }

    /// Whether an instance with this UID is missing.
    pub(crate) fn misses(&self, account: &str, instance: &Uid) -> bool {
        let missing = locked(&self.missing);
        missing.iter().any(|known| known.account == account && known.instances.contains_key(instance))
    }

    /// This instance is in the store.
    pub(crate) fn found(&self, account: &str, study: &str, instance: &str) {
        let mut missing = locked(&self.missing);
        for known in missing.iter_mut().filter(|known| known.account == account) {
            if known.instances.get(instance).is_some_and(|missing| missing.name.study.as_str() == study) {
                known.instances.remove(instance);
            }
        }
        missing.retain(|known| !known.instances.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(study: &str, instance: &str) -> Arc<Name> {
        let uid = |text: &str| Uid::parse(text.as_bytes()).unwrap();
        Arc::new(Name { class: uid("1"), instance: uid(instance), study: uid(study), series: uid("3") })
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn what_was_stored_is_known_by_account_name_and_content_for_a_while() {
        let (remembered, name) = (Remembered::default(), name("2", "2.1"));
        remembered.stored("a", &name, [7; 32], 0, at(0));
        assert!(remembered.knows("a", &name.instance) && !remembered.knows("b", &name.instance));
        let was_stored = |account, digest, time| remembered.was_stored(account, &name, &digest, time);
        assert!(was_stored("a", [7; 32], at(100)));
        assert!(!was_stored("b", [7; 32], at(100)));
        assert!(!was_stored("a", [8; 32], at(100)));
        assert!(!was_stored("a", [7; 32], at(0) + FRESH));
        remembered.stored("a", &name, [8; 32], 0, at(1));
        assert!(!was_stored("a", [7; 32], at(100)));
        assert!(was_stored("a", [8; 32], at(100)));
        for path in ["studies/2", "studies/2/series/3", "studies/2/series/3/instances/2.1", "studies"] {
            remembered.stored("a", &name, [8; 32], 0, at(1));
            remembered.changes("a", "studies/9");
            assert!(was_stored("a", [8; 32], at(100)));
            remembered.changes("a", path);
            assert!(!was_stored("a", [8; 32], at(100)), "{path}");
        }
    }

    #[test]
    fn an_upload_that_is_stored_as_a_whole_is_forgotten() {
        let remembered = Remembered::default();
        let (one, other) = (name("2", "2.1"), name("2", "2.2"));
        for (name, upload) in [(&one, 1), (&other, 1), (&one, 2)] {
            remembered.stored("a", name, [7; 32], upload, at(0));
        }
        remembered.settled(2);
        let was_stored = |name: &Name| remembered.was_stored("a", name, &[7; 32], at(1));
        assert!(!was_stored(&one) && was_stored(&other));
        assert_eq!(locked(&remembered.stored).order.len(), 1);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let remembered = Remembered::default();
        for number in 0..=MOST_STORED {
            remembered.stored("a", &name("2", &format!("2.{number}")), [0; 32], 0, at(0));
        }
        assert!(!remembered.knows("a", &Uid::parse(b"2.0").unwrap()));
        assert!(remembered.knows("a", &Uid::parse(b"2.1").unwrap()));
        for _ in 0..2 * MOST_STORED {
            remembered.stored("a", &name("2", "2.7"), [0; 32], 0, at(0));
        }
        assert!(locked(&remembered.stored).order.len() <= 2 * MOST_STORED);
        assert!(remembered.knows("a", &Uid::parse(b"2.7").unwrap()));
    }

    fn job(digit: char) -> Job {
        let uuid = "00000000-0000-0000-0000-000000000000".replace('0', &digit.to_string());
        Job::of_boundary(&format!("{uuid}-{uuid}")).unwrap()
    }

    #[test]
    fn what_a_job_left_missing_is_so_for_this_job_until_it_is_found() {
        let remembered = Remembered::default();
        let not_stored = |account: &str, digit, names: Vec<Arc<Name>>, seconds| {
            remembered.not_stored(account, &job(digit), names.into_iter().map(Missing::from), at(seconds));
        };
        let missing = |account, digit, seconds| remembered.missing(account, &job(digit), at(seconds)).len();
        not_stored("a", '1', vec![name("2", "2.1"), name("2", "2.2"), name("3", "3.1")], 0);
        not_stored("a", '1', vec![name("2", "2.1")], 0);
        not_stored("a", '2', vec![name("2", "2.1")], 0);
        let counts = (missing("a", '1', 1), missing("a", '2', 1), missing("a", '3', 1), missing("b", '1', 1));
        assert_eq!(counts, (3, 1, 0, 0));
        for (study, instance) in [("2", "2.1"), ("3", "3.1"), ("4", "2.2")] {
            remembered.found("a", study, instance);
        }
        assert_eq!((missing("a", '1', 1), missing("a", '2', 1)), (1, 0));
        let week = RESUBMITTED_WITHIN.as_secs();
        assert_eq!((missing("a", '1', week - 1), missing("a", '1', week)), (1, 0));
        // What is told again is remembered from then on.
        not_stored("a", '1', vec![name("2", "2.7")], week - 1);
        assert_eq!(missing("a", '1', week), 2);
        let many = (0..MOST_MISSING).map(|number| name("5", &format!("5.{number}"))).collect();
        not_stored("a", '5', many, week);
        assert_eq!((missing("a", '1', week), missing("a", '5', week)), (0, MOST_MISSING));
    }
}
