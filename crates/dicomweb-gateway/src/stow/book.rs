//! The names of an upload's instances and what became of them, in little memory: an upload may have millions.
//!
//! A name shares its beginning with the one before it, so only what differs is kept, two characters a byte. What became of an
//! instance is a number; the few outcomes that say more than *stored* are kept once each.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
};

use super::instance::{Name, Outcome};
use crate::{
    dicom_identity::Uid,
    memory::{Memory, Share},
};

/// Names are kept in pieces of this size, the first name of each in full.
const PIECE: usize = 4096;
/// How much the words of all outcomes take together; of those beyond, the number of the reason is kept.
const WORDS: usize = 1 << 20;
/// So many different outcomes are kept with their words.
const MOST_OUTCOMES: usize = 20_000;
/// What is not counted for lack of room in the memory's budget may be so much.
const MOST_OWED: usize = 1 << 20;

/// The book.
pub(super) struct Book {
    memory: Memory,
    share: Share,
    /// Bytes that are not counted in the budget yet.
    owed: usize,
    pieces: Vec<Vec<u8>>,
    last: Spelled,
    /// For each instance the number of its outcome.
    codes: Vec<u16>,
    outcomes: Vec<Outcome>,
    /// The numbers of outcomes by their hash.
    numbers: HashMap<u64, u16>,
    words: usize,
    pub(super) stored: usize,
    pub(super) failed: usize,
    pub(super) warned: usize,
    study: Option<Uid>,
    has_other_studies: bool,
}

/// A name as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spelled {
    pub(super) class: String,
    pub(super) study: String,
    pub(super) series: String,
    pub(super) instance: String,
}

/// The place of a reader of the book.
#[derive(Default)]
pub(super) struct Cursor {
    index: usize,
    piece: usize,
    offset: usize,
    name: Spelled,
}

/// Nothing is known yet.
const UNKNOWN: u16 = 0;
/// [`Outcome::STORED`].
const STORED: u16 = 1;
/// The number of the first of the other outcomes.
const FIRST: u16 = 2;

impl Book {
    pub(super) fn new(memory: &Memory) -> Self {
        Self {
            memory: memory.clone(),
            share: memory.share(),
            owed: 0,
            pieces: Vec::new(),
            last: Spelled::default(),
            codes: Vec::new(),
            outcomes: Vec::new(),
            numbers: HashMap::new(),
            words: 0,
            stored: 0,
            failed: 0,
            warned: 0,
            study: None,
            has_other_studies: false,
        }
    }

    /// Appends an instance.
    pub(super) fn push(&mut self, name: Option<&Name>) {
        self.codes.push(UNKNOWN);
        let spelled = name.map(Spelled::of);
        let mut entry = encoded(&self.last, spelled.as_ref());
        if self.pieces.last().is_none_or(|piece| piece.len() + entry.len() > PIECE) {
            // The numbers of its instances count with it.
            self.owed += PIECE + PIECE / 8;
            self.pieces.push(Vec::with_capacity(PIECE));
            entry = encoded(&Spelled::default(), spelled.as_ref());
            self.last = Spelled::default();
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.extend_from_slice(&entry);
        }
        if let Some(spelled) = spelled {
            self.last = spelled;
        }
        if let Some(name) = name {
            self.is_about(&name.study);
        }
        if self.owed > 0 && self.memory.try_grow(&mut self.share, self.owed) {
            self.owed = 0;
        }
    }

    /// Whether the budget has no room for as much as it takes.
    pub(super) fn is_beyond_budget(&self) -> bool {
        self.owed > MOST_OWED
    }

    /// Bytes that the names take.
    pub(super) fn bytes(&self) -> usize {
        self.pieces.len() * PIECE + self.codes.len() * size_of::<u16>()
    }

    /// What became of an instance.
    pub(super) fn set(&mut self, index: usize, outcome: Outcome) {
        if let Outcome::Stored { name: Some(name), .. } = &outcome {
            let study = name.study.clone();
            self.is_about(&study);
        }
        let (is_stored, has_warning) =
            (outcome.is_stored(), matches!(outcome, Outcome::Stored { warning: Some(_), .. }));
        let number = self.number_of(outcome);
        let Some(code) = self.codes.get_mut(index).filter(|code| **code == UNKNOWN) else { return };
        *code = number;
        self.stored += usize::from(is_stored);
        self.failed += usize::from(!is_stored);
        self.warned += usize::from(has_warning);
    }

