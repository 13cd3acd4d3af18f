//! Which instance a DICOM file holds, found out while the file passes by (PS3.10 section 7, PS3.5 section 7).
//!
//! [`Reader`] reads the file meta information, and the data set as far as (0020,000E). It passes over all other values without
//! holding them, so that no more of a patient than UIDs is ever in its memory, and never looks at pixel data.

mod element;
mod uid;

use element::{Encoding, Head, ITEM, ITEM_DELIMITATION, Length, SEQUENCE_DELIMITATION, Tag};
pub use uid::Uid;

const MEDIA_STORAGE_SOP_CLASS_UID: Tag = Tag(0x0002, 0x0002);
const MEDIA_STORAGE_SOP_INSTANCE_UID: Tag = Tag(0x0002, 0x0003);
const TRANSFER_SYNTAX_UID: Tag = Tag(0x0002, 0x0010);
const SOP_CLASS_UID: Tag = Tag(0x0008, 0x0016);
const SOP_INSTANCE_UID: Tag = Tag(0x0008, 0x0018);
const STUDY_INSTANCE_UID: Tag = Tag(0x0020, 0x000D);
const SERIES_INSTANCE_UID: Tag = Tag(0x0020, 0x000E);

/// The bytes before `DICM` (PS3.10 section 7.1).
const PREAMBLE: u64 = 128;
/// A longer value is no UID (64 bytes, PS3.5 section 9.1), however much it is padded.
const LONGEST_VALUE: u32 = 128;
/// Sequences and items of undefined length within each other. Real ones have less than ten.
const DEEPEST: usize = 64;
/// What may be read of one file, values that are passed over not counted, in bytes: more than a hundred thousand elements.
const MOST_READ: usize = 1024 * 1024;

/// What is known of an instance. What is missing is not there, is no valid UID, or could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// SOP Class UID (0008,0016), or else (0002,0002).
    pub sop_class_uid: Option<Uid>,
    /// SOP Instance UID (0008,0018), or else (0002,0003).
    pub sop_instance_uid: Option<Uid>,
    /// Study Instance UID (0020,000D).
    pub study_instance_uid: Option<Uid>,
    /// Series Instance UID (0020,000E).
    pub series_instance_uid: Option<Uid>,
    /// Transfer Syntax UID (0002,0010).
    pub transfer_syntax_uid: Option<Uid>,
}

/// How far a [`Reader`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It wants more of the file.
    Reading,
    /// It knows what there is to know: more of the file changes nothing.
    Complete,
    /// It cannot read on: more of the file changes nothing. The instance may still be one that the store takes.
    Unreadable(Unreadable),
}

/// Why a file was not read to the end.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unreadable {
    /// There is no `DICM` after 128 bytes.
    #[error("it is no DICOM file: \"DICM\" is missing after the first 128 bytes")]
    NoPrefix,
    /// The file meta information names no transfer syntax.
    #[error("its file meta information has no valid Transfer Syntax UID (0002,0010)")]
    NoTransferSyntax,
    /// The bytes are no data elements of the transfer syntax.
    #[error("its data elements are not encoded as its transfer syntax says")]
    Encoding,
    /// Sequences lie within each other more than 64 times.
    #[error("its sequences lie too deep within each other")]
    TooDeep,
    /// The UIDs are behind more elements than the reader is willing to read.
    #[error("it has too many data elements before its UIDs")]
    TooLong,
}

/// Reads a DICOM file that is fed to it in pieces of any size, and holds less than 200 bytes of it.
#[derive(Debug)]
pub struct Reader {
    progress: Progress,
    identity: Identity,
    /// So many bytes are passed over first.
    skip: u64,
    /// What the next step is about.
    step: Step,
    /// The bytes of the next step that have come.
    held: Vec<u8>,
    read: usize,
    data_set: Encoding,
    /// What is open, of undefined length: a sequence or an item, with the encoding of what is in it.
    open: Vec<Open>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Prefix,
    /// The first eight bytes of an element.
    Element,
    /// The length that is not among the first eight bytes.
    LongLength(Tag, [u8; 2]),
    Value(Tag, u32),
}

