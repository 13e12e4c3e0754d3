//! Secret captures in the log: encrypted under a key that is kept outside it, so that a recovery has them and a reader of
//! the log has not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde_json::Value;
use testledger_schemas::ExecutionId;

use crate::ports::ids::Ids;

/// The bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Seals and opens secret captures (ChaCha20-Poly1305, RFC 8439; a random nonce for each). Without a key nothing is kept,
/// and an attempt whose secrets are needed begins anew after its worker was lost.
#[derive(Default)]
pub struct Vault {
    key: Option<LessSafeKey>,
}

impl Vault {
    /// A vault with this key.
    #[must_use]
    pub fn with_key(key: &[u8; KEY_BYTES]) -> Self {
        Self { key: UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(LessSafeKey::new) }
    }

    /// A value as text that only this key opens, and only as this capture of this execution.
    #[must_use]
    pub fn seal(&self, execution: ExecutionId, name: &str, value: &Value, ids: &dyn Ids) -> Option<String> {
        let key = self.key.as_ref()?;
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&ids.random().to_be_bytes()[..NONCE_LEN]);
        let mut bytes = value.to_string().into_bytes();
        let purpose = Aad::from(purpose(execution, name));
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), purpose, &mut bytes).ok()?;
        Some(STANDARD.encode([nonce.as_slice(), &bytes].concat()))
    }

    /// The value that was sealed; none without the key, or where anything is not as it was.
    #[must_use]
    pub fn open(&self, execution: ExecutionId, name: &str, sealed: &str) -> Option<Value> {
        let key = self.key.as_ref()?;
        let bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let purpose = Aad::from(purpose(execution, name));
        let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), purpose, &mut sealed).ok()?;
        serde_json::from_slice(opened).ok()
    }
}

/// What is bound to a sealed value: it opens nowhere else.
fn purpose(execution: ExecutionId, name: &str) -> Vec<u8> {
    format!("testledger capture {execution} {name}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::ids::RandomIds;
    use serde_json::json;
    use uuid::Uuid;

    const ID: ExecutionId = ExecutionId(Uuid::from_u128(7));

    #[test]
    fn only_the_same_key_and_place_open_what_was_sealed() {
        let vault = Vault::with_key(&[1; KEY_BYTES]);
        let value = json!({ "token": "s3cret-s3cret" });
        let sealed = vault.seal(ID, "login", &value, &RandomIds).unwrap();
        assert!(!sealed.contains("s3cret"));
        assert_ne!(sealed, vault.seal(ID, "login", &value, &RandomIds).unwrap());
        assert_eq!(vault.open(ID, "login", &sealed), Some(value));
        assert_eq!(vault.open(ID, "other", &sealed), None);
        assert_eq!(vault.open(ExecutionId(Uuid::from_u128(8)), "login", &sealed), None);
        assert_eq!(Vault::with_key(&[2; KEY_BYTES]).open(ID, "login", &sealed), None);
        assert_eq!(Vault::default().open(ID, "login", &sealed), None);
        assert_eq!(Vault::default().seal(ID, "login", &json!(1), &RandomIds), None);
        assert_eq!(vault.open(ID, "login", &sealed[..20]), None);
    }
}
