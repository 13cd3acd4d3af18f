//! A short run on what was damaged: the same at every run, so that what fails once fails again.

use orthanc_testbed::study;

use super::*;

/// How many inputs each target is given.
const CASES: u32 = 3000;
/// What is put in the place of something else.
const ODD: [&[u8]; 12] = [
    b"\r\n--Bo\r\n",
    b"\r\n--Bo--",
    b"\n--Bo\n",
    b"--Bo \t\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\0",
    b"\xFF\xFF\xFF\xFF",
    b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF",
    b"\xFE\xFF\xDD\xE0\x00\x00\x00\x00",
    b"\"\\\",;=",
    b" : ",
];

/// Numbers that only look random (xorshift, G. Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(64) + 1)
    }

    fn damaged(&mut self, whole: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = whole[self.below(whole.len())].clone();
        for _ in 0..=self.below(4) {
            let length = bytes.len();
            match self.below(6) {
                0 => bytes.truncate(self.below(length + 1)),
                1 => {
                    if let Some(byte) = bytes.get_mut(self.below(length)) {
                        *byte ^= 1 << (self.0 % 8);
                    }
                }
                2 => drop(bytes.drain(self.range(length))),
                3 => {
                    let part = bytes[self.range(length)].to_vec();
                    let at = self.below(length + 1);
                    bytes.splice(at..at, part.repeat(1 + self.below(100)));
                }
                _ => {
                    let odd = ODD[self.below(ODD.len())];
                    let range = self.range(length);
                    bytes
                        .splice(range.start..range.end.min(range.start + self.below(9)), odd.iter().copied());
                }
            }
        }
        // What chooses the chunks.
        bytes.insert(0, u8::try_from(self.below(256)).unwrap());
        bytes
    }
}

/// Feeds a target, and gives how often `holds` was true of what it was fed.
fn run(whole: &[Vec<u8>], target: fn(&[u8]), holds: fn(&[u8]) -> bool) -> u32 {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for whole in whole {
        target(&[&[7], whole.as_slice()].concat());
    }
    let mut count = 0;
    for _ in 0..CASES {
        let damaged = dice.damaged(whole);
        target(&damaged);
        count += u32::from(holds(&damaged[1..]));
    }
    count
}

/// The damage is neither so small nor so great that only one outcome is tried.
fn both(count: u32) {
    assert!((CASES / 20..CASES * 19 / 20).contains(&count), "{count} of {CASES}");
}

#[test]
fn damaged_multipart_bodies() {
    let bodies = [
        &b"--Bo\r\nContent-Type: application/dicom\r\nContent-Length: 3\r\n\r\none\r\n--Bo\r\n\r\n\r\n--Bo--"[..],
        b"preamble\r\n--Bo \t\r\nContent-Type: multipart/related;\r\n\ttype=x\r\nA: b\r\n\r\n\r\n--Box\r\n\r\n--Bo--\r\nepilogue",
        b"--Bo\nA: b\n\none\r\n--Bo\n\n--Bo\n\ntwo\n--Bo--\n",
        b"--Bo--",
    ];
    both(run(&bodies.map(<[u8]>::to_vec), multipart, |body| oracle::parts(body, BOUNDARY).1));
}

#[test]
fn damaged_media_types() {
    let values = [
        r#"multipart/related; type="application/dicom"; boundary=0f3cf5c0-70e0"#,
        r#"Multipart/Related;start="<1@x>";charset=utf-8;Boundary="a \"b\"";type=application/dicom"#,
        r#"multipart/related; type="application/dicom"; transfer-syntax=*;q=0.5, */*;q=0.1"#,
        "multipart/related;type=application/dicom;transfer-syntax=1.2.840.10008.1.2.4.50,application/dicom+json",
    ];
    let values = values.map(|value| value.as_bytes().to_vec());
    both(run(
        &values,
        |data| media_type(&data[1..]),
        |value| std::str::from_utf8(value).is_ok_and(|value| boundary_of(value).is_ok()),
    ));
}

#[test]
fn damaged_dicom_files() {
    let study = study::ct(&study::Ct { rows: 4, columns: 4, ..study::Ct::default() }).unwrap();
    let mut files: Vec<Vec<u8>> = study.instances.into_iter().map(|instance| instance.bytes).collect();
    files.extend(crate::dicom_identity::tests::files());
    both(run(&files, dicom_identity, |file| read([file]).0 == Progress::Complete));
}
