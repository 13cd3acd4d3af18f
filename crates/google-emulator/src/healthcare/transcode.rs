//! From one uncompressed transfer syntax to Explicit VR Little Endian, element by element: a value of any length passes
//! through without being held. Codecs there are none.

use crate::archive::Reader;
use dicom_core::{
    Tag, VR,
    dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr},
    header::{DataElementHeader, HasLength, Header, Length, SequenceItemHeader},
};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_encoding::{
    Codec, Encode, Endianness,
    encode::explicit_le::ExplicitVRLittleEndianEncoder,
    transfer_syntax::{DynDecoder, TransferSyntax, TransferSyntaxIndex},
};
use dicom_object::FileMetaTable;
use dicom_transfer_syntax_registry::{TransferSyntaxRegistry, entries::EXPLICIT_VR_LITTLE_ENDIAN};
use std::io::{self, BufRead, BufReader, Read, Write};

/// Explicit VR Little Endian, the transfer syntax of answers to clients that ask for none (PS3.18 section 8.7.3.5.2).
pub(crate) const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";

/// Google transcodes files up to this many bytes.
pub(crate) const LARGEST_FILE: u64 = 1 << 30;

/// What Google can transcode to; asking for anything else is not acceptable to it.
const TARGETS: [&str; 18] = [
    EXPLICIT_LITTLE,
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.4.111",
    "1.2.840.10008.1.2.4.112",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.204",
];

/// Whether Google takes `transfer_syntax` as a target at all.
pub(crate) fn is_target(transfer_syntax: &str) -> bool {
    TARGETS.contains(&transfer_syntax)
}

/// Deflated Explicit VR Little Endian: what is inflated is the data set as it is wanted.
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

/// The one syntax without VRs.
const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";

/// PS3.5 section 7.5.
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_DELIMITER: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_DELIMITER: Tag = Tag(0xFFFE, 0xE0DD);

/// Bytes before the file's `DICM` (PS3.10 section 7.1).
const PREAMBLE: u64 = 128;

/// Bytes of a value that are held at a time; a multiple of every word.
const PIECE: u64 = 64 * 1024;

/// Whether [`to_explicit_little`] can do it.
pub(crate) fn is_uncompressed(transfer_syntax: &str) -> bool {
    transfer_syntax == DEFLATED
        || TransferSyntaxRegistry.get(transfer_syntax).is_some_and(TransferSyntax::is_codec_free)
}

/// How many bytes [`to_explicit_little`] will write. Blocking.
///
/// # Errors
/// The file cannot be read, or is no such instance: nothing of it need be sent then.
pub(crate) fn transcoded_length(from: Reader) -> io::Result<u64> {
    let mut counter = Counter(0);
    to_explicit_little(from, &mut counter)?;
    Ok(counter.0)
}

/// Writes the instance in `from` to `to` in Explicit VR Little Endian. Blocking.
///
/// Values stay as they are but for the order of their bytes. Sequences and items get undefined lengths, since the lengths of
/// what they hold change, and group lengths, which would be wrong and are retired, are left out (PS3.5 sections 7.2 and 7.5).
///
/// # Errors
/// The file cannot be read or is no such instance, or `to` takes no more.
pub(crate) fn to_explicit_little(from: Reader, to: &mut impl Write) -> io::Result<()> {
    let mut from = BufReader::new(from);
    io::copy(&mut (&mut from).take(PREAMBLE), to)?;
    let mut meta = FileMetaTable::from_reader(&mut from).map_err(invalid)?;
    let stored = TransferSyntaxRegistry
        .get(meta.transfer_syntax())
        .ok_or_else(|| invalid("its transfer syntax is not known"))?;
    meta.set_transfer_syntax(&EXPLICIT_VR_LITTLE_ENDIAN);
    meta.update_information_group_length();
    to.write_all(b"DICM")?;
    meta.write(&mut *to).map_err(invalid)?;
    if let Codec::Dataset(Some(adapter)) = stored.codec() {
        io::copy(&mut adapter.adapt_reader(Box::new(from)), to)?;
        return Ok(());
    }
    let decoder = stored.decoder_for().ok_or_else(|| invalid("its transfer syntax cannot be read"))?;
    let data_set = DataSet {
        from,
        position: 0,
        decoder,
        is_implicit: stored.uid() == IMPLICIT_LITTLE,
        swaps: stored.endianness() == Endianness::Big,
        to,
        encoder: ExplicitVRLittleEndianEncoder::default(),
        open: Vec::new(),
        signed_pixels: false,
        piece: Vec::new(),
    };
    data_set.copy()
}

/// A sequence or item that has begun and not ended.
struct Open {
    is_sequence: bool,
    /// The position of its end; none where a delimiter ends it.
    end: Option<u64>,
    /// The end of the innermost that has one, this or one around it.
    limit: u64,
}

struct DataSet<'a, W> {
    from: BufReader<Reader>,
    /// Bytes read of the data set.
    position: u64,
    decoder: DynDecoder<BufReader<Reader>>,
    is_implicit: bool,
    swaps: bool,
    to: &'a mut W,
    encoder: ExplicitVRLittleEndianEncoder,
    /// From the outermost to the innermost: a stack of our own, which no file can make overflow.
    open: Vec<Open>,
    /// Whether `PixelRepresentation` said so: "US or SS" in the dictionary means SS then.
    signed_pixels: bool,
    piece: Vec<u8>,
}

