use orthanc_testbed::study;
use proptest::{collection::vec, prelude::*};

use super::*;

const CLASS: &str = "1.2.840.10008.5.1.4.1.1.2";
const INSTANCE: &str = "1.2.3.4";
const STUDY: &str = "1.2.3";
const SERIES: &str = "1.2.3.5";
const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

/// Writes data elements, by another way than they are read.
#[derive(Clone, Copy)]
struct Syntax {
    explicit: bool,
    big: bool,
}

const LITTLE: Syntax = Syntax { explicit: true, big: false };
const BIG: Syntax = Syntax { explicit: true, big: true };
const IMPLICIT: Syntax = Syntax { explicit: false, big: false };

impl Syntax {
    fn number(self, number: u32, length: usize) -> Vec<u8> {
        let mut bytes = number.to_le_bytes()[..length].to_vec();
        if self.big {
            bytes.reverse();
        }
        bytes
    }

    fn head(self, (group, element): (u16, u16), vr: &str, length: u32) -> Vec<u8> {
        let mut bytes = [self.number(group.into(), 2), self.number(element.into(), 2)].concat();
        let long = ["OB", "OW", "SQ", "UN", "UT"].contains(&vr);
        if self.explicit && group != 0xFFFE {
            bytes.extend_from_slice(vr.as_bytes());
            if long {
                bytes.extend_from_slice(&[0, 0]);
            }
        }
        let short = self.explicit && group != 0xFFFE && !long;
        bytes.extend(self.number(length, if short { 2 } else { 4 }));
        bytes
    }

    fn element(self, tag: (u16, u16), vr: &str, value: &[u8]) -> Vec<u8> {
        [self.head(tag, vr, u32::try_from(value.len()).unwrap()), value.to_vec()].concat()
    }

    fn undefined(self, tag: (u16, u16), vr: &str, items: &[Vec<u8>]) -> Vec<u8> {
        [self.head(tag, vr, u32::MAX), items.concat(), self.element((0xFFFE, 0xE0DD), "", &[])].concat()
    }

    fn item(self, content: &[u8]) -> Vec<u8> {
        self.element((0xFFFE, 0xE000), "", content)
    }

    fn open_item(self, content: &[u8]) -> Vec<u8> {
        let head = self.head((0xFFFE, 0xE000), "", u32::MAX);
        [&head, content, &self.element((0xFFFE, 0xE00D), "", &[])].concat()
    }

    /// Decoys on the way: sequences that hold what is looked for, of every kind.
    fn data_set(self) -> Vec<u8> {
        let decoy = [
            self.element((0x0008, 0x0018), "UI", b"9.9.9.9\0"),
            self.element((0x0020, 0x000E), "UI", b"9.9.9\0"),
            self.element((0x7FE0, 0x0010), "OW", &[1; 40]),
        ]
        .concat();
        let nested = self.undefined((0x0008, 0x1140), "SQ", &[self.open_item(&decoy), self.item(&decoy)]);
        let unknown = IMPLICIT.undefined(
            (0x0009, 0x1002),
            "",
            &[IMPLICIT.open_item(&IMPLICIT.element((0x0020, 0x000D), "UI", b"8.8\0"))],
        );
        [
            self.element((0x0008, 0x0005), "CS", b"ISO_IR 100"),
            self.element((0x0008, 0x0016), "UI", format!("{CLASS}\0").as_bytes()),
            self.element((0x0008, 0x0018), "UI", format!("{INSTANCE}\0").as_bytes()),
            self.element((0x0008, 0x1110), "SQ", &self.item(&decoy)),
            self.undefined((0x0008, 0x1115), "SQ", &[self.open_item(&nested), self.open_item(&[])]),
            self.head((0x0009, 0x1002), "UN", u32::MAX),
            unknown[8..].to_vec(),
            self.undefined((0x0009, 0x1003), "OB", &[self.item(&[]), self.item(&[0xFE; 200])]),
            self.element((0x0009, 0x1004), "UT", &[b'x'; 5000]),
            self.element((0x0010, 0x0010), "PN", b"Secret^Patient"),
            self.element((0x0020, 0x000D), "UI", format!("{STUDY} ").as_bytes()),
            self.element((0x0020, 0x000E), "UI", format!("{SERIES}\0").as_bytes()),
            self.element((0x7FE0, 0x0010), "OW", &[0; 300]),
        ]
        .concat()
    }
}

