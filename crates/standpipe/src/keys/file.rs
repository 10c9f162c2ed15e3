//! A master key in a file: 32 random bytes, raw, in hexadecimal or in base64. It wraps data keys with AES-256-GCM.
//!
//! ```text
//! wrapped := nonce [u8; 12]  ciphertext [u8; 32]  tag [u8; 16]      authenticated with it: the stream's name
//! ```
//!
//! Master keys are told apart by the first 16 hexadecimal digits of their SHA-256. The file is read when it is first
//! needed, and looked at again by every check: a file that is gone or holds another key stops its streams.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use standpipe_journal::keys::{DATA_KEY_LEN, DataKey, TroubleKind, WrappedKey};
use standpipe_model::Entropy;
use zeroize::Zeroizing;

use super::{Keeper, Refused, Wrapping};
use crate::durable;

/// The longest file that can hold a key: base64 with line ends and some room.
const FILE_MAX: u64 = 256;

/// A keeper of master keys in files.
#[derive(Debug)]
pub struct FileKey {
    path: PathBuf,
    previous: Vec<PathBuf>,
    entropy: Arc<dyn Entropy>,
    loaded: Mutex<Option<Arc<Masters>>>,
}

#[derive(Debug)]
struct Masters {
    current: Master,
    previous: Vec<Master>,
}

#[derive(Debug)]
struct Master {
    name: String,
    key: LessSafeKey,
}

impl FileKey {
    /// The key in `path`; data keys that those in `previous` wrapped can be unwrapped too. Nothing is read yet.
    pub fn new(path: PathBuf, previous: Vec<PathBuf>, entropy: Arc<dyn Entropy>) -> Self {
        Self { path, previous, entropy, loaded: Mutex::default() }
    }

    fn masters(&self) -> Result<Arc<Masters>, Refused> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(masters) = loaded.as_ref() {
            return Ok(Arc::clone(masters));
        }
        let current = read(&self.path)?;
        let previous = self.previous.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
        let masters = Arc::new(Masters { current, previous });
        *loaded = Some(Arc::clone(&masters));
        Ok(masters)
    }

    fn draw(&self) -> DataKey {
        let mut bytes = Zeroizing::new([0; DATA_KEY_LEN]);
        self.entropy.fill(bytes.as_mut());
        DataKey::new(*bytes)
    }
}

#[async_trait]
impl Keeper for FileKey {
    async fn generate(&self, context: &str) -> Result<(DataKey, Wrapping), Refused> {
        let key = self.draw();
        let wrapping = self.wrap(&key, context).await?;
        Ok((key, wrapping))
    }

    async fn wrap(&self, key: &DataKey, context: &str) -> Result<Wrapping, Refused> {
        let masters = self.masters()?;
        let mut nonce = [0; NONCE_LEN];
        self.entropy.fill(&mut nonce);
        let mut sealed = Zeroizing::new(*key.expose());
        let (unique, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(context.as_bytes()));
        let tag = masters.current.key.seal_in_place_separate_tag(unique, aad, sealed.as_mut());
        let tag = tag.map_err(|_| (TroubleKind::InvalidState, "the cipher refused".to_owned()))?;
        let bytes = [&nonce[..], &sealed[..], tag.as_ref()].concat();
        Ok(Wrapping { master: masters.current.name.clone(), bytes })
    }

    async fn unwrap_key(&self, wrapped: &WrappedKey) -> Result<DataKey, Refused> {
        let masters = self.masters()?;
        let mut all = std::iter::once(&masters.current).chain(&masters.previous);
        let master = all.find(|master| master.name == wrapped.master).ok_or_else(|| {
            let reason = format!(
                "the master key {} that wrapped it is neither in {} nor in a file of \"previous\"",
                wrapped.master,
                self.path.display()
            );
            (TroubleKind::NotFound, reason)
        })?;
        let foreign = || {
            let reason =
                format!("the master key {} does not unwrap what it is said to have wrapped", master.name);
            (TroubleKind::InvalidState, reason)
        };
        let (nonce, sealed) = wrapped.bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(foreign)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let (nonce, aad) = (Nonce::assume_unique_for_key(*nonce), Aad::from(wrapped.context.as_bytes()));
        let key = master.key.open_in_place(nonce, aad, &mut sealed).map_err(|_| foreign())?;
        DataKey::from_slice(key).ok_or_else(foreign)
    }

