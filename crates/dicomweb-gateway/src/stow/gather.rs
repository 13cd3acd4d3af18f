//! Gathering instances into batches.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use super::instance::Held;
use crate::dicom_identity::Uid;

/// Bytes of a batch. At a round trip of 40 ms a connection sends that in two or three of them, so that the one in which the
/// answer is waited for counts for little; and 32 of them are what memory holds.
const BATCH: u64 = 4 << 20;
/// … of a batch while nothing is under way: the line shall not wait for four times as much to be read.
const EARLY: u64 = 1 << 20;
/// Instances of a batch. What the store says of so many is below two megabytes.
const MOST_IN_A_BATCH: usize = 1000;

/// Instances that wait to be sent.
#[derive(Default)]
pub(super) struct Gatherer {
    ready: VecDeque<Batch>,
    next: Batch,
    /// The names of those in it.
    next_names: HashSet<Uid>,
}

/// Instances that are sent in one request: of these each has a name of its own, or it is one alone.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) instances: Vec<Arc<Held>>,
    pub(super) bytes: u64,
}

impl Batch {
    fn names(&self) -> impl Iterator<Item = &Uid> {
        self.instances.iter().filter_map(|held| Some(&held.name.as_ref()?.instance))
    }
}

impl Gatherer {
    /// Adds an instance.
    ///
    /// One as large as a batch goes alone, and so does one without a name: what the answer says of a nameless one can only be
    /// understood if it speaks of nothing else.
    pub(super) fn push(&mut self, held: Held) {
        let goes_alone = held.name.is_none() || held.whole.is_none_or(|(length, _)| length >= BATCH);
        let bytes = held.length();
        if goes_alone {
            self.ready.push_back(Batch { instances: vec![Arc::new(held)], bytes });
            return;
        }
        if let Some(name) = &held.name
            && !self.next_names.insert(name.instance.clone())
        {
            self.flush();
            self.next_names.insert(name.instance.clone());
        }
        self.next.bytes += bytes;
        self.next.instances.push(Arc::new(held));
        if self.next.bytes >= BATCH || self.next.instances.len() >= MOST_IN_A_BATCH {
            self.flush();
        }
    }

    /// What was gathered so far is a batch, whatever its size.
    pub(super) fn flush(&mut self) {
        if !self.next.instances.is_empty() {
            self.ready.push_back(std::mem::take(&mut self.next));
            self.next_names.clear();
        }
    }

    /// The next batch to send, while those with the names `under_way` are under way.
    ///
    /// Instances with the same name are sent one after the other, or their order would be left to chance.
    pub(super) fn take(&mut self, under_way: &HashSet<Uid>) -> Option<Batch> {
        if self.ready.is_empty() && under_way.is_empty() && self.next.bytes >= EARLY {
            self.flush();
        }
        let position =
            self.ready.iter().position(|batch| !batch.names().any(|name| under_way.contains(name)))?;
        self.ready.remove(position)
    }

    /// How many batches are ready.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        memory::Memory,
        multipart,
        stow::instance::{Kept, Name},
    };

    fn held(index: usize, instance: Option<&str>, length: u64) -> Held {
        let uid = |text: &str| Uid::parse(text.as_bytes()).unwrap();
        let name =
            |instance| Name { class: uid("1"), instance: uid(instance), study: uid("2"), series: uid("3") };
        Held {
            index,
            name: instance.map(|instance| Arc::new(name(instance))),
            content_type: multipart::DICOM,
            kept: Kept::Memory(vec![Bytes::new()], Memory::new(1).share()),
            whole: Some((length, [0; 32])),
        }
    }

    /// The numbers of the instances of each batch, if all are sent at once.
    fn batches(instances: impl IntoIterator<Item = Held>) -> Vec<Vec<usize>> {
        let mut gatherer = Gatherer::default();
        for held in instances {
            gatherer.push(held);
        }
        gatherer.flush();
        let mut batches = Vec::new();
        while let Some(batch) = gatherer.take(&HashSet::new()) {
            batches.push(batch.instances.iter().map(|held| held.index).collect());
        }
        assert!(gatherer.next.instances.is_empty());
        batches
    }

    #[test]
    fn small_ones_go_together_and_large_and_nameless_ones_alone() {
        let (one, two, three) = (Some("1.1"), Some("1.2"), Some("1.3"));
        assert_eq!(batches([held(0, one, 1), held(1, two, 1), held(2, three, 1)]), [[0, 1, 2]]);
        assert_eq!(
            batches([held(0, one, BATCH - 1), held(1, two, 1), held(2, three, 1)]),
            [vec![0, 1], vec![2]]
        );
        assert_eq!(batches([held(0, one, 1), held(1, two, BATCH), held(2, three, 1)]), [vec![1], vec![0, 2]]);
        assert_eq!(batches([held(0, one, 1), held(1, None, 1), held(2, three, 1)]), [vec![1], vec![0, 2]]);
        assert_eq!(batches([held(0, one, 1), held(1, one, 1), held(2, two, 1)]), [vec![0], vec![1, 2]]);
    }

    #[test]
    fn a_batch_has_not_more_instances_than_an_answer_can_speak_of() {
        let names: Vec<String> = (0..2500).map(|number| format!("1.{number}")).collect();
        let all = names.iter().enumerate().map(|(index, name)| held(index, Some(name), 1));
        assert_eq!(batches(all).iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1000, 500]);
    }

    #[test]
    fn twins_wait_for_each_other() {
        let mut gatherer = Gatherer::default();
        for index in 0..3 {
            gatherer.push(held(index, Some("1.1"), BATCH));
        }
        gatherer.push(held(3, Some("1.2"), BATCH));
        let under_way = HashSet::from([Uid::parse(b"1.1").unwrap()]);
        assert_eq!(gatherer.take(&under_way).unwrap().instances[0].index, 3);
        assert!(gatherer.take(&under_way).is_none());
        assert_eq!(gatherer.take(&HashSet::new()).unwrap().instances[0].index, 0);
    }

    #[test]
    fn an_idle_line_is_given_what_there_is() {
        let mut gatherer = Gatherer::default();
        gatherer.push(held(0, Some("1.1"), EARLY));
        assert!(gatherer.take(&HashSet::from([Uid::parse(b"1.9").unwrap()])).is_none());
        assert_eq!(gatherer.take(&HashSet::new()).unwrap().instances.len(), 1);
    }
}