fn file(transfer_syntax: &str, data_set: &[u8]) -> Vec<u8> {
    let padded = |uid: &str| format!("{uid}{}", if uid.len() % 2 == 1 { "\0" } else { "" }).into_bytes();
    let meta = [
        LITTLE.element((0x0002, 0x0000), "UL", &[200, 0, 0, 0]),
        LITTLE.element((0x0002, 0x0001), "OB", &[0, 1]),
        LITTLE.element((0x0002, 0x0002), "UI", &padded("1.7")),
        LITTLE.element((0x0002, 0x0003), "UI", &padded("1.8")),
        LITTLE.element((0x0002, 0x0010), "UI", &padded(transfer_syntax)),
        LITTLE.element((0x0002, 0x0016), "AE", b"SOMEBODY"),
    ];
    [&[0; 128][..], b"DICM", &meta.concat(), data_set].concat()
}

/// One file of each encoding.
pub(crate) fn files() -> Vec<Vec<u8>> {
    let data_sets = [
        (EXPLICIT_LITTLE, LITTLE.data_set()),
        (IMPLICIT_LITTLE, IMPLICIT.data_set()),
        (EXPLICIT_BIG, BIG.data_set()),
        (DEFLATED, vec![0x02, 0x00, 0x93, 0x17]),
    ];
    data_sets.into_iter().map(|(syntax, data_set)| file(syntax, &data_set)).collect()
}

fn read(file: &[u8], size: usize) -> (Progress, Identity) {
    let mut reader = Reader::new();
    for piece in file.chunks(size) {
        reader.feed(piece);
        assert!(reader.held.capacity() <= 256 && reader.open.len() <= DEEPEST);
    }
    (reader.progress(), reader.into_identity())
}

/// `None` would be a mistake in the test itself.
fn uid(text: &str) -> Option<Uid> {
    let uid = Uid::parse(text.as_bytes());
    assert!(uid.is_some(), "{text}");
    uid
}

fn identity(transfer_syntax: &str) -> Identity {
    Identity {
        sop_class_uid: uid(CLASS),
        sop_instance_uid: uid(INSTANCE),
        study_instance_uid: uid(STUDY),
        series_instance_uid: uid(SERIES),
        transfer_syntax_uid: uid(transfer_syntax),
    }
}

#[test]
fn every_encoding_is_read_in_pieces_of_any_size() {
    for (file, syntax) in files().iter().zip([EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG]) {
        for size in (1..300).chain([file.len()]) {
            assert_eq!(read(file, size), (Progress::Complete, identity(syntax)), "{syntax} by {size}");
        }
    }
    // A compressed transfer syntax is explicit VR little endian before its pixels.
    let jpeg = "1.2.840.10008.1.2.4.50";
    assert_eq!(read(&file(jpeg, &LITTLE.data_set()), 99), (Progress::Complete, identity(jpeg)));
}

#[test]
fn of_a_deflated_file_the_meta_information_counts() {
    let expected = Identity {
        sop_class_uid: uid("1.7"),
        sop_instance_uid: uid("1.8"),
        transfer_syntax_uid: uid(DEFLATED),
        ..Identity::default()
    };
    assert_eq!(read(&files()[3], 10), (Progress::Complete, expected));
}

#[test]
fn real_files_are_read_and_their_pixels_are_not() {
    let study = study::ct(&study::Ct::default()).unwrap();
    for instance in &study.instances {
        let mut reader = Reader::new();
        assert_eq!(reader.feed(&instance.bytes[..instance.bytes.len() - 8192]), Progress::Complete);
        let identity = reader.into_identity();
        assert_eq!(identity.sop_class_uid, uid(CLASS));
        assert_eq!(identity.sop_instance_uid, uid(&instance.uid));
        assert_eq!(identity.study_instance_uid, uid(&study.uid));
        assert_eq!(identity.series_instance_uid, uid(&instance.series_uid));
        assert_eq!(identity.transfer_syntax_uid, uid(EXPLICIT_LITTLE));
    }
}