    pub(super) fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether it is known what became of an instance.
    pub(super) fn is_known(&self, index: usize) -> bool {
        self.codes.get(index).is_some_and(|code| *code != UNKNOWN)
    }

    /// The study that everything is of; `None` where there are several, or none is known.
    pub(super) fn study(&self) -> Option<&Uid> {
        self.study.as_ref().filter(|_| !self.has_other_studies)
    }

    /// The outcomes that say more than *stored*, each once.
    pub(super) fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// The next instance, its name and what became of it, as far as is known.
    pub(super) fn next<'a>(
        &'a self,
        cursor: &'a mut Cursor,
    ) -> Option<(Option<&'a Spelled>, Option<&'a Outcome>)> {
        let code = *self.codes.get(cursor.index)?;
        let mut piece = self.pieces.get(cursor.piece)?;
        if cursor.offset >= piece.len() {
            cursor.piece += 1;
            (cursor.offset, cursor.name) = (0, Spelled::default());
            piece = self.pieces.get(cursor.piece)?;
        }
        let is_named = decode(piece, &mut cursor.offset, &mut cursor.name)?;
        cursor.index += 1;
        let outcome = match code {
            UNKNOWN => None,
            STORED => Some(&Outcome::STORED),
            code => self.outcomes.get(usize::from(code - FIRST)),
        };
        Some((is_named.then_some(&cursor.name), outcome))
    }

    fn is_about(&mut self, study: &Uid) {
        match &self.study {
            None => self.study = Some(study.clone()),
            Some(known) => self.has_other_studies |= known != study,
        }
    }

    fn number_of(&mut self, outcome: Outcome) -> u16 {
        if outcome == Outcome::STORED {
            return STORED;
        }
        let mut hasher = DefaultHasher::new();
        outcome.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(number) = self.numbers.get(&hash) {
            return *number;
        }
        let length = outcome.detail().map_or(0, str::len);
        if self.outcomes.len() >= MOST_OUTCOMES || self.words + length > WORDS {
            return match outcome {
                Outcome::Failed { reason, detail } if !detail.is_empty() => {
                    self.number_of(Outcome::Failed { reason, detail: String::new() })
                }
                // So many different ones without words are not there.
                _ => self.outcomes.len().saturating_sub(1).try_into().map_or(FIRST, |last: u16| last + FIRST),
            };
        }
        self.words += length;
        let number = u16::try_from(self.outcomes.len()).unwrap_or_default() + FIRST;
        self.outcomes.push(outcome);
        self.numbers.insert(hash, number);
        number
    }
}

impl Spelled {
    pub(super) fn of(name: &Name) -> Self {
        let Name { class, instance, study, series } = name;
        Self {
            class: class.to_string(),
            study: study.to_string(),
            series: series.to_string(),
            instance: instance.to_string(),
        }
    }

    /// Where it is below a DICOMweb root (PS3.18 table 10.1-1).
    pub(super) fn path(&self) -> String {
        format!("studies/{}/series/{}/instances/{}", self.study, self.series, self.instance)
    }

    /// With UIDs of its own.
    pub(super) fn to_name(&self) -> Option<Name> {
        let uid = |text: &str| Uid::parse(text.as_bytes());
        Some(Name {
            class: uid(&self.class)?,
            instance: uid(&self.instance)?,
            study: uid(&self.study)?,
            series: uid(&self.series)?,
        })
    }
}

/// A byte that says which UIDs are new against `last`, and these.
fn encoded(last: &Spelled, name: Option<&Spelled>) -> Vec<u8> {
    let Some(name) = name else { return vec![0] };
    let mut entry = vec![NAMED];
    for (bit, (old, new)) in (1..).zip([
        (&last.class, &name.class),
        (&last.study, &name.study),
        (&last.series, &name.series),
        (&last.instance, &name.instance),
    ]) {
        if old == new {
            continue;
        }
        if let Some(flags) = entry.first_mut() {
            *flags |= 1 << bit;
        }
        let common = old.bytes().zip(new.bytes()).take_while(|(old, new)| old == new).count();
        let rest = new.as_bytes().get(common..).unwrap_or_default();
        // UIDs have 64 characters at most.
        entry.extend([common, rest.len()].map(|length| u8::try_from(length).unwrap_or_default()));
        let half = |byte: u8| if byte == b'.' { DOT } else { byte & 0xF };
        entry.extend(rest.chunks(2).map(|pair| {
            pair.first().map_or(0, |byte| half(*byte) << 4) | pair.get(1).map_or(0, |byte| half(*byte))
        }));
    }
    entry
}

