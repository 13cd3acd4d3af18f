//! The algorithms by which signatures of servers and CAs are verified: ring's, and ECDSA on P-521, which ring has not.
//!
//! Proxies that open TLS have such CAs, and Orthanc's libcurl takes them. Nothing is signed here, so that no secret is at
//! stake, and what is slow about it does not matter for a handshake an hour.

use p521::ecdsa::{DerSignature, VerifyingKey, signature::hazmat::PrehashVerifier};
use ring::digest::{self, SHA256, SHA384, SHA512};
use rustls::{
    SignatureScheme,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring as provider_of_ring},
    pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id},
};
use webpki::ring as algorithms;

/// ring's provider with these algorithms.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider { signature_verification_algorithms: ALGORITHMS, ..provider_of_ring::default_provider() }
}

/// The same as rustls' for ring, and P-521 wherever another curve of NIST is.
const ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        algorithms::ECDSA_P256_SHA256,
        algorithms::ECDSA_P256_SHA384,
        algorithms::ECDSA_P384_SHA256,
        algorithms::ECDSA_P384_SHA384,
        P521_SHA256,
        P521_SHA384,
        P521_SHA512,
        algorithms::ED25519,
        algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        algorithms::RSA_PKCS1_2048_8192_SHA256,
        algorithms::RSA_PKCS1_2048_8192_SHA384,
        algorithms::RSA_PKCS1_2048_8192_SHA512,
        algorithms::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        algorithms::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        algorithms::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    // TLS 1.3 takes the first of each, in TLS 1.2 the curve is not fixed.
    mapping: &[
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[algorithms::ECDSA_P384_SHA384, algorithms::ECDSA_P256_SHA384, P521_SHA384],
        ),
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[algorithms::ECDSA_P256_SHA256, algorithms::ECDSA_P384_SHA256, P521_SHA256],
        ),
        (SignatureScheme::ECDSA_NISTP521_SHA512, &[P521_SHA512]),
        (SignatureScheme::ED25519, &[algorithms::ED25519]),
        (SignatureScheme::RSA_PSS_SHA512, &[algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA256, &[algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[algorithms::RSA_PKCS1_2048_8192_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[algorithms::RSA_PKCS1_2048_8192_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[algorithms::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

const P521_SHA256: &dyn SignatureVerificationAlgorithm =
    &P521 { digest: &SHA256, signature: alg_id::ECDSA_SHA256 };
const P521_SHA384: &dyn SignatureVerificationAlgorithm =
    &P521 { digest: &SHA384, signature: alg_id::ECDSA_SHA384 };
const P521_SHA512: &dyn SignatureVerificationAlgorithm =
    &P521 { digest: &SHA512, signature: alg_id::ECDSA_SHA512 };

/// ECDSA on P-521 (FIPS 186-5 section 6.4.2).
#[derive(Debug)]
struct P521 {
    digest: &'static digest::Algorithm,
    signature: AlgorithmIdentifier,
}

/// No digest is longer.
const LONGEST_DIGEST: usize = 64;

impl SignatureVerificationAlgorithm for P521 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = DerSignature::try_from(signature).map_err(|_| InvalidSignature)?;
        let digest = digest::digest(self.digest, message);
        // A digest is a number with fewer bits than the curve's order. The crate refuses those below half as many.
        let mut number = [0; LONGEST_DIGEST];
        let missing = LONGEST_DIGEST.saturating_sub(digest.as_ref().len());
        number.get_mut(missing..).ok_or(InvalidSignature)?.copy_from_slice(digest.as_ref());
        key.verify_prehash(&number, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A public key, and its signatures of [`MESSAGE`] with each digest, made by `openssl dgst -sign`.
    const KEY: &str = "\
        040054e55c2027569ba28a75c53db90414a506a7837550f5316a036d906e560112c236b7f758d50710dffc5edee60f10\
        6cc11d4377f733a4b6a83ff5b97d3a4bee8b64006d0600ec8fb4713577721cd7936b42bd78729856047bb7da4b08eaac\
        afb661ff591c90cda9e1819c486cce523e6b21cf526bdbe2be826b4eba8716da1cd7364d92";
    const MESSAGE: &[u8] = b"DICOM";
    const SIGNATURES: [(&str, &dyn SignatureVerificationAlgorithm); 3] = [
        (
            "\
            3081870242015814478a4336bb4c84f632de5cd471a4eb93bab981ed5a39caa786dcfefb8fd0a6d6d2d0a32a8c4135be\
            9b99397447468c8fc4db078bcb30f92c1a999dcc39ddcf02417c372409545f3b185bedc46cefe84a28807e9a620ab4c1\
            37b4ca14c13af1cd1acec05d5dcd41da04064d5dc92885488d46ebeedf8f3cbb48629a2b3da2b341c6ec",
            P521_SHA256,
        ),
        (
            "\
            3081880242013250de9ac623198121583c66ba95bbbdf9182e6eb5b5f52e6af2d443001bd5f29ad4d8f9b05d8d41cb0b\
            8b3acdd9ebff57b3bbcd400c3c65d80f0cd9d7114b8ce1024200bd4817ec1428bff1365709539806cab8d9d8a21707d7\
            c330a02f1ce1d55c0b1e1909887a7bce8784fc3750eeea18d8abccd66461ddd91e3a6d135afab70e4c65ec",
            P521_SHA384,
        ),
        (
            "\
            308187024101b6c1983b294d8be6d65e1bf01cd5b04f553a5d1919a819bb3044c94ae02bbd50a74c96ec109e0b96741c\
            2ae62937279f1a968f486f19d23a3aa37e6a07eee51a024200f3f13d24621beaa9e4e1a422b088eebd3fb999d6bbe900\
            fa1ac62c50715a3be4100db73a9f18e7b05d3dfb9f32f716946f29ca4d28e3880afbe7127c4187ca25c4",
            P521_SHA512,
        ),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn signatures_of_openssl_are_verified_and_no_others() {
        let key = bytes(KEY);
        for (index, (signature, algorithm)) in SIGNATURES.into_iter().enumerate() {
            let signature = bytes(signature);
            assert!(algorithm.verify_signature(&key, MESSAGE, &signature).is_ok(), "{index}");
            assert!(algorithm.verify_signature(&key, b"DICOm", &signature).is_err(), "another message");
            for at in 0..signature.len() {
                let mut changed = signature.clone();
                changed[at] ^= 1;
                assert!(algorithm.verify_signature(&key, MESSAGE, &changed).is_err(), "{index} {at}");
                assert!(algorithm.verify_signature(&key, MESSAGE, &signature[..at]).is_err(), "{index} {at}");
            }
            for at in 0..key.len() {
                assert!(algorithm.verify_signature(&key[..at], MESSAGE, &signature).is_err(), "{index} {at}");
            }
            let mut changed = key.clone();
            changed[100] ^= 1;
            assert!(
                algorithm.verify_signature(&changed, MESSAGE, &signature).is_err(),
                "no point of the curve"
            );
            for (other, _) in SIGNATURES
                .into_iter()
                .filter(|(_, other)| other.signature_alg_id() != algorithm.signature_alg_id())
            {
                assert!(algorithm.verify_signature(&key, MESSAGE, &bytes(other)).is_err(), "another digest");
            }
        }
        // Both numbers of a signature are above 0.
        for zero in ["3006020100020100", "3006020101020100", "3006020100020101"] {
            assert!(P521_SHA512.verify_signature(&key, MESSAGE, &bytes(zero)).is_err());
        }
    }

    #[test]
    fn whatever_rustls_verifies_with_ring_is_verified() {
        let theirs = provider_of_ring::default_provider().signature_verification_algorithms;
        let ours: Vec<_> =
            ALGORITHMS.all.iter().map(|one| (one.public_key_alg_id(), one.signature_alg_id())).collect();
        for one in theirs.all {
            assert!(ours.contains(&(one.public_key_alg_id(), one.signature_alg_id())), "{one:?}");
        }
        for scheme in theirs.supported_schemes() {
            assert!(ALGORITHMS.supported_schemes().contains(&scheme), "{scheme:?}");
        }
    }
}
