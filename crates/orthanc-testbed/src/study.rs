//! Generated CT studies: small or large, the same for the same seed, without a patient behind them.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value, value::PixelFragmentSequence};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use crate::Error;

/// What study to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ct {
    /// All UIDs, names and pixels follow from it.
    pub seed: u64,
    /// How many series.
    pub series: usize,
    /// How many instances each series has.
    pub instances: usize,
    /// The height of an image, in pixels.
    pub rows: u16,
    /// The width of an image, in pixels. A pixel takes two bytes.
    pub columns: u16,
}

impl Default for Ct {
    /// Two series of three instances of 64 × 64 pixels: 9 kB each.
    fn default() -> Self {
        Self { seed: 1, series: 2, instances: 3, rows: 64, columns: 64 }
    }
}

/// A generated study.
#[derive(Clone, Debug)]
pub struct Study {
    /// Study Instance UID.
    pub uid: String,
    /// Patient ID.
    pub patient_id: String,
    /// Series Instance UIDs, in the order of their numbers.
    pub series: Vec<String>,
    /// The instances, series by series.
    pub instances: Vec<Instance>,
}

/// A generated instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// SOP Instance UID.
    pub uid: String,
    /// Series Instance UID.
    pub series_uid: String,
    /// The file (DICOM PS3.10), in Explicit VR Little Endian unless it was made with [`Instance::in_syntax`].
    pub bytes: Vec<u8>,
}

/// How a file is encoded (DICOM PS3.5, section 10 and annex A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Explicit VR Little Endian.
    Explicit,
    /// Implicit VR Little Endian.
    Implicit,
    /// JPEG Lossless, Non-Hierarchical, First-Order Prediction: pixel data encapsulated in two fragments.
    Jpeg,
}

impl Syntax {
    /// The Transfer Syntax UID.
    pub fn uid(self) -> &'static str {
        match self {
            Self::Explicit => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            Self::Implicit => uids::IMPLICIT_VR_LITTLE_ENDIAN,
            Self::Jpeg => uids::JPEG_LOSSLESS_SV1,
        }
    }
}

impl Instance {
    /// The same instance in a transfer syntax. To one that is encapsulated its pixels are not really compressed: between
    /// JPEG's first and last marker there are as many bytes as before, which only a decoder would find out.
    ///
    /// # Errors
    /// [`Error::Dicom`] if it cannot be read or written.
    pub fn in_syntax(&self, syntax: Syntax) -> Result<Self, Error> {
        let file = dicom_object::from_reader(self.bytes.as_slice());
        let mut object = file.map_err(|error| Error::Dicom(error.to_string()))?.into_inner();
        if syntax == Syntax::Jpeg {
            let pixels = object.element(tags::PIXEL_DATA).map_err(|error| Error::Dicom(error.to_string()))?;
            let pixels = pixels.to_bytes().map_err(|error| Error::Dicom(error.to_string()))?;
            let image = [&[0xFF, 0xD8], pixels.as_ref(), &[0xFF, 0xD9]].concat();
            // Fragments have an even length (PS3.5, section A.4).
            let fragments = image.chunks((image.len() / 2).next_multiple_of(2)).map(<[u8]>::to_vec);
            let fragments = PixelFragmentSequence::new_fragments(fragments.collect::<Vec<_>>());
            object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, fragments));
        }
        let bytes = written(object, &self.uid, syntax)?;
        Ok(Self { uid: self.uid.clone(), series_uid: self.series_uid.clone(), bytes })
    }
}

/// The file of a CT image.
fn written(object: InMemDicomObject, instance_uid: &str, syntax: Syntax) -> Result<Vec<u8>, Error> {
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
        .media_storage_sop_instance_uid(instance_uid)
        .transfer_syntax(syntax.uid());
    let mut bytes = Vec::new();
    object
        .with_meta(meta)
        .map_err(|error| Error::Dicom(error.to_string()))?
        .write_all(&mut bytes)
        .map_err(|error| Error::Dicom(error.to_string()))?;
    Ok(bytes)
}

impl Study {
    /// The size of all files, in bytes.
    pub fn size(&self) -> usize {
        self.instances.iter().map(|instance| instance.bytes.len()).sum()
    }
}

