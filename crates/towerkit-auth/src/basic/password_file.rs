use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use towerkit_core::{ConfigError, Principal, Proof};

use super::{VerifyPassword, password_hash::PasswordHash};
use crate::{AuthError, credentials::random_bytes};

/// Users with the hashes of their passwords, as [`htpasswd`](https://httpd.apache.org/docs/2.4/programs/htpasswd.html) writes them.
///
/// Each line is `user:hash` or `user:hash:roles`, with the roles separated by commas. A hash is one of bcrypt (`htpasswd -B`), with a
/// cost of 4 to 17, or of Argon2 in the [PHC string
/// format](https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md), with at most 1 GiB of memory. Older formats, such as
/// MD5, SHA-1 and crypt, are refused. Empty lines and lines that begin with `#` are skipped.
///
/// An unknown user takes as long as one whose hash has the highest cost in the file. Give all users hashes of the same kind and cost:
/// a user with a cheaper hash can be told from an unknown one by the time of a response.
///
/// Clones share the users. [`reload`](Self::reload) and [`reload_every`](Self::reload_every) read the file again.
#[derive(Clone)]
pub struct PasswordFile {
    users: Arc<ArcSwap<Users>>,
    path: Option<Arc<Path>>,
}

struct Users {
    /// Sorted by the digest of the name. The last is that of unknown users.
    users: Box<[User]>,
    text_digest: [u8; 32],
    generation: u64,
}

struct User {
    name_digest: [u8; 32],
    hash: PasswordHash,
    /// Whether no hash of the file has a higher cost: unknown users are verified by such a hash.
    is_dearest: bool,
    principal: Principal,
}

impl PasswordFile {
    /// Reads users from text.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] that names the line if it has another form, a hash of another kind, or a user that an earlier line has.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            users: Arc::new(ArcSwap::from_pointee(Users::parse(text, 0)?)),
            path: None,
        })
    }

    /// Reads users from a file.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse), and if the file cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let path = path.into();
        let file = Self::parse(&read(&path)?)?;
        Ok(Self {
            path: Some(path.into()),
            ..file
        })
    }

    /// Reads the file again, and returns true if it has changed. Earlier results of verifications are forgotten then.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open); the old users then stay in use. Users from [`parse`](Self::parse) have no file, and stay as they
    /// are.
    pub fn reload(&self) -> Result<bool, ConfigError> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        let text = read(path)?;
        let old = self.users.load();
        if old.text_digest == text_digest(&text) {
            return Ok(false);
        }
        let users = Users::parse(&text, old.generation + 1)?;
        self.users.store(Arc::new(users));
        Ok(true)
    }

    /// Reads the file again after each interval, and calls `on_error` with each error. Spawn it as a task of tokio.
    pub async fn reload_every(self, interval: Duration, on_error: impl Fn(ConfigError)) {
        loop {
            tokio::time::sleep(interval).await;
            let file = self.clone();
            let reloaded = tokio::task::spawn_blocking(move || file.reload()).await;
            if let Ok(Err(error)) = reloaded {
                on_error(error);
            }
        }
    }
}

impl VerifyPassword for PasswordFile {
    fn verify(&self, user: &str, password: &str) -> Result<Principal, AuthError> {
        self.users.load_full().verify(user, password)
    }

    fn generation(&self) -> u64 {
        self.users.load().generation
    }
}

impl Users {
    fn parse(text: &str, generation: u64) -> Result<Self, ConfigError> {
        let mut users = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The line itself is not shown: it contains a hash, or a password by mistake.
            let invalid =
                |expected| ConfigError::new("password file", format!("line {}", at + 1), expected);
            let mut fields = line.splitn(3, ':');
            let name = fields.next().filter(|name| !name.is_empty());
            let (Some(name), Some(hash)) = (name, fields.next()) else {
                return Err(invalid("user:hash or user:hash:roles"));
            };
            let hash = PasswordHash::parse(hash);
            let hash = hash.ok_or_else(|| {
                invalid("a hash of bcrypt, as `htpasswd -B` writes it, or of Argon2")
            })?;
            let roles = fields.next().unwrap_or_default().split(',').map(str::trim);
            let roles = roles.filter(|role| !role.is_empty());
            let user = User {
                name_digest: Sha256::digest(name).into(),
                hash,
                is_dearest: false,
                principal: Principal::new(name, Proof::Password).with_roles(roles),
            };
            users.push((at, user));
        }
        users.sort_by_key(|(_, user)| user.name_digest);
        let mut pairs = users.windows(2);
        if let Some(pair) = pairs.find(|pair| pair[0].1.prefix() == pair[1].1.prefix()) {
            let line = format!("line {}", pair[0].0.max(pair[1].0) + 1);
            let expected = "a user that no earlier line has";
            return Err(ConfigError::new("password file", line, expected));
        }
        let dearest = users.iter().map(|(_, user)| user.hash.cost()).max();
        let random = random_bytes()?;
        let mut unknown = PasswordHash::unusable(&random);
        for (_, user) in &mut users {
            user.is_dearest = Some(user.hash.cost()) == dearest;
            if user.is_dearest {
                unknown = user.hash.lookalike(&random);
            }
        }
        let unknown = User {
            name_digest: random,
            hash: unknown,
            is_dearest: true,
            principal: Principal::new("", Proof::Password),
        };
        let users = users.into_iter().map(|(_, user)| user);
        Ok(Self {
            users: users.chain([unknown]).collect(),
            text_digest: text_digest(text),
            generation,
        })
    }

    /// Takes the same steps for every name and every password.
    fn verify(&self, name: &str, password: &str) -> Result<Principal, AuthError> {
        let name_digest: [u8; 32] = Sha256::digest(name).into();
        let prefix = prefix(&name_digest);
        let unknown = self.users.len() - 1;
        let at = self.users[..unknown].partition_point(|user| user.prefix() < prefix);
        let is_known = self.users[at].name_digest.ct_eq(&name_digest);
        // The hash of the next user, where an unknown one would be, is as long in coming from memory as that of a known user.
        let serves = is_known | Choice::from(u8::from(self.users[at].is_dearest));
        // Users are at most as many as the bytes of a file.
        let at = u64::conditional_select(&(unknown as u64), &(at as u64), serves);
        let user = &self.users[at as usize];
        let is_valid = user.hash.verify(password.as_bytes()) & is_known;
        if is_valid.into() {
            Ok(user.principal.clone())
        } else {
            Err(AuthError::invalid("wrong user name or password"))
        }
    }
}

impl User {
    fn prefix(&self) -> u64 {
        prefix(&self.name_digest)
    }
}

fn prefix(digest: &[u8; 32]) -> u64 {
    let (prefix, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
    u64::from_be_bytes(*prefix)
}

fn text_digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let invalid = |error| ConfigError::new("password file", path, format!("a text file ({error})"));
    fs::read_to_string(path).map_err(invalid)
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordFile")
            .field("users", &(self.users.load().users.len() - 1))
            .field("path", &self.path)
            .finish()
    }
}
