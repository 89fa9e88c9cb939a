use redis::{ErrorKind, RedisError};

use crate::store::StoreError;

/// The error codes after which a new connection may help.
///
/// A failover has made the server a replica, it has just started, it lost its replicas, or the connection is not authenticated.
const RECONNECT_CODES: [&str; 7] = [
    "READONLY",
    "LOADING",
    "MASTERDOWN",
    "NOREPLICAS",
    "UNBLOCKED",
    "NOAUTH",
    "WRONGPASS",
];

/// The error codes that concern all buckets, while a new connection does not help.
const UNREACHABLE_CODES: [&str; 6] = [
    "MISCONF",
    "OOM",
    "NOPERM",
    "BUSY",
    "CLUSTERDOWN",
    "TRYAGAIN",
];

/// The messages without a code if the user may not run a command of the script: of Redis 6, and of Redis 7 and Valkey.
const FORBIDDEN_MESSAGES: [&str; 2] = [
    "The user executing the script can't",
    "ACL failure in script",
];

/// Classifies an error as one of the server or of the bucket.
pub(crate) fn store_error(error: &RedisError) -> StoreError {
    let is_reply = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
    let details = error.detail().unwrap_or_default();
    let forbidden = FORBIDDEN_MESSAGES
        .iter()
        .any(|message| details.contains(message));
    if !is_reply || forbidden || has_code(error, &UNREACHABLE_CODES) || breaks_connection(error) {
        StoreError::Unreachable
    } else {
        StoreError::BadBucket
    }
}

/// Returns true if this connection will not answer later, while a new one may.
pub(crate) fn breaks_connection(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.is_io_error() || has_code(error, &RECONNECT_CODES)
}

/// Returns true if the error has one of the codes, at its start or, because Redis 5 and 6 wrap the errors of a script, inside of it.
fn has_code(error: &RedisError, codes: &[&str]) -> bool {
    let is_one = |word: &str| codes.contains(&word);
    let mut words = { error.detail().unwrap_or_default() }.split(|c: char| !c.is_alphanumeric());
    error.code().is_some_and(is_one) || words.any(is_one)
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    fn error(line: &str) -> RedisError {
        let answer = parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        answer.extract_error().unwrap_err()
    }

    /// Wraps the error of a command as a script of Redis 5 or 6 does.
    fn wrapped(line: &str) -> String {
        format!(
            "ERR Error running script (call to f_35ad2ad0d1d1): @user_script:44: @user_script: 44: -{line}"
        )
    }

    /// Adds the line of the script as Redis 7 and Valkey do.
    fn located(line: &str) -> String {
        format!("{line} script: 35ad2ad0d1d1, on @user_script:44.")
    }

    /// The messages are from the sources of Redis 5.0, 6.2 and 7.2 and Valkey 8.0, plain and from within a script.
    #[test]
    fn a_server_that_cannot_answer_is_unreachable_in_any_wording() {
        for (line, breaks) in [
            ("READONLY You can't write against a read only slave.", true),
            (
                "READONLY You can't write against a read only replica.",
                true,
            ),
            (
                "READONLY Can not run script with write flag on readonly replica.",
                true,
            ),
            ("LOADING Redis is loading the dataset in memory", true),
            ("LOADING Valkey is loading the dataset in memory", true),
            (
                "MASTERDOWN Link with MASTER is down and slave-serve-stale-data is set to 'no'.",
                true,
            ),
            (
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                true,
            ),
            ("NOREPLICAS Not enough good slaves to write.", true),
            ("NOREPLICAS Not enough good replicas to write.", true),
            (
                "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
                true,
            ),
            ("NOAUTH Authentication required.", true),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                true,
            ),
            (
                "MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.",
                false,
            ),
            (
                "MISCONF Errors writing to the AOF file: No space left on device",
                false,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                false,
            ),
            (
                "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
                false,
            ),
            (
                "NOPERM this user has no permissions to run the 'evalsha' command or its subcommand",
                false,
            ),
            (
                "NOPERM User default has no permissions to run the 'evalsha' command",
                false,
            ),
            ("NOPERM No permissions to access a key", false),
            (
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
                false,
            ),
            ("CLUSTERDOWN The cluster is down", false),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                false,
            ),
        ] {
            for line in [line.to_owned(), wrapped(line), located(line)] {
                let error = error(&line);
                assert_eq!(store_error(&error), StoreError::Unreachable, "{line}");
                assert_eq!(breaks_connection(&error), breaks, "{line}");
            }
        }
    }

    #[test]
    fn a_user_that_may_not_run_the_script_makes_redis_unreachable() {
        for line in [
            wrapped("").replace(
                '-',
                "The user executing the script can't run this command or subcommand",
            ),
            located("ERR The user executing the script can't run this command or subcommand"),
            located(
                "ERR ACL failure in script: User default has no permissions to run the 'get' command",
            ),
        ] {
            assert_eq!(
                store_error(&error(&line)),
                StoreError::Unreachable,
                "{line}"
            );
        }
    }

    #[test]
    fn an_error_of_one_bucket_does_not_make_redis_unreachable() {
        let wrong_type = "WRONGTYPE Operation against a key holding the wrong kind of value";
        for line in [
            "WRONGTYPE the key is not a bucket".to_owned(),
            wrapped(wrong_type),
            located(wrong_type),
            "ERR value is not an integer or out of range".to_owned(),
            "NOTBUSY No scripts in execution right now.".to_owned(),
        ] {
            let error = error(&line);
            assert_eq!(
                (store_error(&error), breaks_connection(&error)),
                (StoreError::BadBucket, false),
                "{line}"
            );
        }
    }

    #[test]
    fn an_io_error_breaks_the_connection() {
        let error = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(
            (store_error(&error), breaks_connection(&error)),
            (StoreError::Unreachable, true)
        );
    }
}
