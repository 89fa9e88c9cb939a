use argon2::{Algorithm, Argon2, Params, Version};
use base64::{
    Engine, alphabet,
    engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD_NO_PAD},
};
use subtle::{Choice, ConstantTimeEq};

/// The hash of a password, by Argon2 or bcrypt.
pub(super) enum PasswordHash {
    Argon2 {
        context: Argon2<'static>,
        salt: Box<[u8]>,
        output: Box<[u8]>,
    },
    Bcrypt {
        cost: u32,
        salt: [u8; 16],
        /// 23 bytes, as the text format has it.
        output: [u8; 24],
    },
}

/// htpasswd's base64 for bcrypt may have set bits after the last byte.
const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    NO_PAD.with_decode_allow_trailing_bits(true),
);

/// The limits of parameters: a mistake in a file must not take the memory of the machine.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 1 << 10;
const MAX_LANES: u32 = 64;
const MAX_BCRYPT_COST: u32 = 17;
/// Shorter outputs of Argon2 can be found by chance.
const MIN_OUTPUT: usize = 16;
const MAX_OUTPUT: usize = 64;

impl PasswordHash {
    /// Parses `$2y$..`, as `htpasswd -B` writes it, or `$argon2id$..` in the PHC string format.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix('$')?.split('$');
        let hash = match fields.next()? {
            "2a" | "2b" | "2y" => {
                let cost = fields.next().filter(|cost| cost.len() == 2)?;
                let (salt, output) = fields.next()?.split_at_checked(22)?;
                bcrypt(cost, salt, output)?
            }
            algorithm => {
                let algorithm = Algorithm::new(algorithm).ok()?;
                let mut field = fields.next()?;
                let mut version = Version::V0x10;
                if let Some(number) = field.strip_prefix("v=") {
                    version = Version::try_from(decimal(number)?).ok()?;
                    field = fields.next()?;
                }
                let (salt, output) = (fields.next()?, fields.next()?);
                let decode = |text| STANDARD_NO_PAD.decode(text).ok();
                argon2(algorithm, version, field, decode(salt)?, decode(output)?)?
            }
        };
        fields.next().is_none().then_some(hash)
    }

    /// Makes a hash of default cost that no password has.
    pub(super) fn unusable(random: &[u8; 32]) -> Self {
        Self::Argon2 {
            context: Argon2::default(),
            salt: random[..16].into(),
            output: random[..].into(),
        }
    }

    /// Makes a hash of the same cost that no password is known for.
    pub(super) fn lookalike(&self, random: &[u8; 32]) -> Self {
        let fill = |length: usize| random.iter().copied().cycle().take(length).collect();
        match self {
            Self::Argon2 {
                context,
                salt,
                output,
            } => Self::Argon2 {
                context: context.clone(),
                salt: fill(salt.len()),
                output: fill(output.len()),
            },
            Self::Bcrypt { cost, .. } => {
                let mut hash = ([0; 16], [0; 24]);
                hash.0.copy_from_slice(&random[..16]);
                hash.1.copy_from_slice(&random[8..]);
                Self::Bcrypt {
                    cost: *cost,
                    salt: hash.0,
                    output: hash.1,
                }
            }
        }
    }

    /// Returns the approximate time of one verification, in nanoseconds, to compare hashes.
    pub(super) fn cost(&self) -> u64 {
        match self {
            // About 0.5 µs for each KiB and pass.
            Self::Argon2 { context, .. } => {
                let params = context.params();
                u64::from(params.m_cost()) * u64::from(params.t_cost()) * 500
            }
            // About 50 ms for a cost of 10.
            Self::Bcrypt { cost, .. } => 50_000 << cost,
        }
    }

    /// Returns true if this is the hash of the password. The time does not depend on the password.
    pub(super) fn verify(&self, password: &[u8]) -> Choice {
        match self {
            Self::Argon2 {
                context,
                salt,
                output,
            } => {
                let mut own = [0; MAX_OUTPUT];
                let own = &mut own[..output.len()];
                // Fails only without memory.
                let hashed = context.hash_password_into(password, salt, own);
                Choice::from(u8::from(hashed.is_ok())) & own.ct_eq(output)
            }
            Self::Bcrypt { cost, salt, output } => {
                // As every bcrypt, reads 72 bytes with the terminator, as far as they fit.
                let mut terminated = [0; 72];
                let length = password.len().min(72);
                terminated[..length].copy_from_slice(&password[..length]);
                let own = bcrypt::bcrypt(*cost, *salt, &terminated[..(length + 1).min(72)]);
                own[..23].ct_eq(&output[..23])
            }
        }
    }
}

