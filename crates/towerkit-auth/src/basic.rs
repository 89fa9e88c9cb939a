mod basic_auth;
mod hashing_queue;
mod password_file;
mod password_hash;
mod result_cache;
mod user_pass;
mod verify_password;

pub use basic_auth::{BasicAuth, BasicSnapshot};
pub use password_file::PasswordFile;
pub use verify_password::VerifyPassword;
