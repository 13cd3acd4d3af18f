//! The beginnings of data elements (PS3.5 section 7.1).

use super::Uid;

/// Group and element number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag(pub(super) u16, pub(super) u16);

pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const ITEM_DELIMITATION: Tag = Tag(0xFFFE, 0xE00D);
pub(super) const SEQUENCE_DELIMITATION: Tag = Tag(0xFFFE, 0xE0DD);

/// Value representations whose length takes two bytes (PS3.5 table 7.1-2).
const SHORT: [&[u8; 2]; 21] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
    b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
];
/// Value representations whose length takes four bytes, after two reserved ones (PS3.5 table 7.1-1).
const LONG: [&[u8; 2]; 13] =
    [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"];

/// How data elements are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// The file meta information: Explicit VR Little Endian (PS3.10 section 7.1).
    Meta,
    ExplicitLittle,
    ExplicitBig,
    ImplicitLittle,
}

/// How long a value is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Defined(u32),
    /// Until a delimitation item comes.
    Undefined,
}

/// What the first eight bytes of an element say.
pub(super) enum Head {
    /// An item or a delimitation item.
    Item(Tag, Length),
    /// The value follows. Without a VR in implicit VR encodings.
    Value(Tag, Option<[u8; 2]>, Length),
    /// The length follows.
    LongLength(Tag, [u8; 2]),
}

impl Head {
    pub(super) fn tag(&self) -> Tag {
        match self {
            Self::Item(tag, _) | Self::Value(tag, ..) | Self::LongLength(tag, _) => *tag,
        }
    }
}

impl Encoding {
    /// The encoding of a data set (PS3.5 section 10 and annex A). What is neither implicit nor big endian is explicit VR little
    /// endian, whatever becomes of its pixels.
    pub(super) fn of(transfer_syntax: &Uid) -> Self {
        match transfer_syntax.as_str() {
            // The second is General Electric's, with big endian pixels.
            "1.2.840.10008.1.2" | "1.2.840.113619.5.2" => Self::ImplicitLittle,
            "1.2.840.10008.1.2.2" => Self::ExplicitBig,
            _ => Self::ExplicitLittle,
        }
    }

    /// Whether the data set is compressed as a whole (PS3.5 section A.5): also the two of JPIP that are.
    pub(super) fn is_deflated(transfer_syntax: &Uid) -> bool {
        ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"]
            .contains(&transfer_syntax.as_str())
    }

    /// Reads the first eight bytes of an element. `None` if they are not the beginning of one.
    pub(super) fn head(self, bytes: &[u8]) -> Option<Head> {
        let &[g0, g1, e0, e1, v0, v1, l0, l1] = bytes.first_chunk()?;
        let tag = Tag(self.u16([g0, g1]), self.u16([e0, e1]));
        let vr = [v0, v1];
        if tag.0 == ITEM.0 {
            Some(Head::Item(tag, self.length(&[v0, v1, l0, l1])?))
        } else if self == Self::ImplicitLittle {
            Some(Head::Value(tag, None, self.length(&[v0, v1, l0, l1])?))
        } else if SHORT.contains(&&vr) {
            Some(Head::Value(tag, Some(vr), Length::Defined(self.u16([l0, l1]).into())))
        } else if LONG.contains(&&vr) {
            Some(Head::LongLength(tag, vr))
        } else {
            None
        }
    }

    /// Reads a length of four bytes.
    pub(super) fn length(self, bytes: &[u8]) -> Option<Length> {
        let bytes = *bytes.first_chunk()?;
        let length =
            if self == Self::ExplicitBig { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        Some(if length == u32::MAX { Length::Undefined } else { Length::Defined(length) })
    }

    fn u16(self, bytes: [u8; 2]) -> u16 {
        if self == Self::ExplicitBig { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }
}
