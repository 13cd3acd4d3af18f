//! RSA-2048 key pairs made at run time, in the two private-key forms that credential files carry.

use base64::{Engine, engine::general_purpose::STANDARD};
use num_bigint::BigUint;
use num_integer::Integer;
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey},
};
use serde::{Deserialize, Serialize};

/// The public exponent of nearly every RSA key in use, Google's included (RFC 8017 appendix C lists it as F4).
const PUBLIC_EXPONENT: u32 = 65_537;

/// Miller-Rabin rounds: FIPS 186-5 table B.1 asks for four on random 1024-bit candidates.
const PRIMALITY_ROUNDS: usize = 6;

/// A key pair that signs RS256 (RFC 7518 section 3.3). It has no `Debug`: it is a secret.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RsaKey {
    /// Google's `private_key_id`: 40 hexadecimal digits.
    pub(crate) id: String,
    /// PKCS#8 (RFC 5958), what Google puts into service-account keys: `BEGIN PRIVATE KEY`.
    pub(crate) pkcs8_pem: String,
    /// PKCS#1 (RFC 8017 appendix A.1.2), what older tools write: `BEGIN RSA PRIVATE KEY`.
    pub(crate) pkcs1_pem: String,
    /// `RSAPublicKey` in DER (RFC 8017 appendix A.1.1), base64.
    public_key: String,
}

impl RsaKey {
    /// A new key. Fails only when the operating system has no randomness to give.
    pub(crate) fn generate() -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let exponent = BigUint::from(PUBLIC_EXPONENT);
        let one = BigUint::from(1_u32);
        let (p, q) = loop {
            let (one_prime, other) = (prime(&random, &exponent)?, prime(&random, &exponent)?);
            if one_prime != other {
                break if one_prime > other { (one_prime, other) } else { (other, one_prime) };
            }
        };
        let (p1, q1) = (&p - &one, &q - &one);
        let private = exponent.modinv(&p1.lcm(&q1)).ok_or(KeyError::Rejected)?;
        let q_inverse = q.modinv(&p).ok_or(KeyError::Rejected)?;
        let modulus = &p * &q;
        let (dp, dq) = (&private % &p1, &private % &q1);

        let zero = BigUint::from(0_u32);
        let pkcs1 = sequence(
            &[&zero, &modulus, &exponent, &private, &p, &q, &dp, &dq, &q_inverse].map(integer).concat(),
        );
        // rsaEncryption, 1.2.840.113549.1.1.1, with NULL parameters (RFC 8017 appendix A.1).
        let algorithm = [0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
        let pkcs8 = sequence(&[integer(&zero), algorithm.to_vec(), element(4, &pkcs1)].concat());
        RsaKeyPair::from_pkcs8(&pkcs8).map_err(|_| KeyError::Rejected)?;

        let public = sequence(&[integer(&modulus), integer(&exponent)].concat());
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &public);
        Ok(Self {
            id: hex(digest.as_ref()),
            pkcs8_pem: pem("PRIVATE KEY", &pkcs8),
            pkcs1_pem: pem("RSA PRIVATE KEY", &pkcs1),
            public_key: STANDARD.encode(public),
        })
    }

    /// Whether `signature` is this key's RSASSA-PKCS1-v1_5 SHA-256 signature of `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        STANDARD.decode(&self.public_key).is_ok_and(|der| {
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).verify(message, signature).is_ok()
        })
    }

    /// Signs `message` with RS256.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let body: String = self.pkcs8_pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(body).map_err(|_| KeyError::Rejected)?;
        let pair = RsaKeyPair::from_pkcs8(&der).map_err(|_| KeyError::Rejected)?;
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| KeyError::NoRandomness)?;
        Ok(signature)
    }

    /// The base64 lines of both private forms, none of which may ever be seen in a log.
    pub(crate) fn secret_lines(&self) -> impl Iterator<Item = String> {
        let lines = self.pkcs8_pem.lines().chain(self.pkcs1_pem.lines());
        lines.filter(|line| !line.starts_with("-----") && line.len() > 20).map(str::to_owned)
    }
}

