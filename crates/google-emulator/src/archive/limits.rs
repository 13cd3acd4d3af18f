//! Bounds of what is parsed into memory: the parser follows nested sequences by recursion, and holds every value.

use super::{contents::Reader, header::Unusable};
use dicom_core::{Tag, header::Header as _};
use dicom_encoding::{Codec, transfer_syntax::TransferSyntaxIndex as _};
use dicom_object::FileMetaTable;
use dicom_parser::dataset::{DataToken, read::DataSetReader};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use std::io::{self, BufReader, Read};

/// Sequences within each other. Real objects have fewer than ten; `serde_json`, which reads what is noted of an instance, goes
/// 128 levels deep, of which each sequence takes three.
const DEEPEST: usize = 32;

/// Bytes of all values before the pixel data together. A file of a few kilobytes can announce, or inflate to, gigabytes.
const LARGEST: u64 = 256 << 20;

/// Bytes before the file's `DICM` (PS3.10 section 7.1).
const PREAMBLE: u64 = 128;

/// Reads the structure of the data set before `until`, iteratively and holding one value at a time.
///
/// # Errors
/// It goes beyond the bounds. What cannot be read is no error here: the parser has better words for it.
pub(super) fn check(from: Reader, until: Tag) -> Result<(), Unusable> {
    let mut from = BufReader::new(from);
    if io::copy(&mut (&mut from).take(PREAMBLE), &mut io::sink()).is_err() {
        return Ok(());
    }
    let Ok(meta) = FileMetaTable::from_reader(&mut from) else { return Ok(()) };
    let Some(syntax) = TransferSyntaxRegistry.get(meta.transfer_syntax()) else { return Ok(()) };
    let from: Box<dyn Read> = match syntax.codec() {
        Codec::Dataset(Some(adapter)) => adapter.adapt_reader(Box::new(from)),
        _ => Box::new(from),
    };
    let Ok(tokens) = DataSetReader::new_with_ts(from, syntax) else { return Ok(()) };
    let (mut depth, mut bytes) = (0, 0);
    for token in tokens {
        match token {
            Err(_) => return Ok(()),
            Ok(DataToken::SequenceStart { tag, .. }) if depth == 0 && tag >= until => return Ok(()),
            Ok(DataToken::ElementHeader(header)) if depth == 0 && header.tag() >= until => return Ok(()),
            Ok(DataToken::SequenceStart { .. } | DataToken::PixelSequenceStart) => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(Unusable::TooDeep(DEEPEST));
                }
            }
            Ok(DataToken::SequenceEnd) => depth = depth.saturating_sub(1),
            // Its value has not been read yet.
            Ok(DataToken::ElementHeader(header)) => {
                bytes += u64::from(header.len.get().unwrap_or_default());
                if bytes > LARGEST {
                    return Err(Unusable::TooLarge(LARGEST));
                }
            }
            Ok(_) => {}
        }
    }
    Ok(())
}
