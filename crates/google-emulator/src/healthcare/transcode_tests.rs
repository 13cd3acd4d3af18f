//! What is written is held, byte for byte, against `dicom-object`, which does the same in memory.

use super::*;
use bytes::Bytes;
use dicom_core::{
    DataElement, PrimitiveValue, dicom_value,
    value::{DataSetSequence, Value},
};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject, from_reader};

const BIG: &str = "1.2.840.10008.1.2.2";

fn nested(depth: u16) -> InMemDicomObject {
    let mut item = InMemDicomObject::from_element_iter([
        DataElement::new(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, PrimitiveValue::from("1.2.3")),
        DataElement::new(tags::SIMPLE_FRAME_LIST, VR::UL, dicom_value!(U32, [1, 0x0102_0304])),
    ]);
    if depth > 0 {
        let items = vec![nested(depth - 1), InMemDicomObject::new_empty()];
        item.put(DataElement::new(tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, DataSetSequence::from(items)));
    }
    item
}

/// Every width of word, both readings of "US or SS", sequences in sequences and without items, private elements, and
/// something after the pixel data.
fn sample(transfer_syntax: &str, pixel_representation: u16) -> Vec<u8> {
    let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
    let padding = if pixel_representation == 0 {
        DataElement::new(tags::PIXEL_PADDING_VALUE, VR::US, dicom_value!(U16, [0xFE0C]))
    } else {
        DataElement::new(tags::PIXEL_PADDING_VALUE, VR::SS, dicom_value!(I16, [-500]))
    };
    let no_items = Value::Sequence(DataSetSequence::from(Vec::<InMemDicomObject>::new()));
    let object = InMemDicomObject::from_element_iter([
        text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        text(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.2"),
        text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4.5"),
        text(tags::ACCESSION_NUMBER, VR::SH, ""),
        text(tags::PATIENT_NAME, VR::PN, "Größe^Jürgen"),
        DataElement::new(Tag(0x0009, 0x0010), VR::LO, PrimitiveValue::from("OURS")),
        DataElement::new(Tag(0x0009, 0x1001), VR::UN, PrimitiveValue::from(vec![1_u8, 2, 3, 4])),
        DataElement::new(tags::FRAME_INCREMENT_POINTER, VR::AT, dicom_value!(Tags, [tags::ROWS])),
        DataElement::new(tags::RECOMMENDED_DISPLAY_FRAME_RATE_IN_FLOAT, VR::FL, dicom_value!(F32, [1.5])),
        DataElement::new(tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, DataSetSequence::from(vec![nested(3)])),
        DataElement::new(tags::SOURCE_IMAGE_SEQUENCE, VR::SQ, no_items),
        DataElement::new(tags::REVOLUTION_TIME, VR::FD, dicom_value!(F64, [2.25])),
        DataElement::new(tags::ROWS, VR::US, dicom_value!(U16, [2])),
        DataElement::new(tags::PIXEL_REPRESENTATION, VR::US, dicom_value!(U16, [pixel_representation])),
        padding,
        DataElement::new(tags::PIXEL_DATA, VR::OW, dicom_value!(U16, [1, 2, 0x0304, 0xFFFE])),
        DataElement::new(tags::DATA_SET_TRAILING_PADDING, VR::OB, PrimitiveValue::from(vec![0_u8; 6])),
    ]);
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid("1.2.840.10008.5.1.4.1.1.2")
        .media_storage_sop_instance_uid("1.2.3.4.5")
        .transfer_syntax(transfer_syntax);
    let mut bytes = Vec::new();
    object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes
}

fn transcoded(file: &[u8]) -> io::Result<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.dcm");
    std::fs::write(&path, file).unwrap();
    let from = || Reader::File(std::fs::File::open(&path).unwrap());
    let mut written = Vec::new();
    to_explicit_little(from(), &mut written)?;
    assert_eq!(transcoded_length(from()).unwrap(), written.len() as u64);
    let pieces: Vec<Bytes> = file.chunks(7).map(Bytes::copy_from_slice).collect();
    let mut from_memory = Vec::new();
    to_explicit_little(Reader::pieces(&pieces), &mut from_memory)?;
    assert!(from_memory == written);
    Ok(written)
}

fn in_memory(file: &[u8]) -> Vec<u8> {
    let mut object = from_reader(file).unwrap();
    object.update_meta(|meta| meta.set_transfer_syntax(&EXPLICIT_VR_LITTLE_ENDIAN));
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).unwrap();
    bytes
}

