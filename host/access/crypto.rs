//! Signatures of tokens, made and verified with the same cryptography as everything else here.
//!
//! Owns: the algorithms that are known: ES256, ES384, RS256, RS384, RS512. Does not own: what a token says (`jwt`).

use ::signature::{Error, Signer, Verifier};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

/// Has tokens signed and verified here; to be called before either.
pub(crate) fn install() {
    // It fails when it is installed already, by an earlier call of this function.
    let _ = PROVIDER.install_default();
}

struct Verification {
    algorithm: Algorithm,
    by: &'static dyn VerificationAlgorithm,
    key: Vec<u8>,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let by: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    };
    // A key of one kind must never be read as one of another.
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(Verification { algorithm: *algorithm, by, key: key.try_get_as_bytes()?.to_vec() }))
}

impl Verifier<Vec<u8>> for Verification {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        UnparsedPublicKey::new(self.by, &self.key).verify(message, signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for Verification {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

enum Signing {
    Ec(Algorithm, Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    let unusable = |error: ring::error::KeyRejected| ErrorKind::Provider(error.to_string());
    let ec = |by: &'static EcdsaSigningAlgorithm| {
        let pair = EcdsaKeyPair::from_pkcs8(by, key.as_bytes(), &SystemRandom::new());
        pair.map(|pair| Signing::Ec(*algorithm, Box::new(pair)))
    };
    let signing = match algorithm {
        Algorithm::ES256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::RS256 => RsaKeyPair::from_der(key.as_bytes())
            .or_else(|_| RsaKeyPair::from_pkcs8(key.as_bytes()))
            .map(|pair| Signing::Rsa(Box::new(pair))),
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    };
    Ok(Box::new(signing.map_err(unusable)?))
}

impl Signer<Vec<u8>> for Signing {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(_, pair) => pair.sign(&random, message).map(|made| made.as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut made = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut made).map(|()| made)
            }
        }
        .map_err(|_| Error::new())
    }
}

impl JwtSigner for Signing {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ec(algorithm, _) => *algorithm,
            Self::Rsa(_) => Algorithm::RS256,
        }
    }
}