/// Parses digits; a sign is none.
fn decimal(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn bcrypt(cost: &str, salt: &str, output: &str) -> Option<PasswordHash> {
    let cost = decimal(cost)?;
    let decode = |text| BCRYPT_BASE64.decode(text).ok();
    let mut bytes = [0; 24];
    let decoded = decode(output).filter(|output| output.len() == 23)?;
    bytes[..23].copy_from_slice(&decoded);
    let is_valid = (4..=MAX_BCRYPT_COST).contains(&cost);
    is_valid.then_some(PasswordHash::Bcrypt {
        cost,
        salt: decode(salt)?.try_into().ok()?,
        output: bytes,
    })
}

fn argon2(
    algorithm: Algorithm,
    version: Version,
    parameters: &str,
    salt: Vec<u8>,
    output: Vec<u8>,
) -> Option<PasswordHash> {
    // In the order of the specification, and without the obsolete `keyid` and `data`.
    let mut names = ["m=", "t=", "p="].into_iter();
    let mut values = parameters
        .split(',')
        .map(|pair| decimal(pair.strip_prefix(names.next()?)?));
    let mut next = || values.next().flatten();
    let (memory, passes, lanes) = (next()?, next()?, next()?);
    if values.next().is_some()
        || memory > MAX_MEMORY_KIB
        || passes > MAX_PASSES
        || lanes > MAX_LANES
        || !(MIN_OUTPUT..=MAX_OUTPUT).contains(&output.len())
        || !(argon2::MIN_SALT_LEN..=MAX_OUTPUT).contains(&salt.len())
    {
        return None;
    }
    let params = Params::new(memory, passes, lanes, Some(output.len())).ok()?;
    Some(PasswordHash::Argon2 {
        context: Argon2::new(algorithm, version, params),
        salt: salt.into(),
        output: output.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(hash: &str, password: &str) -> bool {
        let hash = PasswordHash::parse(hash).unwrap();
        hash.verify(password.as_bytes()).into()
    }

    /// From the test suites of jBCrypt and of the reference implementation of Argon2, and from programs.
    #[test]
    fn known_hashes_are_verified() {
        for (hash, password) in [
            (
                "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
                "",
            ),
            (
                "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
                "a",
            ),
            // As `htpasswd -nbB` and `argon2 -id -e` print them.
            (
                "$2y$05$HnJ7Hizs.E05nxAdOMwsUOFCbPbZElkRMUdfcnOtGdG8GHr5g/4cq",
                "open sesame",
            ),
            (
                "$2y$04$u7j/M4IAT7HrXqNk7kJFYOr1fzfNKdjdilYLcRPA0Baw5rBXOX48u",
                "über",
            ),
            (
                "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHRzYWx0$99ahzpZW0EbaCjKsCGiuVPEmVU+97BngdYbDph7BYzA",
                "open sesame",
            ),
            (
                "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
                "password",
            ),
            (
                "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
                "password",
            ),
            (
                "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
                "password",
            ),
        ] {
            assert!(verify(hash, password), "{hash}");
            for wrong in ["b", "passwore", "Password", "password "] {
                assert!(!verify(hash, wrong), "{hash}");
            }
        }
    }

    #[test]
    fn bcrypt_reads_72_bytes_as_elsewhere() {
        let long = "0123456789".repeat(8);
        let parts = bcrypt::hash_with_salt(&long[..72], 4, [7; 16]).unwrap();
        let hash = parts.format_for_version(bcrypt::Version::TwoY);
        assert!(verify(&hash, &long) && verify(&hash, &long[..72]));
        assert!(!verify(&hash, &long[..71]));
        // The terminator counts.
        let parts = bcrypt::hash_with_salt("ab", 4, [7; 16]).unwrap();
        assert!(!verify(&parts.to_string(), "abab") && verify(&parts.to_string(), "ab"));
    }

    #[test]
    fn other_hashes_are_refused() {
        let bcrypt = "$2y$04$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.";
        assert!(PasswordHash::parse(bcrypt).is_some());
        let argon2 =
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc";
        assert!(PasswordHash::parse(argon2).is_some());
        assert!(PasswordHash::parse(&argon2.replace("$v=19", "")).is_some());
        for bad in [
            "",
            "$",
            "password",
            "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/",
            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
            "$5$salt$hash",
            "$6$salt$hash",
            "rl5FQRqoZm0jE",
            &bcrypt.replace("2y", "2x"),
            &bcrypt.replace("04", "03"),
            &bcrypt.replace("04", "18"),
            &bcrypt.replace("04", "4"),
            &bcrypt.replace("04", "+4"),
            &bcrypt[..bcrypt.len() - 1],
            &(bcrypt.to_owned() + "$"),
            &(bcrypt.to_owned() + "a"),
            &argon2.replace("m=8", "m=7"),
            &argon2.replace("m=8", "m=99999999"),
            &argon2.replace("m=8", "m=4294967296"),
            &argon2.replace("m=8", "m=-8"),
            &argon2.replace("t=1", "t=0"),
            &argon2.replace("t=1", "t=99999"),
            &argon2.replace("p=1", "p=0"),
            &argon2.replace("m=8,t=1", "t=1,m=8"),
            &argon2.replace("p=1", "p=1,keyid=AAAA"),
            &argon2.replace("v=19", "v=18"),
            &argon2.replace("argon2id", "argon2x"),
            &argon2.replace("c29tZXNhbHQ", "c2E"),
            &argon2[..argon2.len() - 30],
            &(argon2.to_owned() + "$"),
        ] {
            assert!(PasswordHash::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_lookalike_costs_the_same_and_has_no_password() {
        for text in [
            "$2y$04$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
        ] {
            let hash = PasswordHash::parse(text).unwrap();
            let other = hash.lookalike(&[7; 32]);
            assert_eq!(hash.cost(), other.cost());
            for password in ["", "password"] {
                assert!(!bool::from(other.verify(password.as_bytes())));
            }
        }
    }
}
