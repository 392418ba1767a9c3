//! How often somebody may guess. Names that don't exist count as those that do, so that nobody learns which do.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// Most names, and most addresses, that are remembered.
const MOST: usize = 10_000;

/// `security.lockout`: how often somebody may guess.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LockoutSettings {
    /// Failures after which an account is locked.
    pub attempts: u32,
    /// Failures after which an address is locked.
    pub source_attempts: u32,
    /// Within this time.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// For so long.
    #[serde(with = "humantime_serde")]
    pub duration: Duration,
}

impl Default for LockoutSettings {
    fn default() -> Self {
        let quarter = Duration::from_mins(15);
        Self { attempts: 5, source_attempts: 20, window: quarter, duration: quarter }
    }
}

impl LockoutSettings {
    /// Every key with a value that can't work, and why.
    pub fn flaws(&self) -> Vec<(String, String)> {
        let checks = [
            ("attempts", self.attempts == 0, "must be at least 1"),
            ("source_attempts", self.source_attempts == 0, "must be at least 1"),
            ("window", self.window.is_zero(), "must be more than zero, such as 15m"),
            ("duration", self.duration.is_zero(), "must be more than zero, such as 15m"),
        ];
        let wrong = checks.into_iter().filter(|(_, wrong, _)| *wrong);
        wrong.map(|(key, _, problem)| (key.to_owned(), problem.to_owned())).collect()
    }
}

#[derive(Debug)]
struct Tries {
    count: u32,
    first: Instant,
    locked_until: Option<Instant>,
}

/// Failures by whom they belong to.
#[derive(Debug)]
struct Failures<K>(Mutex<HashMap<K, Tries>>);

impl<K: Hash + Eq + Clone> Failures<K> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    /// For how long it is locked still.
    fn locked(&self, key: &K, now: Instant) -> Option<Duration> {
        let tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = tries.get(key)?.locked_until?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    fn forget(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Counts one more; whether that locks it.
    fn count(&self, key: K, most: u32, settings: &LockoutSettings, now: Instant) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(&key) {
            make_room(&mut all, settings, now);
        }
        let tries = all.entry(key).or_insert(Tries { count: 0, first: now, locked_until: None });
        if tries.locked_until.is_some_and(|until| now < until) {
            return false;
        }
        if tries.locked_until.is_some() || now - tries.first > settings.window {
            *tries = Tries { count: 0, first: now, locked_until: None };
        }
        tries.count += 1;
        let locks = tries.count >= most;
        tries.locked_until = locks.then(|| now + settings.duration);
        locks
    }
}

/// Forgets what has passed; when nothing has, the one that began first.
fn make_room<K: Hash + Eq + Clone>(all: &mut HashMap<K, Tries>, settings: &LockoutSettings, now: Instant) {
    all.retain(|_, tries| tries.locked_until.unwrap_or(tries.first + settings.window) > now);
    if all.len() >= MOST
        && let Some(oldest) = all.iter().min_by_key(|(_, tries)| tries.first).map(|(key, _)| key.clone())
    {
        all.remove(&oldest);
    }
}

/// Who has failed how often.
#[derive(Debug)]
pub(super) struct Lockout {
    settings: LockoutSettings,
    accounts: Failures<String>,
    sources: Failures<IpAddr>,
}

impl Lockout {
    /// Nobody yet.
    pub(super) fn new(settings: LockoutSettings) -> Self {
        Self { settings, accounts: Failures::new(), sources: Failures::new() }
    }

    /// For how long an account is locked still.
    pub(super) fn account(&self, name: &str, now: Instant) -> Option<Duration> {
        self.accounts.locked(&key(name), now)
    }

    /// For how long an address is locked still.
    pub(super) fn source(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        self.sources.locked(&network(address), now)
    }

    /// Counts a failure; whether it locked the account or the address.
    pub(super) fn failed(&self, name: &str, address: Option<IpAddr>, now: Instant) -> bool {
        let settings = &self.settings;
        let account = self.accounts.count(key(name), settings.attempts, settings, now);
        let source = address.is_some_and(|address| {
            self.sources.count(network(address), settings.source_attempts, settings, now)
        });
        account || source
    }

    /// Forgets an account's failures: its owner has come in.
    pub(super) fn succeeded(&self, name: &str) {
        self.accounts.forget(&key(name));
    }
}

/// Whatever a stranger calls an account, it takes no more than an account's name.
fn key(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Who has one IPv6 address has the 2^64 beside it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn lockout() -> (Lockout, Instant, IpAddr) {
        (Lockout::new(LockoutSettings::default()), Instant::now(), [192, 0, 2, 1].into())
    }

    #[test]
    fn an_account_is_locked_after_its_attempts_and_free_again_by_itself() {
        let (lockout, now, source) = lockout();
        for _ in 0..4 {
            assert!(!lockout.failed("ann", Some(source), now));
        }
        assert_eq!(lockout.account("ann", now), None);
        assert!(lockout.failed("ann", Some(source), now));
        assert_eq!(lockout.account("ann", now), Some(15 * MINUTE));
        assert_eq!((lockout.account("bob", now), lockout.source(source, now)), (None, None));
        assert_eq!(lockout.account("ann", now + 15 * MINUTE), None);
        assert!(!lockout.failed("ann", Some(source), now + 15 * MINUTE), "counts anew");
    }

    #[test]
    fn failures_that_are_long_past_or_followed_by_success_dont_count() {
        let (lockout, now, _) = lockout();
        (0..4).for_each(|_| {
            lockout.failed("ann", None, now);
        });
        assert!(!lockout.failed("ann", None, now + 16 * MINUTE));
        (0..3).for_each(|_| {
            lockout.failed("ann", None, now + 16 * MINUTE);
        });
        lockout.succeeded("ann");
        assert!(!lockout.failed("ann", None, now + 16 * MINUTE));
    }

    #[test]
    fn an_address_is_locked_whatever_names_it_tries_and_its_network_with_it() {
        let (lockout, now, _) = lockout();
        let (one, other): (IpAddr, IpAddr) =
            ("2001:db8::1".parse().unwrap(), "2001:db8::ffff:1".parse().unwrap());
        (0..20).for_each(|n| {
            lockout.failed(&format!("user{n}"), Some(one), now);
        });
        assert_eq!(lockout.source(other, now), Some(15 * MINUTE));
        assert_eq!(lockout.source("2001:db9::1".parse().unwrap(), now), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (lockout, now, _) = lockout();
        (0..MOST + 10).for_each(|n| {
            lockout.failed(&n.to_string(), None, now);
        });
        assert_eq!(lockout.accounts.0.lock().unwrap().len(), MOST);
    }
}
