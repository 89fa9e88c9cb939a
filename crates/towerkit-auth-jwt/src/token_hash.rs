use ring::rand::{SecureRandom, SystemRandom};

use crate::compact::MAX_LENGTH;

/// Hashes tokens under a random key, at about the cost of reading them.
///
/// The hash is NH of UMAC ([RFC 4418, section 5.2]) with words of 64 bits and two passes, the second with the key shifted by two words:
/// two given texts of one length have the same hash with a probability of 2^-128 (Black, Halevi, Krawczyk, Krovetz, Rogaway, "UMAC:
/// Fast and Secure Message Authentication", 1999, theorem 4.2 and its Toeplitz extension). No hash leaves the process, so that the key
/// need not change.
///
/// [RFC 4418, section 5.2]: https://www.rfc-editor.org/rfc/rfc4418#section-5.2
pub(crate) struct TokenHasher(Box<[[u64; 2]]>);

/// The hash of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenHash {
    length: usize,
    passes: [u128; 2],
}

const BLOCK: usize = 16;

impl TokenHasher {
    /// Draws a key; `None` if the system has no random numbers.
    pub(crate) fn new() -> Option<Self> {
        let mut key = vec![0; MAX_LENGTH + BLOCK];
        SystemRandom::new().fill(&mut key).ok()?;
        let (blocks, _) = key.as_chunks::<BLOCK>();
        Some(Self(blocks.iter().map(words).collect()))
    }

    /// Hashes a token; `None` if it is too long for one.
    #[inline]
    pub(crate) fn hash(&self, token: &[u8]) -> Option<TokenHash> {
        if token.len() > MAX_LENGTH {
            return None;
        }
        let (blocks, rest) = token.as_chunks::<BLOCK>();
        let mut last = [0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        // A last block without bytes is left out: two texts of one length have as many blocks.
        let last = (!rest.is_empty()).then_some(&last);
        let mut passes = [0_u128; 2];
        for (block, key) in blocks.iter().chain(last).zip(self.0.windows(2)) {
            let [one, two] = words(block);
            for (pass, [key_one, key_two]) in passes.iter_mut().zip(key) {
                let product =
                    u128::from(one.wrapping_add(*key_one)) * u128::from(two.wrapping_add(*key_two));
                *pass = pass.wrapping_add(product);
            }
        }
        Some(TokenHash {
            length: token.len(),
            passes,
        })
    }
}

impl TokenHash {
    /// Returns bits that differ for different tokens, to find a place.
    pub(crate) fn index(&self) -> u64 {
        (self.passes[0] >> 64) as u64 ^ self.passes[1] as u64
    }
}

fn words(block: &[u8; BLOCK]) -> [u64; 2] {
    let (words, _) = block.as_chunks::<8>();
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_the_sum_of_products_under_two_parts_of_the_key() {
        let hasher = TokenHasher(vec![[1, 2], [3, 4], [5, 6]].into());
        let hash = hasher.hash(&[[1_u8; 16], [2; 16]].concat()).unwrap();
        let [one, two] = [1, 2].map(|byte: u64| byte * 0x0101_0101_0101_0101);
        let product = |word: u64, key: [u64; 2]| {
            u128::from(word.wrapping_add(key[0])) * u128::from(word.wrapping_add(key[1]))
        };
        let first = product(one, [1, 2]) + product(two, [3, 4]);
        let second = product(one, [3, 4]) + product(two, [5, 6]);
        assert_eq!(hash.passes, [first, second]);
    }

    #[test]
    fn the_longest_token_has_a_hash_and_a_longer_one_has_none() {
        let hasher = TokenHasher::new().unwrap();
        assert!(hasher.hash(&[b'a'; MAX_LENGTH]).is_some());
        assert!(hasher.hash(&[b'a'; MAX_LENGTH + 1]).is_none());
    }

    proptest! {
        #[test]
        fn every_byte_and_the_length_change_the_hash(
            text in prop::collection::vec(any::<u8>(), 1..100),
            at in 0..100_usize,
            change in 1..=255_u8,
        ) {
            let hasher = TokenHasher::new().unwrap();
            let hash = |text: &[u8]| hasher.hash(text).unwrap();
            let at = at % text.len();
            let mut other = text.clone();
            other[at] ^= change;
            prop_assert!(hash(&text) == hash(&text.clone()));
            prop_assert!(hash(&text) != hash(&other));
            prop_assert!(hash(&text) != hash(&text[..at]));
            let longer = [&text[..], &[0]].concat();
            prop_assert!(hash(&text) != hash(&longer));
            prop_assert!(TokenHasher::new().unwrap().hash(&text).unwrap() != hash(&text));
        }
    }
}
