//! A DICOM instance for trying a store: a Secondary Capture Image (PS3.3 section A.8.1) of noise, of nobody.

use google_credentials::World;

/// Rows and columns. With one byte a pixel it comes to 900 kB: enough to tell a fast line from a slow one.
const SIZE: u16 = 960;
/// Secondary Capture Image Storage (PS3.4 section B.5).
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
/// Explicit VR Little Endian (PS3.5 section A.2).
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
/// Who wrote the file (PS3.10 section 7.1): a UID of our own, derived from a UUID.
const IMPLEMENTATION: &str = "2.25.61792148102208590412807905688269367240";

/// An instance under UIDs that were never used before.
pub(crate) struct Instance {
    /// The file (PS3.10).
    pub(crate) file: Vec<u8>,
    /// Study Instance UID.
    pub(crate) study: String,
    /// Series Instance UID.
    pub(crate) series: String,
    /// SOP Instance UID.
    pub(crate) sop: String,
}

impl Instance {
    /// Generates one.
    pub(crate) fn generate(world: &dyn World) -> Self {
        let [study, series, sop] = [(); 3].map(|()| uid(world));
        let mut file = vec![0; 128];
        file.extend_from_slice(b"DICM");
        let mut meta = DataSet::default();
        meta.bytes(0x0002, 0x0001, "OB", &[0, 1]);
        meta.uid(0x0002, 0x0002, SECONDARY_CAPTURE);
        meta.uid(0x0002, 0x0003, &sop);
        meta.uid(0x0002, 0x0010, EXPLICIT_LITTLE_ENDIAN);
        meta.uid(0x0002, 0x0012, IMPLEMENTATION);
        let mut length = DataSet::default();
        length.bytes(0x0002, 0x0000, "UL", &u32::try_from(meta.0.len()).unwrap_or(u32::MAX).to_le_bytes());
        file.extend(length.0);
        file.extend(meta.0);
        file.extend(image(&study, &series, &sop).0);
        Self { file, study, series, sop }
    }
}

/// The mandatory attributes of the modules Patient, General Study, General Series, SC Equipment, General Image, Image
/// Pixel and SOP Common; those that may be empty are.
fn image(study: &str, series: &str, sop: &str) -> DataSet {
    let mut set = DataSet::default();
    set.uid(0x0008, 0x0016, SECONDARY_CAPTURE);
    set.uid(0x0008, 0x0018, sop);
    set.text(0x0008, 0x0020, "DA", "");
    set.text(0x0008, 0x0030, "TM", "");
    set.text(0x0008, 0x0050, "SH", "");
    set.text(0x0008, 0x0060, "CS", "OT");
    // Workstation.
    set.text(0x0008, 0x0064, "CS", "WSD");
    set.text(0x0008, 0x0090, "PN", "");
    set.text(0x0010, 0x0010, "PN", "ORTHANC-GCP^CHECK");
    set.text(0x0010, 0x0020, "LO", "ORTHANC-GCP-CHECK");
    set.text(0x0010, 0x0030, "DA", "");
    set.text(0x0010, 0x0040, "CS", "");
    set.uid(0x0020, 0x000d, study);
    set.uid(0x0020, 0x000e, series);
    set.text(0x0020, 0x0010, "SH", "");
    set.text(0x0020, 0x0011, "IS", "1");
    set.text(0x0020, 0x0013, "IS", "1");
    set.text(0x0020, 0x0020, "CS", "");
    set.text(0x0020, 0x0060, "CS", "");
    set.number(0x0028, 0x0002, 1);
    set.text(0x0028, 0x0004, "CS", "MONOCHROME2");
    set.number(0x0028, 0x0010, SIZE);
    set.number(0x0028, 0x0011, SIZE);
    set.number(0x0028, 0x0100, 8);
    set.number(0x0028, 0x0101, 8);
    set.number(0x0028, 0x0102, 7);
    set.number(0x0028, 0x0103, 0);
    set.bytes(0x7fe0, 0x0010, "OB", &noise(usize::from(SIZE) * usize::from(SIZE)));
    set
}

/// Data elements in Explicit VR Little Endian (PS3.5 section 7.1.2).
#[derive(Default)]
struct DataSet(Vec<u8>);

