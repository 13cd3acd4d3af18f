//! Reads an RSA key from the text of `private_key`.

use ring::{error::KeyRejected, signature::RsaKeyPair};
use zeroize::Zeroizing;

use crate::credential_file::base64;

/// The algorithm of keys on elliptic curves in PKCS#8 (RFC 5480 section 2.1.1), DER.
const ID_EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ANOTHER_ALGORITHM: &str =
    "it is a key of another algorithm, and Google's service accounts sign with RSA";
const ELLIPTIC: &str = "it is an EC key, and Google's service accounts sign with RSA";
const NO_BLOCK: &str = "there is no whole `-----BEGIN PRIVATE KEY-----` block";
const DAMAGED: &str = "its content is damaged";

/// Reads PKCS#8 (RFC 5958), as Google writes it, or PKCS#1 (RFC 8017): in PEM (RFC 7468), whatever has become of its line ends on
/// the way through environment variables and templates, or in base64.
pub(super) fn rsa_key(text: &str) -> Result<RsaKeyPair, &'static str> {
    let text = text.trim_matches(|letter: char| letter.is_whitespace() || "\"'".contains(letter));
    let Some((label, body)) = block(text) else {
        let decoded = base64(text.as_bytes()).ok_or(NO_BLOCK)?;
        return match std::str::from_utf8(&decoded) {
            Ok(pem) if pem.contains("-----BEGIN") => block(pem).map_or(Err(NO_BLOCK), of_block),
            _ if decoded.starts_with(&[0x30]) => of_der(&decoded),
            _ => Err(NO_BLOCK),
        };
    };
    of_block((label, body))
}

/// Label and body of the first block.
fn block(text: &str) -> Option<(&str, &str)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    Some((label, body))
}

fn of_block((label, body): (&str, &str)) -> Result<RsaKeyPair, &'static str> {
    if label.contains("ENCRYPTED") || body.contains("ENCRYPTED") {
        return Err(
            "the key is encrypted, and there is nowhere to give its password: Google's own are not encrypted",
        );
    }
    match label {
        "PRIVATE KEY" | "RSA PRIVATE KEY" => of_der(&packed(body).ok_or(DAMAGED)?),
        "EC PRIVATE KEY" => Err(ELLIPTIC),
        "OPENSSH PRIVATE KEY" => Err("it is a key of OpenSSH"),
        "CERTIFICATE" => Err("it is a certificate, not a key"),
        _ if label.ends_with("PUBLIC KEY") => Err("it is the public key, not the private one"),
        _ => Err(ANOTHER_ALGORITHM),
    }
}

/// The bytes of a body, whose line ends may be two characters, `\n`, or spaces.
fn packed(body: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut packed = Zeroizing::new(Vec::with_capacity(body.len()));
    let mut letters = body.bytes().peekable();
    while let Some(letter) = letters.next() {
        if letter != b'\\' {
            packed.push(letter);
            continue;
        }
        while letters.next_if_eq(&b'\\').is_some() {}
        letters.next_if(|letter| b"nrt".contains(letter));
    }
    base64(&packed)
}

fn of_der(der: &[u8]) -> Result<RsaKeyPair, &'static str> {
    let outcome = match RsaKeyPair::from_pkcs8(der) {
        // PKCS#1 has no algorithm before the numbers.
        Err(error) if error.to_string() == "InvalidEncoding" => RsaKeyPair::from_der(der),
        outcome => outcome,
    };
    outcome.map_err(|error| rejected(&error, der))
}

/// Why ring does not take a key, for people.
fn rejected(error: &KeyRejected, der: &[u8]) -> &'static str {
    match error.to_string().as_str() {
        "WrongAlgorithm" if der.windows(ID_EC_PUBLIC_KEY.len()).any(|bytes| bytes == ID_EC_PUBLIC_KEY) => {
            ELLIPTIC
        }
        "WrongAlgorithm" => ANOTHER_ALGORITHM,
        "TooSmall" => "it has less than the 2048 bits of Google's keys",
        "TooLarge" => "it has more bits than keys of Google's have",
        _ => DAMAGED,
    }
}
