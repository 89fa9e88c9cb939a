use redis::{ErrorKind, RedisError};

use crate::store::Failure;

/// The codes of a server that cannot answer this connection, while it or another server may answer a new one: a failover has made it
/// a replica, it has just started, it lost its replicas or forgot who asks.
const ELSEWHERE: [&str; 7] = [
    "READONLY",
    "LOADING",
    "MASTERDOWN",
    "NOREPLICAS",
    "UNBLOCKED",
    "NOAUTH",
    "WRONGPASS",
];

/// The codes of a server that cannot answer anybody for now.
const UNWELL: [&str; 6] = [
    "MISCONF",
    "OOM",
    "NOPERM",
    "BUSY",
    "CLUSTERDOWN",
    "TRYAGAIN",
];

/// What servers say without a code if the user may not run what the script runs: Redis 6, then Redis 7 and Valkey.
const FORBIDDEN: [&str; 2] = [
    "The user executing the script can't",
    "ACL failure in script",
];

/// Returns what an answer of the server that is an error says about the bucket.
pub(crate) fn failure(error: &RedisError) -> Failure {
    let of_server = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
    let details = error.detail().unwrap_or_default();
    let forbidden = FORBIDDEN.iter().any(|words| details.contains(words));
    if !of_server || forbidden || has_code(error, &UNWELL) || is_lasting(error) {
        Failure::Away
    } else {
        Failure::Broken
    }
}

/// Whether this connection will not answer later either, while another one may.
pub(crate) fn is_lasting(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.is_io_error() || has_code(error, &ELSEWHERE)
}

/// Whether the error has one of the codes, in front or, as Redis 5 and 6 wrap the errors of a script, somewhere inside.
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

    /// A script of Redis 5 or 6 wraps what a command in it failed with.
    fn wrapped(line: &str) -> String {
        format!(
            "ERR Error running script (call to f_35ad2ad0d1d1): @user_script:44: @user_script: 44: -{line}"
        )
    }

    /// A script of Redis 7, or of Valkey, adds where it failed.
    fn located(line: &str) -> String {
        format!("{line} script: 35ad2ad0d1d1, on @user_script:44.")
    }

    /// As the sources of Redis 5.0, 6.2 and 7.2 and Valkey 8.0 word them, by themselves and from within a script.
    #[test]
    fn a_server_that_cannot_answer_is_away_in_any_wording() {
        for (line, another_helps) in [
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
                assert_eq!(failure(&error), Failure::Away, "{line}");
                assert_eq!(is_lasting(&error), another_helps, "{line}");
            }
        }
    }

    #[test]
    fn a_script_that_may_not_run_its_commands_concerns_every_bucket() {
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
            assert_eq!(failure(&error(&line)), Failure::Away, "{line}");
        }
    }

    #[test]
    fn an_error_of_one_bucket_concerns_no_other() {
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
                (failure(&error), is_lasting(&error)),
                (Failure::Broken, false),
                "{line}"
            );
        }
    }

    #[test]
    fn a_connection_that_broke_is_replaced() {
        let error = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!((failure(&error), is_lasting(&error)), (Failure::Away, true));
    }
}
