//! The three studies: a CT, many small instances, a few large ones. Their pixels are noise that nothing compresses.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use orthanc_testbed::{Ct, study};

/// Which study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Size {
    /// 400 instances of 0.5 MB in four series
    Ct,
    /// 2,000 instances of 50 kB in four series
    Small,
    /// 3 instances of 300 MB
    Large,
}

impl Size {
    /// Series, instances in each, and the side of the square image, of two bytes a pixel.
    fn shape(self) -> (usize, usize, u16) {
        match self {
            Self::Ct => (4, 100, 500),
            Self::Small => (4, 500, 158),
            Self::Large => (1, 3, 12_248),
        }
    }
}

/// A study in memory.
pub(super) struct Study {
    /// What it is called in the tables.
    pub(super) name: String,
    pub(super) size: Size,
    /// Study Instance UID.
    pub(super) uid: String,
    pub(super) instances: Vec<Instance>,
}

/// One instance.
pub(super) struct Instance {
    pub(super) uid: String,
    pub(super) series: String,
    /// The file (DICOM PS3.10).
    pub(super) file: Bytes,
}

impl Study {
    /// The study of that size; a quick one has a twentieth of its instances.
    pub(super) fn generate(size: Size, quick: bool) -> Result<Arc<Self>> {
        let (series, each, width) = size.shape();
        let each = if quick { each.div_ceil(20) } else { each };
        // The testbed writes the header; its phantom would compress.
        let seed = 0x0B5E_55ED + size as u64;
        let tiny = study::ct(&Ct { seed, series, instances: each, rows: 1, columns: 1 })?;
        let mut noise = Noise(seed);
        let instances: Vec<Instance> = tiny
            .instances
            .into_iter()
            .map(|tiny| {
                let file = with_pixels(tiny.bytes, width, &mut noise)?.into();
                Ok(Instance { uid: tiny.uid, series: tiny.series_uid, file })
            })
            .collect::<Result<_>>()?;
        let bytes: usize = instances.iter().map(|instance| instance.file.len()).sum();
        let name = format!("{} instances, {} MB", instances.len(), bytes / 1_000_000);
        Ok(Arc::new(Self { name, size, uid: tiny.uid, instances }))
    }

    /// All files together.
    pub(super) fn bytes(&self) -> u64 {
        self.instances.iter().map(|instance| instance.file.len() as u64).sum()
    }

    /// How many bytes and instances each series has.
    pub(super) fn series(&self) -> BTreeMap<&str, (u64, usize)> {
        let mut all = BTreeMap::new();
        for instance in &self.instances {
            let (bytes, count) = all.entry(instance.series.as_str()).or_insert((0, 0));
            *bytes += instance.file.len() as u64;
            *count += 1;
        }
        all
    }
}

/// The file with a square of noise for its one pixel. The pixel data is its last element.
fn with_pixels(mut file: Vec<u8>, side: u16, noise: &mut Noise) -> Result<Vec<u8>> {
    for (element, value) in [(0x0010, side), (0x0011, side), (0x0101, 16), (0x0102, 15)] {
        set(&mut file, element, value).with_context(|| format!("the file lacks (0028,{element:04X})"))?;
    }
    let head = [0xE0, 0x7F, 0x10, 0x00, b'O', b'W', 0, 0];
    let at = file.windows(head.len()).position(|window| window == head).context("the file has no pixels")?;
    let length = 2 * usize::from(side) * usize::from(side);
    file.truncate(at + head.len());
    file.reserve_exact(4 + length);
    file.extend_from_slice(&u32::try_from(length)?.to_le_bytes());
    noise.append(&mut file, length);
    Ok(file)
}

/// Changes an element of group 0028 and VR US, in Explicit VR Little Endian.
fn set(file: &mut [u8], element: u16, value: u16) -> Option<()> {
    let [low, high] = element.to_le_bytes();
    let head = [0x28, 0x00, low, high, b'U', b'S', 2, 0];
    let at = file.windows(head.len()).position(|window| window == head)? + head.len();
    file.get_mut(at..at + 2)?.copy_from_slice(&value.to_le_bytes());
    Some(())
}

/// `xorshift64*` (Vigna 2016), the same on every machine.
struct Noise(u64);

impl Noise {
    fn append(&mut self, file: &mut Vec<u8>, length: usize) {
        let end = file.len() + length;
        while file.len() < end {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            file.extend_from_slice(&self.0.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
        }
        file.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_study_has_the_instances_of_the_real_one_but_fewer() {
        let study = Study::generate(Size::Ct, true).unwrap();
        assert_eq!(study.instances.len(), 20);
        assert_eq!(study.series().len(), 4);
        for instance in &study.instances {
            assert!(instance.file.len() > 500_000 && instance.file.len() < 502_000);
            // (0028,0010) Rows, 500.
            let rows = [0x28, 0, 0x10, 0, b'U', b'S', 2, 0, 0xF4, 0x01];
            assert!(instance.file.windows(rows.len()).any(|window| window == rows));
        }
    }

    #[test]
    fn noise_has_every_byte_about_equally_often() {
        let mut bytes = Vec::new();
        Noise(1).append(&mut bytes, 1 << 20);
        let mut counts = [0_u32; 256];
        for byte in bytes {
            counts[usize::from(byte)] += 1;
        }
        assert!(counts.iter().all(|count| (3_700..4_500).contains(count)), "{counts:?}");
    }
}