    fn master(&self) -> Option<String> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.as_ref().map(|masters| masters.current.name.clone())
    }

    fn look(&self) -> Result<(), Refused> {
        let found = read(&self.path)?;
        match self.master() {
            Some(name) if name != found.name => {
                let path = self.path.display();
                let reason = format!(
                    "{path} holds another key than when it was read; keep the former under \"previous\" and reload"
                );
                Err((TroubleKind::InvalidState, reason))
            }
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Master, Refused> {
    let shown = path.display();
    let refused = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => (TroubleKind::NotFound, format!("there is no file {shown}")),
        std::io::ErrorKind::PermissionDenied => {
            (TroubleKind::AccessDenied, format!("{shown} may not be read"))
        }
        _ => (TroubleKind::InvalidState, format!("cannot read {shown}: {error}")),
    };
    let file = File::open(path).map_err(refused)?;
    let metadata = file.metadata().map_err(refused)?;
    let mode = metadata.permissions().mode() & 0o777;
    // A group may read it: a service manager that gives it to a service's own user does so by an access list, whose
    // mask is shown in the group's place.
    if mode & 0o037 != 0 {
        let reason = format!("{shown} has mode {mode:o}: others than its owner may use it; chmod 0400 it");
        return Err((TroubleKind::InvalidState, reason));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(refused)?;
    let key = parse(&bytes).ok_or_else(|| {
        (
            TroubleKind::InvalidState,
            format!("{shown} does not hold 32 bytes, raw, in hexadecimal or in base64"),
        )
    })?;
    let name = hex::encode(&digest(&SHA256, &*key).as_ref()[..8]);
    let key = UnboundKey::new(&AES_256_GCM, &*key);
    let key = key.map_err(|_| (TroubleKind::InvalidState, "the cipher refused the key".to_owned()))?;
    Ok(Master { name, key: LessSafeKey::new(key) })
}

/// The key in a file's bytes. Raw ones are taken first, so that no random key is ever mistaken for a text.
fn parse(bytes: &[u8]) -> Option<Zeroizing<[u8; DATA_KEY_LEN]>> {
    if let Ok(raw) = bytes.try_into() {
        return Some(Zeroizing::new(raw));
    }
    let text = bytes.trim_ascii();
    let decoded = if text.len() == 2 * DATA_KEY_LEN {
        Zeroizing::new(hex::decode(text).ok()?)
    } else {
        Zeroizing::new(base64_simd::STANDARD.decode_to_vec(text).ok()?)
    };
    decoded.as_slice().try_into().ok().map(Zeroizing::new)
}

/// A fresh master key as a file holds it: base64 and a line end.
pub fn generate_text(entropy: &dyn Entropy) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; DATA_KEY_LEN]);
    entropy.fill(bytes.as_mut());
    Zeroizing::new(base64_simd::STANDARD.encode_to_string(bytes.as_slice()) + "\n")
}

