use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use towerkit_core::Principal;

use crate::{
    claims::Validity,
    token_hash::{TokenHash, TokenHasher},
};

/// The slots that a token may have.
const WAYS: usize = 4;

/// The tokens that were verified lately, in memory of a fixed size, with look-ups without a lock.
///
/// It has no tokens, only their [hashes](TokenHasher) under a random key.
pub(crate) struct VerifiedTokens {
    slots: Box<[ArcSwapOption<Entry>]>,
    /// `None` if no tokens are kept, or if the system has no random numbers for a key.
    hasher: Option<TokenHasher>,
}

struct Entry {
    hash: TokenHash,
    /// The generation of the keys by which the token was verified.
    generation: u64,
    validity: Validity,
    principal: Principal,
}

impl VerifiedTokens {
    /// Makes a cache for this many tokens.
    pub(crate) fn new(capacity: usize) -> Self {
        let sets = capacity.div_ceil(WAYS);
        Self {
            slots: (0..sets * WAYS).map(|_| ArcSwapOption::empty()).collect(),
            hasher: (sets > 0).then(TokenHasher::new).flatten(),
        }
    }

    /// Finds a token that was verified by keys of this generation, and is still valid.
    pub(crate) fn find(&self, token: &str, generation: u64, now: Time) -> Option<Principal> {
        let hash = self.hash(token)?;
        self.set(&hash).iter().find_map(|slot| {
            let slot = slot.load();
            let entry = slot.as_deref().filter(|entry| entry.hash == hash)?;
            let is_valid = entry.generation == generation && now.is_within(entry.validity);
            is_valid.then(|| entry.principal.clone())
        })
    }

    /// Keeps a token that was verified by keys of this generation. It takes the place of one that is of no use, or of any other.
    pub(crate) fn insert(
        &self,
        token: &str,
        generation: u64,
        validity: Validity,
        principal: &Principal,
        now: Time,
    ) {
        let Some(hash) = self.hash(token) else { return };
        let is_replaceable = |slot: &&ArcSwapOption<Entry>| match &*slot.load() {
            Some(entry) => {
                entry.hash == hash
                    || entry.generation != generation
                    || !now.is_within(entry.validity)
            }
            None => true,
        };
        let set = self.set(&hash);
        let slot = set.iter().find(is_replaceable);
        let slot = slot.unwrap_or_else(|| &set[fastrand::usize(..WAYS)]);
        slot.store(Some(Arc::new(Entry {
            hash,
            generation,
            validity,
            principal: principal.clone(),
        })));
    }

    fn set(&self, hash: &TokenHash) -> &[ArcSwapOption<Entry>] {
        let sets = (self.slots.len() / WAYS) as u128;
        let set = (u128::from(hash.index()) * sets) >> 64;
        &self.slots[set as usize * WAYS..][..WAYS]
    }

    #[inline]
    fn hash(&self, token: &str) -> Option<TokenHash> {
        self.hasher.as_ref()?.hash(token.as_bytes())
    }
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedTokens")
            .field("capacity", &self.slots.len())
            .finish_non_exhaustive()
    }
}

/// The time now since 1970, and the leeway for clocks that differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    pub(crate) now: Duration,
    pub(crate) leeway: Duration,
}

impl Time {
    /// Returns true if a token is past its end. At its end it is.
    pub(crate) fn is_after(self, validity: Validity) -> bool {
        self.now >= validity.expires.saturating_add(self.leeway)
    }

    /// Returns true if a token is not valid yet.
    pub(crate) fn is_before(self, validity: Validity) -> bool {
        let not_before = validity.not_before.unwrap_or_default();
        self.now.saturating_add(self.leeway) < not_before
    }

    fn is_within(self, validity: Validity) -> bool {
        !self.is_after(validity) && !self.is_before(validity)
    }
}

#[cfg(test)]
mod tests {
    use towerkit_core::Proof;

    use super::*;

    fn validity(expires: u64) -> Validity {
        Validity {
            not_before: None,
            expires: Duration::from_secs(expires),
        }
    }

    fn at(now: u64) -> Time {
        Time {
            now: Duration::from_secs(now),
            leeway: Duration::ZERO,
        }
    }

    fn principal(subject: &str) -> Principal {
        Principal::new(subject, Proof::BearerToken)
    }

    #[test]
    fn a_token_is_found_until_it_expires_or_the_keys_change() {
        let tokens = VerifiedTokens::new(8);
        tokens.insert("a.b.c", 1, validity(10), &principal("ann"), at(5));
        assert_eq!(tokens.find("a.b.c", 1, at(9)).unwrap().subject(), "ann");
        assert!(tokens.find("a.b.c", 1, at(10)).is_none());
        assert!(tokens.find("a.b.c", 2, at(9)).is_none());
        assert!(tokens.find("a.b.d", 1, at(9)).is_none());
    }

    #[test]
    fn a_token_that_is_not_valid_yet_is_not_found_after_the_clock_was_set_back() {
        let tokens = VerifiedTokens::new(8);
        let validity = Validity {
            not_before: Some(Duration::from_secs(4)),
            ..validity(10)
        };
        tokens.insert("a.b.c", 1, validity, &principal("ann"), at(5));
        assert!(tokens.find("a.b.c", 1, at(3)).is_none());
        assert!(tokens.find("a.b.c", 1, at(4)).is_some());
    }

    #[test]
    fn the_number_of_tokens_is_bounded_and_the_last_one_is_kept() {
        let tokens = VerifiedTokens::new(16);
        let names: Vec<_> = (0..1000).map(|n| format!("token{n}")).collect();
        for name in &names {
            tokens.insert(name, 1, validity(10), &principal(name), at(5));
            assert_eq!(tokens.find(name, 1, at(5)).unwrap().subject(), name);
        }
        let found = names
            .iter()
            .filter(|name| tokens.find(name, 1, at(5)).is_some());
        assert!(found.count() <= 16);
        assert!(VerifiedTokens::new(0).find("token", 1, at(5)).is_none());
    }

    #[test]
    fn an_expired_token_gives_way_before_a_valid_one() {
        let tokens = VerifiedTokens::new(WAYS);
        for n in 0..WAYS as u64 - 1 {
            tokens.insert(
                &format!("valid{n}"),
                1,
                validity(10),
                &principal("a"),
                at(1),
            );
        }
        tokens.insert("short", 1, validity(2), &principal("a"), at(1));
        tokens.insert("new", 1, validity(10), &principal("a"), at(3));
        for n in 0..WAYS - 1 {
            assert!(tokens.find(&format!("valid{n}"), 1, at(3)).is_some());
        }
    }
}