#[derive(Clone, Copy, Debug)]
enum Open {
    Sequence(Encoding),
    Item(Encoding),
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// At the beginning of a file.
    pub fn new() -> Self {
        Self {
            progress: Progress::Reading,
            identity: Identity::default(),
            skip: PREAMBLE,
            step: Step::Prefix,
            held: Vec::new(),
            read: 0,
            data_set: Encoding::ExplicitLittle,
            open: Vec::new(),
        }
    }

    /// Reads on. Once the progress is not [`Progress::Reading`], the rest of the file need not be fed.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Progress {
        while self.progress == Progress::Reading {
            let passed = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
            self.skip -= passed as u64;
            let missing = self.step.length() - self.held.len();
            let rest = bytes.get(passed..).unwrap_or_default();
            let Some((taken, rest)) = rest.split_at_checked(missing).filter(|_| self.skip == 0) else {
                self.held.extend_from_slice(rest);
                break;
            };
            self.held.extend_from_slice(taken);
            bytes = rest;
            let held = std::mem::take(&mut self.held);
            self.read += held.len();
            self.progress = match self.take(&held) {
                Ok(progress) if progress == Progress::Reading && self.read > MOST_READ => {
                    Progress::Unreadable(Unreadable::TooLong)
                }
                Ok(progress) => progress,
                Err(unreadable) => Progress::Unreadable(unreadable),
            };
            self.held = held;
            self.held.clear();
        }
        self.progress
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// What is known so far.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What is known in the end.
    pub fn into_identity(self) -> Identity {
        self.identity
    }

    /// Makes the step whose bytes are complete.
    fn take(&mut self, bytes: &[u8]) -> Result<Progress, Unreadable> {
        match self.step {
            Step::Prefix if bytes == b"DICM" => {
                self.step = Step::Element;
                self.data_set = Encoding::Meta;
                Ok(Progress::Reading)
            }
            Step::Prefix => Err(Unreadable::NoPrefix),
            Step::Element => self.element(bytes),
            Step::LongLength(tag, vr) => {
                let length = self.encoding().length(bytes).ok_or(Unreadable::Encoding)?;
                self.value_follows(tag, Some(vr), length)
            }
            Step::Value(tag, _) => {
                self.step = Step::Element;
                Ok(self.value(tag, bytes))
            }
        }
    }

    fn encoding(&self) -> Encoding {
        match self.open.last() {
            None => self.data_set,
            Some(Open::Sequence(encoding) | Open::Item(encoding)) => *encoding,
        }
    }

    fn element(&mut self, bytes: &[u8]) -> Result<Progress, Unreadable> {
        if self.open.is_empty() && self.data_set == Encoding::Meta && !bytes.starts_with(&[2, 0]) {
            // The file meta information is over. (Its group length is often wrong.)
            let syntax = self.identity.transfer_syntax_uid.as_ref().ok_or(Unreadable::NoTransferSyntax)?;
            self.data_set = Encoding::of(syntax);
        }
        let head = self.encoding().head(bytes).ok_or(Unreadable::Encoding)?;
        if self.open.is_empty() && self.data_set != Encoding::Meta && head.tag() > SERIES_INSTANCE_UID {
            return Ok(Progress::Complete);
        }
        match head {
            Head::Item(tag, length) => self.item(tag, length),
            Head::LongLength(tag, vr) if !matches!(self.open.last(), Some(Open::Sequence(_))) => {
                self.step = Step::LongLength(tag, vr);
                Ok(Progress::Reading)
            }
            Head::Value(tag, vr, length) if !matches!(self.open.last(), Some(Open::Sequence(_))) => {
                self.value_follows(tag, vr, length)
            }
            // A sequence consists of items alone.
            Head::LongLength(..) | Head::Value(..) => Err(Unreadable::Encoding),
        }
    }

