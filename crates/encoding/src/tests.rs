use super::{
    Charset, DecoderTrap, EncoderTrap, Encoding as _, RawDecoder, StringWriter,
    all::{
        GB18030, GBK, ISO_2022_JP, ISO_8859_1, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6,
        ISO_8859_7, ISO_8859_8, UTF_8, WINDOWS_31J, WINDOWS_874, WINDOWS_949,
    },
};

/// A name in each character set, among them those of PS3.5 annexes H to K.
const NAMES: [(&Charset, &str, &[u8]); 15] = [
    (&ISO_8859_1, "Äneas^Rüdiger\u{80}", b"\xc4neas^R\xfcdiger\x80"),
    (&ISO_8859_2, "Dvořák", b"Dvo\xf8\xe1k"),
    (&ISO_8859_3, "Ġorġ", b"\xd5or\xf5"),
    (&ISO_8859_4, "Bērziņš", b"B\xbarzi\xf1\xb9"),
    (&ISO_8859_5, "Люкceмбypг", b"\xbb\xee\xdace\xdc\xd1yp\xd3"),
    (&ISO_8859_6, "قباني^لنزار", b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1"),
    (&ISO_8859_7, "Διονυσιος", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2"),
    (&ISO_8859_8, "שרון^דבורה", b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4"),
    (&UTF_8, "Wang^XiaoDong=王^小东", "Wang^XiaoDong=王^小东".as_bytes()),
    (&GB18030, "王^小东", b"\xcd\xf5^\xd0\xa1\xb6\xab"),
    (&GBK, "张^小东", b"\xd5\xc5^\xd0\xa1\xb6\xab"),
    (&ISO_2022_JP, "山田^太郎", b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
    (&WINDOWS_31J, "ﾔﾏﾀﾞ^ﾀﾛｳ", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3"),
    (&WINDOWS_874, "ไทย", b"\xe4\xb7\xc2"),
    (&WINDOWS_949, "김희중", b"\xb1\xe8\xc8\xf1\xc1\xdf"),
];

/// As `dicom-encoding` does: the first byte, octal.
fn octal(_: &mut dyn RawDecoder, bytes: &[u8], text: &mut dyn StringWriter) -> bool {
    for character in format!("\\{:03o}", bytes[0]).chars() {
        text.write_char(character);
    }
    true
}

fn decode(charset: &Charset, bytes: &[u8]) -> String {
    charset.decode(bytes, DecoderTrap::Call(octal)).unwrap()
}

#[test]
fn names_are_read_and_written_in_each_character_set() {
    for (charset, name, bytes) in NAMES {
        assert_eq!(decode(charset, bytes), name, "{charset:?}");
        assert_eq!(charset.encode(name, EncoderTrap::Strict).unwrap(), bytes, "{charset:?}");
        let (names, all) = (name.repeat(10_000), bytes.repeat(10_000));
        assert!(decode(charset, &all) == names, "{charset:?}");
        assert!(
            decode(charset, &charset.encode(&names, EncoderTrap::Strict).unwrap()) == names,
            "{charset:?}"
        );
    }
}

#[test]
fn what_is_no_text_goes_to_the_trap_and_the_rest_is_read() {
    assert_eq!(decode(&UTF_8, b"a\xffb\xe7\x8e"), "a\\377b\\347");
    assert_eq!(decode(&UTF_8, b"\xef\xbb\xbfa"), "\u{feff}a");
    assert_eq!(decode(&ISO_8859_3, b"\xa5 \xa5"), "\\245 \\245");
    assert_eq!(decode(&WINDOWS_31J, b"\x81"), "\\201");
    assert_eq!(decode(&WINDOWS_31J, b"a\x81\x20b"), "a\\201 b");
    assert_eq!(decode(&GB18030, b"\x81\x30\x81"), "\\201");
    assert_eq!(decode(&ISO_2022_JP, b"\x1b(B\x1b$B;3\x1b%G\x1b(B\x1b"), "山\\033デ\\033");
    let refuse: fn(&mut dyn RawDecoder, &[u8], &mut dyn StringWriter) -> bool = |_, _, _| false;
    assert!(UTF_8.decode(b"a\xff", DecoderTrap::Call(refuse)).is_err());
    assert!(UTF_8.decode(b"a\xff", DecoderTrap::Strict).is_err());
}

#[test]
fn a_backslash_is_one_in_every_state() {
    for escape in ["", "\x1b(B", "\x1b(J"] {
        assert_eq!(decode(&ISO_2022_JP, format!("{escape}A\\B~").as_bytes()), "A\\B~");
    }
    assert_eq!(decode(&WINDOWS_31J, b"\xd4\\\xcf"), "ﾔ\\ﾏ");
}

#[test]
fn any_two_bytes_are_read_to_their_end() {
    for (charset, ..) in NAMES {
        for bytes in 0..=u16::MAX {
            let text = decode(charset, &[&bytes.to_be_bytes()[..], b"\x1b(BZ"].concat());
            assert!(text.ends_with('Z'), "{charset:?} {bytes:04x}: {text:?}");
        }
    }
}

#[test]
fn a_character_that_is_not_there_is_an_error() {
    for (charset, ..) in NAMES {
        let result = charset.encode("a\u{10ffff}", EncoderTrap::Strict);
        assert_eq!(result.is_ok(), [&raw const UTF_8, &raw const GB18030].contains(&&raw const *charset));
    }
    assert!(ISO_8859_1.encode("Ā", EncoderTrap::Strict).is_err());
}