/// Writes a fresh master key to a file that is not there yet, readable by its owner alone.
///
/// # Errors
/// As the operating system says; one that is there is never replaced.
pub fn generate_file(path: &Path, entropy: &dyn Entropy) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    let written = file.write_all(generate_text(entropy).as_bytes()).and_then(|()| file.sync_all());
    // Its name too: what it wraps may be durable before it otherwise.
    let written = written.and_then(|()| durable::sync_parent(path));
    if written.is_err() {
        // Half a key, or one that may go, is of no use to anybody; the error is what counts.
        drop(fs::remove_file(path));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::OsEntropy;

    fn key(dir: &Path, name: &str, content: &[u8]) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        path
    }

    fn keeper(path: &Path, previous: &[PathBuf]) -> FileKey {
        FileKey::new(path.to_owned(), previous.to_vec(), Arc::new(OsEntropy))
    }

    fn wrapped(Wrapping { master, bytes }: Wrapping) -> WrappedKey {
        WrappedKey { key: "main".into(), master, context: "clicks".into(), bytes }
    }

    #[tokio::test]
    async fn a_data_key_unwraps_with_its_master_key_for_its_stream() {
        let dir = tempfile::tempdir().unwrap();
        let raw = [9; 32];
        let forms = [
            raw.to_vec(),
            hex::encode(raw).into_bytes(),
            format!("{}\n", hex::encode_upper(raw)).into_bytes(),
            base64_simd::STANDARD.encode_to_string(raw).into_bytes(),
        ];
        for (number, form) in forms.iter().enumerate() {
            let keeper = keeper(&key(dir.path(), &number.to_string(), form), &[]);
            let (data, wrapping) = keeper.generate("clicks").await.unwrap();
            let wrapped = wrapped(wrapping);
            assert_eq!(keeper.unwrap_key(&wrapped).await.unwrap(), data);
            assert_eq!(keeper.master(), Some(wrapped.master.clone()));
            assert!(!wrapped.bytes.windows(32).any(|bytes| bytes == data.expose()));
            let foreign = WrappedKey { context: "orders".into(), ..wrapped.clone() };
            assert_eq!(keeper.unwrap_key(&foreign).await.unwrap_err().0, TroubleKind::InvalidState);
            for at in 0..wrapped.bytes.len() {
                let mut bad = wrapped.clone();
                bad.bytes[at] ^= 1;
                assert!(keeper.unwrap_key(&bad).await.is_err(), "byte {at}");
            }
        }
    }

    #[tokio::test]
    async fn what_an_earlier_key_wrapped_needs_that_key_among_the_previous_ones() {
        let dir = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| {
            let path = dir.path().join(name);
            generate_file(&path, &OsEntropy).unwrap();
            path
        });
        let (data, wrapping) = keeper(&old, &[]).generate("clicks").await.unwrap();
        let wrapped = wrapped(wrapping);
        let rotated = keeper(&new, std::slice::from_ref(&old));
        assert_eq!(rotated.unwrap_key(&wrapped).await.unwrap(), data);
        assert_ne!(rotated.master(), Some(wrapped.master.clone()));
        let (kind, reason) = keeper(&new, &[]).unwrap_key(&wrapped).await.unwrap_err();
        assert_eq!(kind, TroubleKind::NotFound);
        assert!(reason.contains(&wrapped.master) && reason.contains("\"previous\""), "{reason}");
        assert!(generate_file(&old, &OsEntropy).is_err(), "a key is never written over");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_a_key_is_refused_with_the_reason_and_read_again_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let keeper = keeper(&path, &[]);
        let refused = |result: Result<(DataKey, Wrapping), Refused>| result.unwrap_err();
        assert_eq!(refused(keeper.generate("s").await).0, TroubleKind::NotFound);
        key(dir.path(), "key", b"too short");
        assert!(refused(keeper.generate("s").await).1.contains("does not hold 32 bytes"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let (kind, reason) = refused(keeper.generate("s").await);
        assert!(kind == TroubleKind::InvalidState && reason.contains("has mode 644"), "{reason}");
        fs::remove_file(&path).unwrap();
        key(dir.path(), "key", &[5; 32]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        keeper.generate("s").await.unwrap();
        keeper.look().unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(keeper.look().unwrap_err().0, TroubleKind::NotFound);
        key(dir.path(), "key", &[6; 32]);
        assert!(keeper.look().unwrap_err().1.contains("holds another key"));
    }
}