/// Generates a study of the CT Image IOD (DICOM PS3.3, section A.3) in memory.
///
/// # Errors
/// [`Error::Dicom`] if an object cannot be written.
pub fn ct(ct: &Ct) -> Result<Study, Error> {
    let mut dice = Dice(ct.seed);
    let patient_id = format!("TESTBED-{:08}", dice.next() % 100_000_000);
    let uid = dice.uid();
    let frame_of_reference = dice.uid();
    let series: Vec<String> = (0..ct.series).map(|_| dice.uid()).collect();
    let mut instances = Vec::new();
    for (series_number, series_uid) in (1_u32..).zip(&series) {
        for instance_number in (1_u32..).take(ct.instances) {
            let mut object = InMemDicomObject::new_empty();
            let mut put = |tag: Tag, vr: VR, value: PrimitiveValue| {
                object.put(DataElement::new(tag, vr, value));
            };
            let instance_uid = dice.uid();
            put(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE.into());
            put(tags::SOP_INSTANCE_UID, VR::UI, instance_uid.as_str().into());
            put(tags::STUDY_INSTANCE_UID, VR::UI, uid.as_str().into());
            put(tags::SERIES_INSTANCE_UID, VR::UI, series_uid.as_str().into());
            put(tags::FRAME_OF_REFERENCE_UID, VR::UI, frame_of_reference.as_str().into());
            put(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "".into());

            put(tags::PATIENT_NAME, VR::PN, "Phantom^Generated".into());
            put(tags::PATIENT_ID, VR::LO, patient_id.as_str().into());
            put(tags::PATIENT_BIRTH_DATE, VR::DA, "19700101".into());
            put(tags::PATIENT_SEX, VR::CS, "O".into());
            put(tags::STUDY_DATE, VR::DA, "20240229".into());
            put(tags::STUDY_TIME, VR::TM, "101112".into());
            put(tags::STUDY_ID, VR::SH, "1".into());
            put(tags::STUDY_DESCRIPTION, VR::LO, "Generated CT".into());
            put(
                tags::ACCESSION_NUMBER,
                VR::SH,
                format!("A{}", ct.seed).chars().take(16).collect::<String>().into(),
            );
            put(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "".into());
            put(tags::MODALITY, VR::CS, "CT".into());
            put(tags::MANUFACTURER, VR::LO, "orthanc-testbed".into());
            put(tags::SERIES_NUMBER, VR::IS, series_number.to_string().into());
            put(tags::SERIES_DESCRIPTION, VR::LO, format!("Series {series_number}").into());
            put(tags::PATIENT_POSITION, VR::CS, "HFS".into());

            put(tags::INSTANCE_NUMBER, VR::IS, instance_number.to_string().into());
            put(tags::ACQUISITION_NUMBER, VR::IS, "1".into());
            put(tags::IMAGE_TYPE, VR::CS, dicom_value!(Strs, ["ORIGINAL", "PRIMARY", "AXIAL"]));
            put(tags::KVP, VR::DS, "120".into());
            put(tags::SLICE_THICKNESS, VR::DS, "1".into());
            put(tags::PIXEL_SPACING, VR::DS, dicom_value!(Strs, ["0.7", "0.7"]));
            let position = instance_number.to_string();
            put(tags::IMAGE_POSITION_PATIENT, VR::DS, dicom_value!(Strs, ["0", "0", position]));
            put(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, dicom_value!(Strs, ["1", "0", "0", "0", "1", "0"]));

            put(tags::SAMPLES_PER_PIXEL, VR::US, 1_u16.into());
            put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2".into());
            put(tags::ROWS, VR::US, ct.rows.into());
            put(tags::COLUMNS, VR::US, ct.columns.into());
            put(tags::BITS_ALLOCATED, VR::US, 16_u16.into());
            put(tags::BITS_STORED, VR::US, 12_u16.into());
            put(tags::HIGH_BIT, VR::US, 11_u16.into());
            put(tags::PIXEL_REPRESENTATION, VR::US, 0_u16.into());
            put(tags::RESCALE_INTERCEPT, VR::DS, "-1024".into());
            put(tags::RESCALE_SLOPE, VR::DS, "1".into());
            put(tags::WINDOW_CENTER, VR::DS, "40".into());
            put(tags::WINDOW_WIDTH, VR::DS, "400".into());
            let pixels = phantom(ct, series_number + instance_number, &mut dice);
            put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into()));

            let bytes = written(object, &instance_uid, Syntax::Explicit)?;
            instances.push(Instance { uid: instance_uid, series_uid: series_uid.clone(), bytes });
        }
    }
    Ok(Study { uid, patient_id, series, instances })
}