/// Reads an entry over the name before it; whether it has one.
fn decode(piece: &[u8], offset: &mut usize, name: &mut Spelled) -> Option<bool> {
    let mut read = || {
        let byte = *piece.get(*offset)?;
        *offset += 1;
        Some(byte)
    };
    let flags = read()?;
    for (bit, uid) in (1..).zip([&mut name.class, &mut name.study, &mut name.series, &mut name.instance]) {
        if flags & (1 << bit) == 0 {
            continue;
        }
        let (common, length) = (usize::from(read()?), usize::from(read()?));
        uid.truncate(common);
        for position in (0..length).step_by(2) {
            let pair = read()?;
            for half in [pair >> 4, pair & 0xF].into_iter().take(length - position) {
                uid.push(if half == DOT { '.' } else { char::from(b'0' + half) });
            }
        }
    }
    Some(flags & NAMED != 0)
}

/// The bit of an instance that says which one it is.
const NAMED: u8 = 1;
/// The half of a byte that stands for a dot.
const DOT: u8 = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(class: &str, study: &str, series: &str, instance: &str) -> Name {
        let uid = |text: &str| Uid::parse(text.as_bytes()).unwrap();
        Name { class: uid(class), study: uid(study), series: uid(series), instance: uid(instance) }
    }

    fn read(book: &Book) -> Vec<(Option<Spelled>, Option<Outcome>)> {
        let mut cursor = Cursor::default();
        let mut all = Vec::new();
        while let Some((name, outcome)) = book.next(&mut cursor) {
            all.push((name.cloned(), outcome.cloned()));
        }
        all
    }

    #[test]
    fn a_million_instances_take_thirty_bytes_each() {
        let memory = Memory::new(64 << 20);
        let mut book = Book::new(&memory);
        let random = |number: u128| number.wrapping_mul(0x2545_F491_4F6C_DD1D_9E37_79B9_7F4A_7C15) >> 2;
        for number in 0..100_000 {
            let instance = format!("1.2.826.0.1.3680043.8.498.{:038}", random(number));
            book.push(Some(&name("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.3.4", &instance)));
            book.set(usize::try_from(number).unwrap(), Outcome::STORED);
        }
        assert!(book.bytes() <= 30 * 100_000, "{}", book.bytes());
        assert!(memory.in_use() >= book.bytes() && !book.is_beyond_budget());
        drop(book);
        assert_eq!(memory.in_use(), 0);
    }

    #[test]
    fn what_the_budget_has_no_room_for_is_known() {
        let memory = Memory::new(4096);
        let mut book = Book::new(&memory);
        for number in 0..400_000 {
            book.push(Some(&name("1", "2", "3", &format!("2.{number}"))));
        }
        assert!(book.is_beyond_budget());
    }

    #[test]
    fn words_are_kept_once_and_not_without_end() {
        let mut book = Book::new(&Memory::new(1 << 20));
        for index in 0..40_000 {
            book.push(None);
            let detail = if index < 10 {
                "the same".to_owned()
            } else {
                format!("instance {index} {}", "x".repeat(100))
            };
            book.set(index, Outcome::Failed { reason: 0xA900, detail });
        }
        let all = read(&book);
        assert_eq!((all.len(), book.failed, book.stored), (40_000, 40_000, 0));
        assert_eq!(all[9], (None, Some(Outcome::Failed { reason: 0xA900, detail: "the same".to_owned() })));
        assert_eq!(all[39_999], (None, Some(Outcome::Failed { reason: 0xA900, detail: String::new() })));
        assert!(book.outcomes().len() < 10_000);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            names in prop::collection::vec(
                prop::option::of(("[0-9]{1,3}(\\.[0-9]{1,9}){0,5}", "[0-9]{1,3}(\\.[0-9]{1,9}){0,5}", "1\\.[0-9]{1,38}", "1\\.2\\.[0-9]{1,60}")),
                0..200,
            )
        ) {
            let mut book = Book::new(&Memory::new(1 << 20));
            let names: Vec<Option<Name>> = names.into_iter()
                .map(|uids| uids.map(|(class, study, series, instance)| name(&class, &study, &series, &instance)))
                .collect();
            for name in &names {
                book.push(name.as_ref());
            }
            let expected: Vec<_> = names.iter().map(|name| (name.as_ref().map(Spelled::of), None)).collect();
            prop_assert_eq!(read(&book), expected);
        }
    }
}