#[test]
fn what_is_not_there_is_none() {
    let pixels = LITTLE.element((0x7FE0, 0x0010), "OW", &[0; 8]);
    let (progress, identity) = read(&file(EXPLICIT_LITTLE, &pixels), 7);
    assert_eq!(progress, Progress::Complete);
    assert_eq!((identity.sop_instance_uid, identity.study_instance_uid), (uid("1.8"), None));
    // No UID: too long, empty, or a way out of a path.
    for value in [&b"1".repeat(130)[..], b"", b"..", b"1.2\\1.3\0"] {
        let data_set = [
            LITTLE.element((0x0008, 0x0018), "UI", value),
            LITTLE.element((0x0020, 0x000D), "UI", value),
            LITTLE.element((0x0020, 0x000E), "UI", value),
        ];
        let (progress, identity) = read(&file(EXPLICIT_LITTLE, &data_set.concat()), 7);
        assert_eq!(progress, Progress::Complete, "{value:?}");
        assert_eq!((identity.sop_instance_uid, identity.study_instance_uid), (uid("1.8"), None));
        assert_eq!(identity.series_instance_uid, None);
    }
}

#[test]
fn what_cannot_be_read_is_told_and_stops_nothing() {
    let deep = LITTLE.head((0x0008, 0x1110), "SQ", u32::MAX);
    let deep = [deep, LITTLE.head((0xFFFE, 0xE000), "", u32::MAX)].concat().repeat(DEEPEST);
    let long = LITTLE.element((0x0009, 0x0010), "LO", b"").repeat(MOST_READ / 8 + 1);
    let in_a_sequence = [LITTLE.head((0x0008, 0x1110), "SQ", u32::MAX), LITTLE.data_set()].concat();
    for (file, expected) in [
        (b"no file".repeat(100), Unreadable::NoPrefix),
        (file("", &LITTLE.data_set()), Unreadable::NoTransferSyntax),
        (file(EXPLICIT_LITTLE, &IMPLICIT.data_set()), Unreadable::Encoding),
        (file(EXPLICIT_LITTLE, &in_a_sequence), Unreadable::Encoding),
        (file(EXPLICIT_LITTLE, &LITTLE.undefined((0x0008, 0x0050), "UT", &[])), Unreadable::Encoding),
        (file(EXPLICIT_LITTLE, &deep), Unreadable::TooDeep),
        (file(EXPLICIT_LITTLE, &long), Unreadable::TooLong),
    ] {
        for size in [11, file.len()] {
            let (progress, identity) = read(&file, size);
            assert_eq!(progress, Progress::Unreadable(expected));
            // What was known before stays known.
            let known = if expected == Unreadable::NoPrefix { None } else { uid("1.8") };
            assert_eq!(identity.sop_instance_uid, known);
        }
    }
}

#[test]
fn a_file_that_is_not_over_is_still_being_read() {
    let file = &files()[0];
    let (progress, identity) = read(&file[..file.len() - 320], 50);
    assert_eq!((progress, identity.study_instance_uid), (Progress::Reading, uid(STUDY)));
    assert_eq!(read(&[], 1).0, Progress::Reading);
}

proptest! {
    #[test]
    fn garbage_behind_a_header_never_panics(garbage in vec(any::<u8>(), 0..600), size in 1_usize..80, kind in 0_usize..3) {
        let syntax = [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG][kind];
        let file = file(syntax, &garbage);
        prop_assert_eq!(read(&file, size), read(&file, file.len()));
    }

    #[test]
    fn a_value_of_any_length_is_passed_over(length in 0_usize..70_000, size in 1_usize..5000) {
        for (syntax, uid) in [(LITTLE, EXPLICIT_LITTLE), (BIG, EXPLICIT_BIG), (IMPLICIT, IMPLICIT_LITTLE)] {
            let before = syntax.element((0x0008, 0x0001), "UN", &vec![b'x'; length]);
            let file = file(uid, &[before, syntax.data_set()].concat());
            prop_assert_eq!(read(&file, size), (Progress::Complete, identity(uid)));
        }
    }
}