    /// An item, or the end of one or of a sequence (PS3.5 section 7.5).
    fn item(&mut self, tag: Tag, length: Length) -> Result<Progress, Unreadable> {
        match (tag, self.open.last().copied(), length) {
            (ITEM, Some(Open::Sequence(_)), Length::Defined(length)) => self.skip = length.into(),
            (ITEM, Some(Open::Sequence(encoding)), Length::Undefined) => self.enter(Open::Item(encoding))?,
            (ITEM_DELIMITATION, Some(Open::Item(_)), _)
            | (SEQUENCE_DELIMITATION, Some(Open::Sequence(_)), _) => drop(self.open.pop()),
            _ => return Err(Unreadable::Encoding),
        }
        Ok(Progress::Reading)
    }

    fn enter(&mut self, open: Open) -> Result<(), Unreadable> {
        if self.open.len() == DEEPEST {
            return Err(Unreadable::TooDeep);
        }
        self.open.push(open);
        Ok(())
    }

    fn value_follows(
        &mut self,
        tag: Tag,
        vr: Option<[u8; 2]>,
        length: Length,
    ) -> Result<Progress, Unreadable> {
        self.step = Step::Element;
        match length {
            Length::Undefined => {
                let encoding = match vr {
                    // An unknown one was once in an implicit VR data set (PS3.5 section 6.2.2, note 2).
                    Some([b'U', b'N']) => Encoding::ImplicitLittle,
                    Some([b'S', b'Q'] | [b'O', b'B' | b'W']) | None => self.encoding(),
                    Some(_) => return Err(Unreadable::Encoding),
                };
                self.enter(Open::Sequence(encoding))?;
            }
            Length::Defined(length) if self.is_wanted(tag) && (1..=LONGEST_VALUE).contains(&length) => {
                self.step = Step::Value(tag, length);
            }
            Length::Defined(length) => {
                self.skip = length.into();
                if tag == SERIES_INSTANCE_UID && self.open.is_empty() {
                    return Ok(Progress::Complete);
                }
            }
        }
        Ok(Progress::Reading)
    }

    fn is_wanted(&self, tag: Tag) -> bool {
        let meta =
            [MEDIA_STORAGE_SOP_CLASS_UID, MEDIA_STORAGE_SOP_INSTANCE_UID, TRANSFER_SYNTAX_UID].contains(&tag);
        let data_set =
            [SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID].contains(&tag);
        self.open.is_empty() && if self.data_set == Encoding::Meta { meta } else { data_set }
    }

    fn value(&mut self, tag: Tag, bytes: &[u8]) -> Progress {
        let uid = Uid::parse(bytes);
        if tag == TRANSFER_SYNTAX_UID && uid.as_ref().is_some_and(Encoding::is_deflated) {
            self.identity.transfer_syntax_uid = uid;
            return Progress::Complete;
        }
        let place = match tag {
            MEDIA_STORAGE_SOP_CLASS_UID | SOP_CLASS_UID => &mut self.identity.sop_class_uid,
            MEDIA_STORAGE_SOP_INSTANCE_UID | SOP_INSTANCE_UID => &mut self.identity.sop_instance_uid,
            STUDY_INSTANCE_UID => &mut self.identity.study_instance_uid,
            SERIES_INSTANCE_UID => &mut self.identity.series_instance_uid,
            _ => &mut self.identity.transfer_syntax_uid,
        };
        if uid.is_some() {
            *place = uid;
        }
        if tag == SERIES_INSTANCE_UID { Progress::Complete } else { Progress::Reading }
    }
}

impl Step {
    /// So many bytes it takes.
    fn length(self) -> usize {
        match self {
            Self::Prefix | Self::LongLength(..) => 4,
            Self::Element => 8,
            // No more than LONGEST_VALUE.
            Self::Value(_, length) => length as usize,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