impl DataSet {
    fn text(&mut self, group: u16, element: u16, vr: &str, value: &str) {
        self.padded(group, element, vr, value, b' ');
    }

    fn uid(&mut self, group: u16, element: u16, value: &str) {
        self.padded(group, element, "UI", value, 0);
    }

    fn number(&mut self, group: u16, element: u16, value: u16) {
        self.bytes(group, element, "US", &value.to_le_bytes());
    }

    /// Values have an even length.
    fn padded(&mut self, group: u16, element: u16, vr: &str, value: &str, padding: u8) {
        let mut value = value.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(padding);
        }
        self.bytes(group, element, vr, &value);
    }

    fn bytes(&mut self, group: u16, element: u16, vr: &str, value: &[u8]) {
        self.0.extend(group.to_le_bytes());
        self.0.extend(element.to_le_bytes());
        self.0.extend(vr.as_bytes());
        if vr == "OB" {
            self.0.extend([0, 0]);
            self.0.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        } else {
            self.0.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
        }
        self.0.extend(value);
    }
}

/// A UID derived from a random UUID (PS3.5 section B.2, RFC 9562 section 5.4).
fn uid(world: &dyn World) -> String {
    // Four dice of 32 bits; the cast of a number below 2^32 loses nothing.
    let random_bits = || u128::from(bits(world.dice()));
    let random = (random_bits() << 96) | (random_bits() << 64) | (random_bits() << 32) | random_bits();
    let of_nobody = random & !(0xf << 76) & !(0x3 << 62);
    // Version 4, variant of RFC 9562.
    let uuid = of_nobody | (0x4 << 76) | (0x2 << 62);
    format!("2.25.{uuid}")
}

/// The first 32 bits behind the point.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "dice lie in 0.0..1.0")]
fn bits(dice: f64) -> u32 {
    (dice * 4_294_967_296.0) as u32
}

/// Bytes that no compression on the way makes shorter (xorshift; Marsaglia 2003).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let [byte, ..] = state.to_le_bytes();
        byte
    };
    (0..length).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dicom_dictionary_std::tags;
    use google_credentials::Outside;
    use orthanc_gcp_configuration::Configuration;

    use super::*;

    #[test]
    fn what_is_generated_is_dicom() {
        let world = Outside::new(Configuration::default().http);
        let generated = Instance::generate(&world);
        let read = dicom_object::from_reader(generated.file.as_slice()).unwrap();
        let text = |tag| read.element(tag).unwrap().to_str().unwrap().into_owned();
        assert_eq!(text(tags::SOP_CLASS_UID), SECONDARY_CAPTURE);
        assert_eq!(text(tags::SOP_INSTANCE_UID), generated.sop);
        assert_eq!(text(tags::SERIES_INSTANCE_UID), generated.series);
        assert_eq!(text(tags::STUDY_INSTANCE_UID), generated.study);
        let meta = read.meta();
        assert_eq!(meta.media_storage_sop_instance_uid.trim_end_matches('\0'), generated.sop);
        assert_eq!(meta.transfer_syntax(), EXPLICIT_LITTLE_ENDIAN);
        let number = |tag| read.element(tag).unwrap().to_int::<usize>().unwrap();
        let pixels = read.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap();
        assert_eq!(pixels.len(), number(tags::ROWS) * number(tags::COLUMNS));
        // Written again by somebody else it is the same: the elements are in order, and their lengths even.
        let mut again = Vec::new();
        read.write_dataset(&mut again).unwrap();
        assert!(generated.file.ends_with(&again), "the data set differs");
    }

    #[test]
    fn uids_are_new_and_derived_from_uuids() {
        let world = Outside::new(Configuration::default().http);
        let uids: BTreeSet<_> = (0..100).map(|_| uid(&world)).collect();
        assert_eq!(uids.len(), 100);
        for uid in uids {
            let uuid: u128 = uid.strip_prefix("2.25.").unwrap().parse().unwrap();
            assert_eq!((uuid >> 76 & 0xf, uuid >> 62 & 0x3), (4, 2), "{uid}");
            // PS3.5 section 9.1.
            assert!(uid.len() <= 64, "{uid}");
        }
    }
}