#[test]
fn every_uncompressed_syntax_gives_what_dicom_object_gives() {
    for transfer_syntax in [IMPLICIT_LITTLE, BIG, DEFLATED, EXPLICIT_LITTLE] {
        for pixel_representation in [0, 1] {
            let file = sample(transfer_syntax, pixel_representation);
            let written = transcoded(&file).unwrap();
            assert!(written == in_memory(&file), "{transfer_syntax} {pixel_representation}");
            assert!(written == sample(EXPLICIT_LITTLE, pixel_representation), "{transfer_syntax}");
        }
    }
}

/// A file of Implicit VR Little Endian with `data_set` as it is written here.
fn implicit(data_set: &[&[u8]]) -> Vec<u8> {
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid("1.2")
        .media_storage_sop_instance_uid("1.3")
        .transfer_syntax(IMPLICIT_LITTLE);
    let mut bytes = Vec::new();
    InMemDicomObject::new_empty().with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes.extend(data_set.concat());
    bytes
}

/// The data set in `file`.
fn data_set(file: &[u8]) -> &[u8] {
    let mut rest = &file[128..];
    FileMetaTable::from_reader(&mut rest).unwrap();
    rest
}

#[test]
fn sequences_with_lengths_lose_them_and_group_lengths_go() {
    let file = implicit(&[
        b"\x08\x00\x00\x00\x04\0\0\0\x99\0\0\0",
        // Referenced Image Sequence of 26 bytes: one item of 18, which holds a sequence of undefined length, empty.
        b"\x08\x00\x40\x11\x1a\0\0\0",
        b"\xfe\xff\x00\xe0\x12\0\0\0",
        b"\x08\x00\x55\x11\x02\0\0\x001\0",
        b"\x08\x00\x50\x00\0\0\0\0",
        // A private sequence.
        b"\x09\x00\x02\x10\xff\xff\xff\xff",
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
        b"\x08\x00\x60\x00\x02\0\0\0MR",
        b"\xfe\xff\x0d\xe0\0\0\0\0",
        b"\xfe\xff\xdd\xe0\0\0\0\0",
    ]);
    let expected = [
        &b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"[..],
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
        b"\x08\x00\x55\x11UI\x02\x001\0",
        b"\x08\x00\x50\x00SH\0\0",
        b"\xfe\xff\x0d\xe0\0\0\0\0",
        b"\xfe\xff\xdd\xe0\0\0\0\0",
        b"\x09\x00\x02\x10SQ\0\0\xff\xff\xff\xff",
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
        b"\x08\x00\x60\x00CS\x02\0MR",
        b"\xfe\xff\x0d\xe0\0\0\0\0",
        b"\xfe\xff\xdd\xe0\0\0\0\0",
    ];
    assert_eq!(data_set(&transcoded(&file).unwrap()), expected.concat());
}

#[test]
fn a_text_too_long_for_its_explicit_header_becomes_unknown() {
    let text = vec![b'1'; 70_000];
    let length = 70_000_u32.to_le_bytes();
    let file = implicit(&[b"\x28\x00\x30\x00", &length, &text]);
    let expected = [&b"\x28\x00\x30\x00UN\0\0"[..], &length, &text].concat();
    assert!(data_set(&transcoded(&file).unwrap()) == expected);
}

#[test]
fn what_is_damaged_is_refused() {
    let item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff";
    for (data_set, says) in [
        (&[&b"\x08\x00\x60\x00\x09\0\0\0MR"[..]][..], "end of file"),
        (&[b"\x08\x00\x60"], ""),
        (&[b"\x08\x00\x40\x11\xff\xff\xff\xff"], ""),
        (&[b"\x08\x00\x40\x11\x0a\0\0\0", item, b"\x08\x00\x60\x00\x02\0\0\0MR"], "reaches past the end"),
        (&[b"\xe0\x7f\x10\x00\xff\xff\xff\xff", item], "has no length"),
        (&[b"\xfe\xff\x0d\xe0\0\0\0\0"], "a delimiter of nothing"),
        (&[b"\xfe\xff\xdd\xe0\0\0\0\0"], "an item outside a sequence"),
    ] {
        let error = transcoded(&implicit(data_set)).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn no_depth_of_nesting_is_too_much() {
    let level = b"\x08\x00\x40\x11\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff";
    let end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0";
    let file = implicit(&[&level.repeat(100_000), &end.repeat(100_000)]);
    assert_eq!(data_set(&transcoded(&file).unwrap()).len(), 100_000 * (12 + 8 + 8 + 8));
}
