//! From one uncompressed transfer syntax to Explicit VR Little Endian. Codecs there are none.

use dicom_encoding::transfer_syntax::{TransferSyntax, TransferSyntaxIndex};
use dicom_object::open_file;
use dicom_transfer_syntax_registry::{TransferSyntaxRegistry, entries::EXPLICIT_VR_LITTLE_ENDIAN};
use std::path::Path;

/// Explicit VR Little Endian, the transfer syntax of answers to clients that ask for none (PS3.18 section 8.7.3.5.2).
pub(crate) const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";

/// Google transcodes files up to this many bytes; here it also bounds memory.
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

/// Whether [`to_explicit_little`] can do it.
pub(crate) fn is_uncompressed(transfer_syntax: &str) -> bool {
    TransferSyntaxRegistry.get(transfer_syntax).is_some_and(TransferSyntax::is_codec_free)
}

/// Writes `from` to `to` in Explicit VR Little Endian. Blocking; the whole instance is in memory while it works.
pub(crate) fn to_explicit_little(
    from: &Path,
    to: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut object = open_file(from)?;
    object.update_meta(|meta| meta.set_transfer_syntax(&EXPLICIT_VR_LITTLE_ENDIAN.erased()));
    object.write_to_file(to)?;
    Ok(())
}
