//! What `dicom-encoding` 0.10 needs of the crate `encoding` 0.2, done by `encoding_rs`.
//!
//! `encoding` has had no maintainer for years (RUSTSEC-2021-0153). `Cargo.toml` of the workspace puts this crate in its place,
//! until dicom-rs asks for another; names and signatures are therefore those of `encoding`.

use encoding_rs::{DecoderResult, EncoderResult};
use std::borrow::Cow;

/// The character sets of DICOM (PS3.3 section C.12.1.1.2), by the names they have in `encoding`.
pub mod all {
    use super::Charset;

    /// The first 256 characters of Unicode. The Encoding Standard, and so `encoding_rs`, takes this name for windows-1252.
    pub static ISO_8859_1: Charset = Charset(None);
    /// Central Europe.
    pub static ISO_8859_2: Charset = Charset(Some(&encoding_rs::ISO_8859_2_INIT));
    /// South Europe.
    pub static ISO_8859_3: Charset = Charset(Some(&encoding_rs::ISO_8859_3_INIT));
    /// North Europe.
    pub static ISO_8859_4: Charset = Charset(Some(&encoding_rs::ISO_8859_4_INIT));
    /// Cyrillic.
    pub static ISO_8859_5: Charset = Charset(Some(&encoding_rs::ISO_8859_5_INIT));
    /// Arabic.
    pub static ISO_8859_6: Charset = Charset(Some(&encoding_rs::ISO_8859_6_INIT));
    /// Greek.
    pub static ISO_8859_7: Charset = Charset(Some(&encoding_rs::ISO_8859_7_INIT));
    /// Hebrew.
    pub static ISO_8859_8: Charset = Charset(Some(&encoding_rs::ISO_8859_8_INIT));
    /// Unicode.
    pub static UTF_8: Charset = Charset(Some(&encoding_rs::UTF_8_INIT));
    /// Chinese.
    pub static GB18030: Charset = Charset(Some(&encoding_rs::GB18030_INIT));
    /// Simplified Chinese.
    pub static GBK: Charset = Charset(Some(&encoding_rs::GBK_INIT));
    /// Japanese, which escape sequences switch.
    pub static ISO_2022_JP: Charset = Charset(Some(&encoding_rs::ISO_2022_JP_INIT));
    /// Japanese, as Windows has it.
    pub static WINDOWS_31J: Charset = Charset(Some(&encoding_rs::SHIFT_JIS_INIT));
    /// Thai.
    pub static WINDOWS_874: Charset = Charset(Some(&encoding_rs::WINDOWS_874_INIT));
    /// Korean.
    pub static WINDOWS_949: Charset = Charset(Some(&encoding_rs::EUC_KR_INIT));
}

/// A character set; none is ISO 8859-1.
#[derive(Debug)]
pub struct Charset(Option<&'static encoding_rs::Encoding>);

/// From bytes to text and back.
pub trait Encoding {
    /// The text that `input` stands for; `trap` is asked about what stands for none.
    ///
    /// # Errors
    /// The trap refuses.
    fn decode(&self, input: &[u8], trap: DecoderTrap) -> Result<String, Cow<'static, str>>;

    /// The bytes that stand for `input`.
    ///
    /// # Errors
    /// The character set has not all of its characters.
    fn encode(&self, input: &str, trap: EncoderTrap) -> Result<Vec<u8>, Cow<'static, str>>;
}

/// What is done about bytes that stand for no character.
#[derive(Clone, Copy, Debug)]
pub enum DecoderTrap {
    /// They are an error.
    Strict,
    /// The function gets these bytes, at least one, and writes what it wants instead. If it returns `false`, decoding ends.
    Call(fn(&mut dyn RawDecoder, &[u8], &mut dyn StringWriter) -> bool),
}

/// What is done about a character that the character set does not have.
#[derive(Clone, Copy, Debug)]
pub enum EncoderTrap {
    /// It is an error.
    Strict,
}

/// A decoder as a trap gets it: nothing can be asked of it.
pub trait RawDecoder {}

/// Where a trap writes to.
pub trait StringWriter {
    /// Appends a character.
    fn write_char(&mut self, character: char);
}

impl StringWriter for String {
    fn write_char(&mut self, character: char) {
        self.push(character);
    }
}

struct Opaque;

impl RawDecoder for Opaque {}

/// Room for what a decoder writes at once, and more.
const ROOM: usize = 16;

impl Encoding for Charset {
    fn decode(&self, input: &[u8], trap: DecoderTrap) -> Result<String, Cow<'static, str>> {
        let Some(encoding) = self.0 else { return Ok(encoding_rs::mem::decode_latin1(input).into_owned()) };
        let mut decoder = encoding.new_decoder_without_bom_handling();
        let (mut text, mut at) = (String::new(), 0);
        loop {
            let rest = input.get(at..).unwrap_or_default();
            text.reserve(rest.len() + ROOM);
            let (result, read) = decoder.decode_to_string_without_replacement(rest, &mut text, true);
            at += read;
            let (length, after) = match result {
                // These two are of JIS X 0201 alone. In DICOM its 5C ends a value all the same (PS3.5 section 6.1.2.3).
                DecoderResult::InputEmpty if encoding == encoding_rs::ISO_2022_JP => {
                    return Ok(text.replace('\u{a5}', "\\").replace('\u{203e}', "~"));
                }
                DecoderResult::InputEmpty => return Ok(text),
                DecoderResult::OutputFull => continue,
                DecoderResult::Malformed(length, after) => (usize::from(length), usize::from(after)),
            };
            let end = at.saturating_sub(after);
            let malformed = input.get(end.saturating_sub(length)..end).unwrap_or_default();
            // An escape sequence right after another: valid, and obeyed, but browsers are told to object.
            if matches!(malformed, [0x1b, _, _]) {
                continue;
            }
            let goes_on = match trap {
                DecoderTrap::Strict => false,
                DecoderTrap::Call(trap) => !malformed.is_empty() && trap(&mut Opaque, malformed, &mut text),
            };
            if !goes_on {
                return Err("invalid sequence".into());
            }
        }
    }

    fn encode(&self, input: &str, EncoderTrap::Strict: EncoderTrap) -> Result<Vec<u8>, Cow<'static, str>> {
        let missing = || "unrepresentable character".into();
        let Some(encoding) = self.0 else {
            return input.chars().map(|character| u8::try_from(character).map_err(|_| missing())).collect();
        };
        let mut encoder = encoding.new_encoder();
        let (mut bytes, mut at) = (Vec::new(), 0);
        loop {
            let rest = input.get(at..).unwrap_or_default();
            bytes.reserve(rest.len() + ROOM);
            let (result, read) = encoder.encode_from_utf8_to_vec_without_replacement(rest, &mut bytes, true);
            at += read;
            match result {
                EncoderResult::InputEmpty => return Ok(bytes),
                EncoderResult::OutputFull => {}
                EncoderResult::Unmappable(_) => return Err(missing()),
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
