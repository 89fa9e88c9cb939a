//! A known token allocates no memory.

use allocation_counter::measure;
use futures_util::FutureExt;
use towerkit_auth::{Admission, VerifyToken};

use crate::tokens::{claims, hs256, token};

#[test]
fn a_cached_token_allocates_nothing() {
    let jwt = hs256();
    let token = token(&claims());
    jwt.verify(&token).now_or_never().unwrap().unwrap();
    let mut verified = 0;
    let seen = measure(|| {
        for _ in 0..1000 {
            let result = VerifyToken::verify(&jwt, &token);
            verified += u32::from(matches!(result, Ok(Admission::Now(_))));
        }
    });
    assert_eq!((verified, seen.count_total), (1000, 0));
    let uncached = hs256().cached_tokens(0);
    let counts = measure(|| drop(VerifyToken::verify(&uncached, &token)));
    assert!(counts.count_total > 0, "the counter counts");
}
