//! Keys that a test holds: they come and go as it wants. The wrapping is no secret; what is tested is the journal.

use std::sync::{Mutex, MutexGuard};

use standpipe_journal::keys::{DataKey, Fresh, KeyTrouble, SegmentKeys, TroubleKind, WrappedKey};

#[derive(Debug)]
pub(crate) struct TestKeys(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    encrypting: bool,
    epoch: u64,
    /// The master key that wraps.
    master: u8,
    /// The master keys that unwrap, beside that one.
    previous: Vec<u8>,
    trouble: bool,
    made: u64,
}

impl TestKeys {
    pub(crate) fn new(encrypting: bool) -> Self {
        let (epoch, master, previous, trouble, made) = (0, 1, Vec::new(), false, 0);
        Self(Mutex::new(Inner { encrypting, epoch, master, previous, trouble, made }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub(crate) fn encrypt(&self, encrypting: bool) {
        let mut inner = self.lock();
        (inner.encrypting, inner.epoch) = (encrypting, inner.epoch + 1);
    }

    pub(crate) fn encrypting(&self) -> bool {
        self.lock().encrypting
    }

    /// Stops the key, or mends it.
    pub(crate) fn stop(&self, stopped: bool) {
        self.lock().trouble = stopped;
    }

    pub(crate) fn stopped(&self) -> bool {
        self.lock().trouble
    }

    /// Wraps with another master key from now on.
    pub(crate) fn rotate(&self) {
        let mut inner = self.lock();
        let old = inner.master;
        inner.previous.push(old);
        inner.master += 1;
    }

    pub(crate) fn forget_previous(&self) {
        self.lock().previous.clear();
    }

    /// The same data key, wrapped with the master key of today.
    pub(crate) fn rewrap(&self, wrapped: &WrappedKey) -> WrappedKey {
        let key = self.unwrap_key(wrapped).expect("its master key is there");
        self.lock().wrap(&key)
    }
}

impl Inner {
    fn trouble(&self) -> Result<(), KeyTrouble> {
        let (key, kind, reason) = ("main".to_owned(), TroubleKind::Disabled, "by the test".to_owned());
        if self.trouble { Err(KeyTrouble { key, kind, reason }) } else { Ok(()) }
    }

    fn wrap(&self, key: &DataKey) -> WrappedKey {
        // Longer than a sector once it is wrapped anew, so that a slot can be torn.
        let filler = std::iter::repeat_n(self.master, if self.master > 1 { 1000 } else { 0 });
        let bytes = key.expose().iter().map(|byte| byte ^ self.master).chain(filler).collect();
        WrappedKey { key: "main".into(), master: self.master.to_string(), context: "test".into(), bytes }
    }
}

impl SegmentKeys for TestKeys {
    fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    fn usable(&self) -> Result<(), KeyTrouble> {
        let inner = self.lock();
        if inner.encrypting { inner.trouble() } else { Ok(()) }
    }

    fn fresh(&self) -> Result<Fresh, KeyTrouble> {
        let mut inner = self.lock();
        if !inner.encrypting {
            return Ok(Fresh { epoch: inner.epoch, key: None });
        }
        inner.trouble()?;
        inner.made += 1;
        let mut key = [7; 32];
        key[..8].copy_from_slice(&inner.made.to_le_bytes());
        let key = DataKey::new(key);
        let wrapped = inner.wrap(&key);
        Ok(Fresh { epoch: inner.epoch, key: Some((key, wrapped)) })
    }

    fn unwrap_key(&self, wrapped: &WrappedKey) -> Result<DataKey, KeyTrouble> {
        let inner = self.lock();
        inner.trouble()?;
        let master: u8 = wrapped.master.parse().expect("a test wrapped it");
        if master != inner.master && !inner.previous.contains(&master) {
            let (key, reason) = (wrapped.key.clone(), format!("master key {master} is gone"));
            return Err(KeyTrouble { key, kind: TroubleKind::NotFound, reason });
        }
        let key: Vec<u8> = wrapped.bytes.iter().take(32).map(|byte| byte ^ master).collect();
        Ok(DataKey::from_slice(&key).expect("a test wrapped it"))
    }
}
