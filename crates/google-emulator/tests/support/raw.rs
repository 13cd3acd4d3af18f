//! DICOM files put together byte by byte, for what no library writes.

use super::EXPLICIT_LITTLE;

/// An element in Explicit VR Little Endian.
fn element(tag: (u16, u16), vr: [u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
    bytes.extend_from_slice(&vr);
    let length = value.len().next_multiple_of(2);
    if matches!(&vr, b"OB" | b"SQ" | b"UN") {
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    } else {
        bytes.extend_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
    }
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len() + length - value.len(), 0);
    bytes
}

/// A file with the given UIDs' VR and something behind them.
pub(crate) fn raw_file(instance: &str, vr: [u8; 2], rest: &[u8]) -> Vec<u8> {
    let class = b"1.2.840.10008.5.1.4.1.1.7";
    let mut meta = element((2, 1), *b"OB", &[0, 1]);
    meta.extend(element((2, 2), *b"UI", class));
    meta.extend(element((2, 3), *b"UI", instance.as_bytes()));
    meta.extend(element((2, 0x10), *b"UI", EXPLICIT_LITTLE.as_bytes()));
    meta.extend(element((2, 0x12), *b"UI", b"1.2.3"));
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    file.extend(element((2, 0), *b"UL", &u32::try_from(meta.len()).unwrap().to_le_bytes()));
    file.extend(meta);
    file.extend(element((8, 0x16), vr, class));
    file.extend(element((8, 0x18), vr, instance.as_bytes()));
    file.extend(element((0x20, 0x0D), vr, b"1.2.25"));
    file.extend(element((0x20, 0x0E), vr, b"1.2.25.1"));
    file.extend_from_slice(rest);
    file
}

/// Sequences within each other, with or without lengths.
pub(crate) fn nested(levels: usize, have_lengths: bool) -> Vec<u8> {
    let mut inner = Vec::new();
    for _ in 0..levels {
        let mut item = vec![0xFE, 0xFF, 0x00, 0xE0];
        let mut outer = [&0x40_u16.to_le_bytes()[..], &0xA730_u16.to_le_bytes(), b"SQ\0\0"].concat();
        if have_lengths {
            item.extend_from_slice(&u32::try_from(inner.len()).unwrap().to_le_bytes());
            item.extend(inner);
            outer.extend_from_slice(&u32::try_from(item.len()).unwrap().to_le_bytes());
            outer.extend(item);
        } else {
            item.extend_from_slice(&[0xFF; 4]);
            item.extend(inner);
            item.extend_from_slice(&[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0]);
            outer.extend_from_slice(&[0xFF; 4]);
            outer.extend(item);
            outer.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
        }
        inner = outer;
    }
    inner
}