impl<W: Write> DataSet<'_, W> {
    fn copy(mut self) -> io::Result<()> {
        loop {
            match self.open.last() {
                Some(open) if self.position > open.limit => {
                    return Err(invalid("an element reaches past the end of its item or sequence"));
                }
                Some(open) if open.end == Some(self.position) => self.close()?,
                Some(open) if open.is_sequence => self.item()?,
                None if self.from.fill_buf()?.is_empty() => return Ok(()),
                Some(_) | None => self.element()?,
            }
        }
    }

    /// What stands directly in a sequence.
    fn item(&mut self) -> io::Result<()> {
        let header = self.decoder.decode_item_header(&mut self.from).map_err(invalid)?;
        self.position += 8;
        match header {
            SequenceItemHeader::Item { len } => {
                self.encoder.encode_item_header(&mut *self.to, Length::UNDEFINED.0).map_err(invalid)?;
                self.open(false, len);
                Ok(())
            }
            SequenceItemHeader::SequenceDelimiter => self.close_delimited(true),
            SequenceItemHeader::ItemDelimiter => Err(invalid("a delimiter of no item")),
        }
    }

    fn element(&mut self) -> io::Result<()> {
        let (header, read) = self.decoder.decode_header(&mut self.from).map_err(invalid)?;
        self.position += read as u64;
        let (tag, length) = (header.tag(), header.length());
        match tag {
            ITEM_DELIMITER => return self.close_delimited(false),
            ITEM | SEQUENCE_DELIMITER => return Err(invalid("an item outside a sequence")),
            _ => {}
        }
        // Without a VR, a private sequence shows by its undefined length alone (PS3.5 section 6.2.2).
        let is_sequence =
            header.vr() == VR::SQ || (self.is_implicit && header.vr() == VR::UN && length.is_undefined());
        if is_sequence {
            self.header(DataElementHeader::new(tag, VR::SQ, Length::UNDEFINED))?;
            self.open(true, length);
            return Ok(());
        }
        let Some(length) = length.get() else {
            return Err(invalid(format!("{tag} has no length, which its transfer syntax does not allow")));
        };
        if tag.element() == 0 {
            return self.value(length, 1, Fate::Dropped);
        }
        let vr = if self.is_implicit { self.vr(tag, header.vr()) } else { header.vr() };
        // PS3.5 section 6.2.2: as UN, whose length has 32 bits.
        let vr = if is_short(vr) && u16::try_from(length).is_err() { VR::UN } else { vr };
        self.header(DataElementHeader::new(tag, vr, Length(length)))?;
        self.value(length, if self.swaps { word(header.vr()) } else { 1 }, Fate::Written)?;
        if tag == tags::PIXEL_REPRESENTATION {
            self.signed_pixels = self.piece.iter().any(|byte| *byte != 0);
        }
        Ok(())
    }

    /// The dictionary's VR, made one of those that it leaves open.
    fn vr(&self, tag: Tag, known: VR) -> VR {
        let is_open =
            |tag| StandardDataDictionary.by_tag(tag).is_some_and(|entry| entry.vr() == VirtualVr::Xs);
        if self.signed_pixels && is_open(tag) { VR::SS } else { known }
    }

    fn header(&mut self, header: DataElementHeader) -> io::Result<()> {
        self.encoder.encode_element_header(&mut *self.to, header).map_err(invalid)?;
        Ok(())
    }

    /// Passes a value on, with the bytes of every word of so many in the other order.
    fn value(&mut self, length: u32, word: usize, fate: Fate) -> io::Result<()> {
        let mut left = u64::from(length);
        self.position += left;
        while left > 0 {
            self.piece.clear();
            let read = (&mut self.from).take(left.min(PIECE)).read_to_end(&mut self.piece)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= read as u64;
            if word > 1 {
                self.piece.chunks_exact_mut(word).for_each(<[u8]>::reverse);
            }
            if fate == Fate::Written {
                self.to.write_all(&self.piece)?;
            }
        }
        Ok(())
    }

    fn open(&mut self, is_sequence: bool, length: Length) {
        let end = length.get().map(|length| self.position + u64::from(length));
        let around = self.open.last().map_or(u64::MAX, |open| open.limit);
        self.open.push(Open { is_sequence, end, limit: end.map_or(around, |end| end.min(around)) });
    }

    /// At a delimiter in the file, which ends only what has no length.
    fn close_delimited(&mut self, is_sequence: bool) -> io::Result<()> {
        match self.open.last() {
            Some(Open { end: None, is_sequence: innermost, .. }) if *innermost == is_sequence => self.close(),
            _ => Err(invalid("a delimiter of nothing")),
        }
    }

    fn close(&mut self) -> io::Result<()> {
        match self.open.pop() {
            Some(Open { is_sequence: true, .. }) => self.encoder.encode_sequence_delimiter(&mut *self.to),
            _ => self.encoder.encode_item_delimiter(&mut *self.to),
        }
        .map_err(invalid)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Written,
    Dropped,
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        // Only what was deflated grows so much.
        if self.0 > 2 * LARGEST_FILE {
            return Err(invalid("it inflates to more than 2 GiB"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of the words that the byte order turns round (PS3.5 section 7.3).
fn word(vr: VR) -> usize {
    match vr {
        VR::AT | VR::OW | VR::SS | VR::US => 2,
        VR::FL | VR::OF | VR::OL | VR::SL | VR::UL => 4,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        _ => 1,
    }
}

/// Whether the length has 16 bits in an explicit header (PS3.5 table 7.1-2).
fn is_short(vr: VR) -> bool {
    use VR::{AE, AS, AT, CS, DA, DS, DT, FD, FL, IS, LO, LT, PN, SH, SL, SS, ST, TM, UI, UL, US};
    matches!(
        vr,
        AE | AS
            | AT
            | CS
            | DA
            | DS
            | DT
            | FD
            | FL
            | IS
            | LO
            | LT
            | PN
            | SH
            | SL
            | SS
            | ST
            | TM
            | UI
            | UL
            | US
    )
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
#[path = "transcode_tests.rs"]
mod tests;