/// A disc of water with a brighter disc wandering through the slices, under the noise of a real scanner: such
/// pixels do not compress to nothing.
fn phantom(ct: &Ct, slice: u32, dice: &mut Dice) -> Vec<u16> {
    let (rows, columns) = (i64::from(ct.rows), i64::from(ct.columns));
    let size = rows.min(columns);
    let inner = (columns / 2 + size / 8 * (i64::from(slice % 5) - 2), rows / 2);
    let within = |x: i64, y: i64, centre: (i64, i64), radius: i64| {
        (x - centre.0).pow(2) + (y - centre.1).pow(2) < radius.pow(2)
    };
    let mut pixels = Vec::with_capacity(usize::from(ct.rows) * usize::from(ct.columns));
    let mut noise = 0;
    for y in 0..rows {
        for x in 0..columns {
            // Each cast of the dice gives 16 pixels 4 bits of noise each.
            if pixels.len() % 16 == 0 {
                noise = dice.next();
            }
            let grain = (noise & 0xF) as u16;
            noise >>= 4;
            let tissue = if within(x, y, inner, size / 8) {
                1100
            } else if within(x, y, (columns / 2, rows / 2), size * 2 / 5) {
                1024
            } else {
                24
            };
            pixels.push(tissue + grain);
        }
    }
    pixels
}

/// `SplitMix64` (Steele, Lea and Flood 2014): eight lines, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A UID derived from a UUID (DICOM PS3.5, section B.2), here one of version 4.
    fn uid(&mut self) -> String {
        let random = u128::from(self.next()) << 64 | u128::from(self.next());
        let uuid = random & !(0xF << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        format!("2.25.{uuid}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_one_does_not() {
        let one = ct(&Ct::default()).unwrap();
        assert_eq!(one.instances, ct(&Ct::default()).unwrap().instances);
        let other = ct(&Ct { seed: 2, ..Ct::default() }).unwrap();
        assert!(one.instances.iter().all(|instance| !other.instances.contains(instance)));
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        let study = ct(&Ct { seed: 5, series: 2, instances: 2, rows: 10, columns: 20 }).unwrap();
        assert_eq!((study.series.len(), study.instances.len()), (2, 4));
        for instance in &study.instances {
            let object = dicom_object::from_reader(instance.bytes.as_slice()).unwrap();
            assert_eq!(object.meta().transfer_syntax(), uids::EXPLICIT_VR_LITTLE_ENDIAN);
            let text = |tag| object.element(tag).unwrap().to_str().unwrap().into_owned();
            assert_eq!(text(tags::STUDY_INSTANCE_UID), study.uid);
            assert_eq!(text(tags::SERIES_INSTANCE_UID), instance.series_uid);
            assert_eq!(text(tags::SOP_INSTANCE_UID), instance.uid);
            assert_eq!(object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().len(), 10 * 20 * 2);
        }
    }

    #[test]
    fn another_transfer_syntax_has_the_same_data_set() {
        let study = ct(&Ct { seed: 5, series: 1, instances: 1, rows: 11, columns: 20 }).unwrap();
        let instance = &study.instances[0];
        assert_eq!(instance.in_syntax(Syntax::Explicit).unwrap(), *instance);
        for syntax in [Syntax::Implicit, Syntax::Jpeg] {
            let other = instance.in_syntax(syntax).unwrap();
            assert_ne!(other.bytes, instance.bytes);
            let object = dicom_object::from_reader(other.bytes.as_slice()).unwrap();
            assert_eq!(object.meta().transfer_syntax(), syntax.uid());
            let text = |tag| object.element(tag).unwrap().to_str().unwrap().into_owned();
            assert_eq!(text(tags::SOP_INSTANCE_UID), instance.uid);
            assert_eq!(text(tags::STUDY_INSTANCE_UID), study.uid);
            let pixels = object.element(tags::PIXEL_DATA).unwrap();
            match pixels.fragments() {
                Some(fragments) => {
                    assert_eq!(fragments.iter().map(Vec::len).sum::<usize>(), 4 + 11 * 20 * 2);
                    assert!(fragments.iter().all(|fragment| fragment.len() % 2 == 0));
                }
                None => assert_eq!(pixels.to_bytes().unwrap().len(), 11 * 20 * 2),
            }
        }
    }

    #[test]
    fn uids_are_valid_and_differ() {
        let mut dice = Dice(7);
        let uids: HashSet<String> = (0..1000).map(|_| dice.uid()).collect();
        assert_eq!(uids.len(), 1000);
        for uid in uids {
            // DICOM PS3.5, section 9.1: at most 64 characters, no component beginning with 0.
            assert!(uid.len() <= 64, "{uid}");
            let number: u128 = uid.strip_prefix("2.25.").unwrap().parse().unwrap();
            assert_eq!((number >> 76 & 0xF, number >> 62 & 0x3), (4, 2));
        }
    }
}
