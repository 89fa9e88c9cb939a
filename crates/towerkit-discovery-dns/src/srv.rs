use std::net::{IpAddr, SocketAddr};

use hickory_resolver::proto::rr::{Name, rdata::SRV};
use towerkit_discovery::{Address, Instance};

/// The largest weight that an instance gets, so that the sum of 10,000 does not overflow.
const MAX_WEIGHT: u64 = 1 << 18;

/// The key of the tag that names the target of a record.
const TARGET: &str = "target";

/// Returns true if the record can be the address of an instance.
pub(crate) fn is_valid(record: &SRV) -> bool {
    record.port != 0 && Address::new(&host(&record.target), record.port).is_ok()
}

/// Returns true for the one record that says that there is no such service.
pub(crate) fn is_not_available(records: &[SRV]) -> bool {
    matches!(records, [record] if record.target.is_root())
}

/// Makes the instances of the records of one priority, each with the addresses of its target.
///
/// The weight of a record is divided among its addresses. The record of weight 0 gets the share of RFC 2782, where a random number
/// from 0 to the sum of the weights is drawn, and 0 selects it: `1 / (sum + 1)`, which several of weight 0 share. So that the weights
/// are whole numbers, all are multiplied by what the divisions need.
pub(crate) fn instances(records: &[(SRV, Vec<IpAddr>)]) -> Vec<Instance> {
    let with_addresses = || {
        records
            .iter()
            .filter(|(_, addresses)| !addresses.is_empty())
    };
    let zeros = with_addresses()
        .filter(|(record, _)| record.weight == 0)
        .count() as u64;
    let all_are_zero = with_addresses().all(|(record, _)| record.weight == 0);
    let divisor = with_addresses().fold(1, |divisor, (_, addresses)| {
        least_common_multiple(divisor, addresses.len() as u64)
    });
    let weight = |record: &SRV, addresses: u64| {
        let weight = match (record.weight, all_are_zero) {
            (0, _) => 1,
            (weight, _) => u64::from(weight) * zeros.max(1),
        };
        weight as u128 * u128::from(divisor) / u128::from(addresses)
    };
    let weights = || with_addresses().map(|(record, ips)| weight(record, ips.len() as u64));
    let largest = weights().max().unwrap_or(1);
    let scale = |weight: u128| {
        if largest <= u128::from(MAX_WEIGHT) {
            return weight as u32;
        }
        (weight * u128::from(MAX_WEIGHT) / largest).max(1) as u32
    };
    with_addresses()
        .zip(weights())
        .flat_map(|((record, addresses), weight)| {
            let weight = scale(weight);
            addresses.iter().map(move |ip| {
                Instance::from(SocketAddr::new(*ip, record.port))
                    .weight(weight)
                    .tag(TARGET, host(&record.target))
            })
        })
        .collect()
}

/// Returns the name without the final dot.
fn host(name: &Name) -> String {
    let name = name.to_ascii().to_ascii_lowercase();
    name.strip_suffix('.').unwrap_or(&name).to_owned()
}

/// Returns the least common multiple, or `a` if it is too large to be of use.
fn least_common_multiple(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    let multiple = a / x * b;
    if multiple <= 1 << 32 { multiple } else { a }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn record(weight: u16, target: &str) -> SRV {
        SRV::new(0, weight, 80, Name::from_ascii(target).unwrap())
    }

    fn ips(first: u8, count: u8) -> Vec<IpAddr> {
        let ip = |last| Ipv4Addr::new(10, 0, first, last).into();
        (0..count).map(ip).collect()
    }

    fn weights(records: &[(u16, u8)]) -> Vec<u32> {
        let records: Vec<_> = (0_u8..)
            .zip(records)
            .map(|(index, (weight, count))| (record(*weight, "a."), ips(index, *count)))
            .collect();
        instances(&records)
            .iter()
            .map(|instance| instance.weight)
            .collect()
    }

    /// SD-14
    #[test]
    fn weights_are_those_of_the_records() {
        assert_eq!(weights(&[(10, 1), (40, 1)]), [10, 40]);
        assert_eq!(weights(&[(10, 2), (40, 2)]), [10, 10, 40, 40]);
        assert_eq!(weights(&[(10, 2), (40, 1)]), [10, 10, 80]);
        assert_eq!(weights(&[(10, 0), (40, 1)]), [40]);
    }

    /// SD-14
    #[test]
    fn a_weight_of_zero_has_a_small_share_and_zeros_among_themselves_an_equal_one() {
        assert_eq!(weights(&[(0, 1), (10, 1)]), [1, 10]);
        assert_eq!(weights(&[(0, 1), (0, 1), (10, 1)]), [1, 1, 20]);
        assert_eq!(weights(&[(0, 1), (0, 1)]), [1, 1]);
    }

    #[test]
    fn an_instance_has_the_name_of_its_target() {
        let instances = instances(&[(record(1, "A.example.org."), ips(0, 1))]);
        assert_eq!(instances[0].tags["target"], "a.example.org");
    }

    #[test]
    fn records_without_a_port_or_a_host_name_are_not_valid() {
        let of = |port, target| SRV::new(0, 0, port, Name::from_ascii(target).unwrap());
        assert!(is_valid(&of(80, "a.example.org.")));
        assert!(!is_valid(&of(0, "a.example.org.")));
        assert!(!is_valid(&of(80, ".")));
        assert!(is_not_available(&[of(0, ".")]));
    }

    proptest! {
        #[test]
        fn shares_are_in_proportion(records in prop::collection::vec((1_u16..=1000, 1_u8..=4), 1..20)) {
            let weights = weights(&records);
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            let sum: f64 = records.iter().map(|(weight, _)| f64::from(*weight)).sum();
            let mut weights = weights.into_iter();
            for (weight, count) in records {
                let share: f64 = weights.by_ref().take(count.into()).map(f64::from).sum::<f64>() / total;
                let expected = f64::from(weight) / sum;
                prop_assert!((share - expected).abs() < 0.001, "{share} {expected}");
            }
        }

        #[test]
        fn no_weight_overflows(records in prop::collection::vec((any::<u16>(), 0_u8..=30), 0..200)) {
            prop_assert!(weights(&records).iter().all(|weight| (1..=MAX_WEIGHT as u32).contains(weight)));
        }
    }
}
