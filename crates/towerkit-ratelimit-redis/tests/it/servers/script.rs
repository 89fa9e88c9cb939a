//! The Lua script against exact arithmetic.

use std::{cell::RefCell, panic::AssertUnwindSafe};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use towerkit_ratelimit_redis::redis::{Connection, cmd};

use super::server::Server;

/// Returns the script with the clock as an argument, and with keys that expire an hour later.
fn script() -> String {
    let script = include_str!("../../../src/bucket.lua");
    let timeless = script.replace(r#"redis.call("TIME")"#, "{ ARGV[6], ARGV[7] }");
    let lasting = timeless.replace("\"%.0f\", milliseconds", "\"%.0f\", milliseconds + 3600000");
    assert!(script != timeless && timeless != lasting);
    lasting
}

/// A bucket with exact arithmetic.
struct Exact {
    count: i128,
    period: i128,
    burst: i128,
    /// The missing tokens, times the period in nanoseconds.
    lack: i128,
    seen: i128,
}

impl Exact {
    /// Returns the tokens that are granted, and the microseconds until the next token.
    fn take(&mut self, now: i128, asked: i128) -> (i128, i128) {
        let (mut lack, mut seen, mut moved) = (self.lack, now, false);
        if now >= self.seen {
            lack = (lack - (now - self.seen) * 1000 * self.count).max(0);
        } else if self.seen - now <= self.fill() {
            seen = self.seen;
        } else {
            moved = true;
        }
        let granted = ((self.burst * self.period - lack) / self.period).min(asked);
        lack += granted * self.period;
        if granted > 0 || moved {
            (self.lack, self.seen) = (lack, seen);
        }
        let missing = self.period - (self.burst * self.period - lack);
        let wait = if missing > 0 {
            seen - now + ceil(missing, 1000 * self.count)
        } else {
            0
        };
        (granted, wait)
    }

    /// Returns the microseconds in which the bucket fills.
    fn fill(&self) -> i128 {
        ceil(self.burst * self.period, 1000 * self.count)
    }
}

fn ceil(dividend: i128, divisor: i128) -> i128 {
    (dividend + divisor - 1) / divisor
}

fn gcd(one: i128, other: i128) -> i128 {
    if other == 0 {
        one
    } else {
        gcd(other, one % other)
    }
}

fn run(
    connection: &mut Connection,
    script: &str,
    exact: &Exact,
    now: i128,
    asked: i128,
) -> (i128, i128) {
    let divisor = gcd(exact.period, 1000 * exact.count);
    let token = exact.period / divisor;
    let numbers = [
        token,
        1000 * exact.count / divisor,
        token * exact.burst,
        exact.fill(),
        asked,
        now / 1_000_000,
        now % 1_000_000,
    ];
    let mut command = cmd("EVAL");
    command.arg(script).arg(1).arg("bucket");
    for number in numbers {
        command.arg(number as i64);
    }
    let (granted, wait): (i64, i64) = command.query(connection).unwrap();
    (granted.into(), wait.into())
}

/// A quota, and steps with a kind, a size and the tokens requested.
type Case = ((u32, u64, u32), Vec<(u32, u32, u32)>);

/// RL-01, RL-03, RL-06: every reply of the script equals exact arithmetic, also with the largest numbers, and after the clock of the
/// server was set back.
#[test]
#[ignore = "needs redis-server"]
fn the_script_is_exact() {
    let server = Server::start();
    let (script, mut connection) = (script(), server.connection());
    let quotas = prop_oneof![
        (1..20_000u32, Just(1_000_000_000u64), 1..200u32),
        Just((1, 30 * 24 * 3600 * 1_000_000_000, 3473)),
        Just((1_000_000_000, 1_000_000_000, u32::MAX)),
        Just((999_999_937, 999_999_999, 9_000_000)),
        (1..1000u32, 1..10_000_000_000u64, 1..50u32),
    ];
    let step = (0..6u32, 0..2_000_000u32, 1..300u32);
    let cases = (quotas, prop::collection::vec(step, 1..40));
    let config = Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    };
    let agrees = |((count, period, burst), steps): Case| {
        let mut exact = Exact {
            count: count.into(),
            period: period.into(),
            burst: burst.into(),
            lack: 0,
            seen: 0,
        };
        let divisor = gcd(exact.period, 1000 * exact.count);
        let largest = exact.period / divisor * exact.burst;
        prop_assume!(
            largest + (exact.period / divisor).max(1000 * exact.count / divisor) <= 1 << 53
        );
        cmd("FLUSHALL").query::<()>(&mut connection).unwrap();
        let mut now = 1_764_000_000_000_000;
        for (kind, size, asked) in steps {
            now += match kind {
                0 => 0,
                1 => i128::from(size),
                2 => ceil(exact.period, 1000 * exact.count),
                3 => exact.fill() * i128::from(size) / 1_000_000,
                4 => -i128::from(size),
                _ => -exact.fill().min(1_000_000_000_000) - i128::from(size % 3),
            };
            let asked = if size % 2 == 0 { 1 } else { asked.into() };
            let answer = run(&mut connection, &script, &exact, now, asked);
            prop_assert_eq!(answer, exact.take(now, asked));
            if answer.0 > 0 {
                // The key expires when the bucket is full, and little later.
                let left: i64 = cmd("PTTL").arg("bucket").query(&mut connection).unwrap();
                let full_in = ceil(exact.lack, 1000 * exact.count) + (exact.seen - now).max(0);
                let beyond = i128::from(left) - 3_600_000 - full_in / 1000;
                prop_assert!((-500..=2).contains(&beyond), "{beyond} ms");
            }
        }
        Ok(())
    };
    let agrees = AssertUnwindSafe(RefCell::new(agrees));
    TestRunner::new(config)
        .run(&cases, |case| (agrees.borrow_mut())(case))
        .unwrap();
}