/// Why a key could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The operating system's random source failed.
    #[error("the operating system gives no randomness")]
    NoRandomness,
    /// ring refused the key.
    #[error("the RSA key is not one that ring accepts")]
    Rejected,
}

/// `bytes` random bytes, or the error for their absence.
pub(crate) fn random_bytes(bytes: usize) -> Result<Vec<u8>, KeyError> {
    let mut buffer = vec![0; bytes];
    SystemRandom::new().fill(&mut buffer).map_err(|_| KeyError::NoRandomness)?;
    Ok(buffer)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A random 1024-bit prime whose predecessor has no factor in common with `e`, its top two bits set so that the product
/// of two has exactly 2048 bits.
fn prime(random: &SystemRandom, e: &BigUint) -> Result<BigUint, KeyError> {
    let small_primes: Vec<u32> =
        (3..4_000_u32).step_by(2).filter(|n| (3..64).step_by(2).all(|d| d * d > *n || n % d != 0)).collect();
    let mut bytes = [0_u8; 128];
    loop {
        random.fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
        let [first, .., last] = &mut bytes;
        *first |= 0xc0;
        *last |= 1;
        let candidate = BigUint::from_bytes_be(&bytes);
        let divisible = small_primes.iter().any(|p| (&candidate % *p) == BigUint::from(0_u32));
        if !divisible && (&candidate - 1_u32).gcd(e) == BigUint::from(1_u32) && is_prime(&candidate, random)?
        {
            return Ok(candidate);
        }
    }
}

/// Miller-Rabin with random bases (FIPS 186-5 appendix B.3.1). `n` is odd and large.
fn is_prime(n: &BigUint, random: &SystemRandom) -> Result<bool, KeyError> {
    let one = BigUint::from(1_u32);
    let before = n - &one;
    let twos = before.trailing_zeros().unwrap_or(0);
    let odd = &before >> twos;
    for _ in 0..PRIMALITY_ROUNDS {
        let mut bytes = [0_u8; 120];
        random.fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
        let base = BigUint::from_bytes_be(&bytes) + 2_u32;
        let mut power = base.modpow(&odd, n);
        if power == one || power == before {
            continue;
        }
        let mut witness = true;
        for _ in 1..twos {
            power = power.modpow(&BigUint::from(2_u32), n);
            if power == before {
                witness = false;
                break;
            }
        }
        if witness {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A DER INTEGER (X.690 section 8.3).
fn integer(value: &BigUint) -> Vec<u8> {
    let mut bytes = value.to_bytes_be();
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        bytes.insert(0, 0);
    }
    element(2, &bytes)
}

/// A DER SEQUENCE (X.690 section 8.9).
fn sequence(content: &[u8]) -> Vec<u8> {
    element(0x30, content)
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.iter().copied().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    match significant.as_slice() {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            // At most eight bytes of length: the count fits.
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

/// Textual encoding (RFC 7468): base64 in lines of 64.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let mut lines = String::new();
    for (position, character) in STANDARD.encode(der).chars().enumerate() {
        if position > 0 && position % 64 == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_signs_and_verifies_and_no_other_does() {
        let (ours, other) = (RsaKey::generate().unwrap(), RsaKey::generate().unwrap());
        let signature = ours.sign(b"message").unwrap();
        assert!(ours.verifies(b"message", &signature));
        assert!(!ours.verifies(b"massage", &signature));
        assert!(!other.verifies(b"message", &signature));
        assert_ne!(ours.id, other.id);
        assert_eq!(ours.id.len(), 40);
    }

    #[test]
    fn both_private_forms_hold_the_same_key() {
        let key = RsaKey::generate().unwrap();
        let body: String = key.pkcs1_pem.lines().filter(|line| !line.starts_with('-')).collect();
        let pair = RsaKeyPair::from_der(&STANDARD.decode(body).unwrap()).unwrap();
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"m", &mut signature).unwrap();
        assert!(key.verifies(b"m", &signature));
    }
}
