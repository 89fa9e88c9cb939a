//! Measures if the time of a failed authentication tells a wrong first byte, a wrong last byte, a wrong length and an unknown caller
//! apart, by Welch's t-test of interleaved samples. `scripts/timing-test` runs it.
//!
//! Prints the statistic of each pair, of all samples and of the fastest 90 %, among which no other program has interfered. Fails if
//! one has an absolute value of 4.5 or more, the bound of TVLA and dudect
//! (Goodwill, Jun, Jaffe, Rohatgi, 2011; Reparaz, Balasch, Verbauwhede, 2017). A comparison that stops at the first difference is
//! measured as well, and has to be found.

use std::{hint::black_box, process::ExitCode, time::Instant};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use http::{HeaderValue, Request};
use sha2::{Digest, Sha256};
use towerkit_auth::{ApiKeyAuth, ApiKeys, Authenticator, PasswordFile, VerifyPassword};
use towerkit_core::{BoxError, Call};
use towerkit_http::Http;

const CLASSES: [&str; 4] = ["first byte", "last byte", "length", "unknown"];
const BOUND: f64 = 4.5;

/// The samples of each class that are measured with the same accounts: the time may depend on the salt.
const BLOCK: usize = 100;

fn main() -> Result<ExitCode, BoxError> {
    let mut samples = std::env::args().skip(1).map(|text| text.parse());
    let many = samples.next().unwrap_or(Ok(100_000))?;
    let few = samples.next().unwrap_or(Ok(500))?;
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);

    let control = measure(many, 20, &mut rng, |accounts| {
        let accounts = accounts.to_vec();
        let passes = move |(name, secret): &mut Account| {
            let account = accounts.iter().find(|account| account.0 == *name);
            account.is_some_and(|account| account.1 == *secret)
        };
        Ok((|attempt| attempt, passes))
    })?;
    let found = report("control: a comparison that stops early", &control) >= BOUND;
    if !found {
        println!("The machine is too noisy: the control was not found.");
    }
    let mut passes = found;

    passes &= report("API keys", &measure(many, 20, &mut rng, api_keys)?) < BOUND;

    let cheapest = Params::new(8, 1, 1, Some(32)).map_err(|error| error.to_string())?;
    for (title, params, count, users) in [
        ("passwords, the cheapest Argon2", cheapest, many, 20),
        ("passwords, the default Argon2", Params::DEFAULT, few, 4),
    ] {
        let times = measure(count, users, &mut rng, |accounts| {
            passwords(accounts, &params)
        })?;
        passes &= report(title, &times) < BOUND;
    }
    Ok(match passes {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The times of each class, in nanoseconds.
type Times = [Vec<f64>; 4];

/// A name and a secret.
type Account = (String, String);

/// Prepares an attempt, and returns true if it is admitted.
type Prepared<A, F> = Result<(fn(Account) -> A, F), BoxError>;

/// Measures `count` wrong attempts of each class, in random order.
///
/// `make` returns a function that prepares an attempt, and one that returns true if it is admitted, which is measured.
fn measure<A: 'static, F: Fn(&mut A) -> bool>(
    count: usize,
    users: usize,
    rng: &mut Rng,
    make: impl Fn(&[Account]) -> Prepared<A, F>,
) -> Result<Times, BoxError> {
    let mut times = Times::default();
    while times[0].len() < count {
        // The time may depend on the length of the secret that the caller sends, which is the same in all classes. That of the
        // secret that it is compared with differs: the second half is longer.
        let accounts = (0..2 * users).map(|index| {
            let end = if index < users { "" } else { "0" };
            (rng.hex(8), rng.hex(32) + end)
        });
        let accounts: Vec<Account> = accounts.collect();
        let (prepare, is_admitted) = make(&accounts)?;
        for _ in 0..BLOCK.min(count - times[0].len()) {
            for class in rng.order() {
                // The same work for each class, so that the memory is in the same state.
                let (short, long) = (rng.below(users), rng.below(users) + users);
                let [(name, secret), (long_name, long_secret)] =
                    [&accounts[short], &accounts[long]];
                let attempts = [
                    (name.clone(), flip(secret.clone(), 0)),
                    (name.clone(), flip(secret.clone(), 31)),
                    (long_name.clone(), long_secret[..32].to_owned()),
                    (rng.hex(8), rng.hex(32)),
                ];
                let attempt = attempts[class].clone();
                let mut attempt = prepare(attempt);
                // Brings all that the attempt needs into the caches, as an attacker does that repeats it: some accounts are tried
                // more often than others.
                is_admitted(&mut attempt);
                let start = Instant::now();
                let admitted = is_admitted(black_box(&mut attempt));
                let nanos = start.elapsed().as_nanos();
                assert!(!black_box(admitted));
                times[class].push(nanos as f64);
            }
        }
    }
    Ok(times)
}

fn api_keys(
    accounts: &[Account],
) -> Prepared<Request<()>, impl Fn(&mut Request<()>) -> bool + use<>> {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let lines = accounts
        .iter()
        .map(|(name, secret)| format!("{name}:{}\n", hex(&Sha256::digest(secret))));
    let keys = ApiKeys::parse(&lines.collect::<String>())?;
    let scheme = ApiKeyAuth::header("timing", "x-api-key", keys)?;
    let prepare = |(_, secret): Account| {
        let mut request = Request::new(());
        let value = HeaderValue::from_str(&secret).expect("digits");
        request.headers_mut().insert("x-api-key", value);
        request
    };
    let protocol = Http::new();
    Ok((prepare, move |request: &mut Request<()>| {
        let call = Call::new(request, &protocol);
        scheme.authenticate(call.view()).is_ok()
    }))
}

fn passwords(
    accounts: &[Account],
    params: &Params,
) -> Prepared<Account, impl Fn(&mut Account) -> bool + use<>> {
    let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
    let context = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let encode = |bytes: &[u8]| BASE64_STANDARD_NO_PAD.encode(bytes);
    let mut text = String::new();
    for (name, secret) in accounts {
        let salt = Sha256::digest(name);
        let mut output = [0; 32];
        let hashed = context.hash_password_into(secret.as_bytes(), &salt[..16], &mut output);
        hashed.map_err(|error| error.to_string())?;
        let hash = format!("{}${}", encode(&salt[..16]), encode(&output));
        text += &format!("{name}:$argon2id$v=19$m={m},t={t},p={p}${hash}\n");
    }
    let file = PasswordFile::parse(&text)?;
    Ok((
        |account| account,
        move |(name, secret): &mut Account| file.verify(name, secret).is_ok(),
    ))
}

/// Changes a digit.
fn flip(secret: String, at: usize) -> String {
    let mut bytes = secret.into_bytes();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    String::from_utf8(bytes).expect("digits")
}

/// Prints the statistics of all pairs, and returns the largest absolute value.
fn report(title: &str, times: &Times) -> f64 {
    println!("{title}, {} samples each", times[0].len());
    let mut all: Vec<f64> = times.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let limit = all[all.len() * 9 / 10];
    let fast = |times: &Vec<f64>| -> Vec<f64> {
        times
            .iter()
            .copied()
            .filter(|time| *time <= limit)
            .collect()
    };
    let fastest = times.each_ref().map(fast);
    for (class, (times, fastest)) in CLASSES.iter().zip(times.iter().zip(&fastest)) {
        let show = |times: &[f64]| {
            let (mean, variance) = moments(times);
            format!(
                "mean {mean:>10.1} ns, deviation {:>10.1} ns",
                variance.sqrt()
            )
        };
        println!(
            "  {class:<10}  {}  of the fastest 90 %: {}",
            show(times),
            show(fastest)
        );
    }
    let mut largest: f64 = 0.0;
    for first in 0..CLASSES.len() {
        for second in first + 1..CLASSES.len() {
            let t = welch(&times[first], &times[second]);
            let t_fast = welch(&fastest[first], &fastest[second]);
            let (first, second) = (CLASSES[first], CLASSES[second]);
            println!("  {first:<10} – {second:<10}  t {t:>7.2}  of the fastest 90 % {t_fast:>7.2}");
            largest = largest.max(t.abs()).max(t_fast.abs());
        }
    }
    largest
}

fn moments(times: &[f64]) -> (f64, f64) {
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    let squares = times.iter().map(|time| (time - mean).powi(2));
    (mean, squares.sum::<f64>() / (count - 1.0))
}

/// Welch's t (Welch, "The generalization of Student's problem", 1947).
fn welch(first: &[f64], second: &[f64]) -> f64 {
    let ((mean_a, variance_a), (mean_b, variance_b)) = (moments(first), moments(second));
    let error = variance_a / first.len() as f64 + variance_b / second.len() as f64;
    (mean_a - mean_b) / error.sqrt()
}

/// Marsaglia's xorshift64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Returns the classes in random order.
    fn order(&mut self) -> [usize; 4] {
        let mut order = [0, 1, 2, 3];
        for at in 1..4 {
            order.swap(at, self.below(at + 1));
        }
        order
    }

    /// Returns hexadecimal digits.
    fn hex(&mut self, digits: usize) -> String {
        let digit = |_| char::from(b"0123456789abcdef"[self.below(16)]);
        (0..digits).map(digit).collect()
    }
}
