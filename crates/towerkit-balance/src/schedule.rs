use std::{cmp::Reverse, collections::BinaryHeap};

/// Divides `places` among indexes in proportion to their weights, at least one for each weight above 0.
///
/// Shares are exact to one place: the largest remainders are rounded up. If all weights are 0, they count as equal. `places` is at
/// least the number of weights.
pub(crate) fn divide(weights: &[u32], places: usize) -> Vec<u32> {
    let all_zero = weights.iter().all(|weight| *weight == 0);
    let weight = |index: usize| {
        if all_zero {
            1
        } else {
            u128::from(weights[index])
        }
    };
    let mut parts = vec![0; weights.len()];
    let mut open: Vec<_> = (0..weights.len())
        .filter(|index| weight(*index) > 0)
        .collect();
    let mut places = places as u128;
    let mut total: u128 = open.iter().map(|index| weight(*index)).sum();
    // Shares below one place become one, which leaves fewer places to the others.
    loop {
        let (small, large): (Vec<_>, Vec<_>) = open
            .iter()
            .partition(|index| weight(**index) * places < total);
        if small.is_empty() {
            break;
        }
        for index in small {
            parts[index] = 1;
            places -= 1;
            total -= weight(index);
        }
        open = large;
    }
    let remainder = |index: &usize| weight(*index) * places % total;
    open.sort_by_key(|index| Reverse(remainder(index)));
    for index in &open {
        parts[*index] = (weight(*index) * places / total) as u32;
    }
    let assigned: u128 = open.iter().map(|index| u128::from(parts[*index])).sum();
    for index in open.iter().take((places - assigned) as usize) {
        parts[*index] += 1;
    }
    parts
}

/// Returns a sequence in which each index appears as often as its part says, evenly spread: the earliest deadline comes first.
pub(crate) fn sequence(parts: &[u32]) -> impl Iterator<Item = usize> {
    /// The middle of the place `nth` of `of`, as a part of 2^32.
    fn deadline(nth: u32, of: u32) -> u64 {
        ((u64::from(nth) * 2 + 1) << 31) / u64::from(of)
    }
    let mut heap: BinaryHeap<_> = parts
        .iter()
        .enumerate()
        .filter(|(_, part)| **part > 0)
        .map(|(index, part)| Reverse((deadline(0, *part), index, 0, *part)))
        .collect();
    std::iter::from_fn(move || {
        let mut first = heap.peek_mut()?;
        let Reverse((_, index, nth, part)) = *first;
        if nth + 1 < part {
            first.0 = (deadline(nth + 1, part), index, nth + 1, part);
        } else {
            std::collections::binary_heap::PeekMut::pop(first);
        }
        Some(index)
    })
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// LB-09
        #[test]
        fn places_are_divided_exactly(weights in prop::collection::vec(prop_oneof![Just(0), Just(1), Just(u32::MAX), 0..100u32], 1..50)) {
            let places = 65_537;
            let parts = divide(&weights, places);
            let sum: u64 = parts.iter().map(|part| u64::from(*part)).sum();
            prop_assert_eq!(sum, places as u64);
            let all_zero = weights.iter().all(|weight| *weight == 0);
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let share = if all_zero { 1.0 / weights.len() as f64 } else { f64::from(*weight) / total };
                // One more or less, and one for each index that was rounded up to one place.
                prop_assert!((f64::from(*part) - share * places as f64).abs() <= 1.0 + weights.len() as f64 * share, "{:?}", parts);
                prop_assert_eq!(*part == 0, *weight == 0 && !all_zero);
            }
        }

        #[test]
        fn a_sequence_has_each_index_as_often_as_its_part_and_evenly_spread(parts in prop::collection::vec(0..30u32, 1..12)) {
            let sequence: Vec<_> = sequence(&parts).collect();
            let length = sequence.len() as f64;
            for (index, part) in parts.iter().enumerate() {
                let mut seen = 0;
                for (place, other) in sequence.iter().enumerate() {
                    seen += u32::from(*other == index);
                    let due = f64::from(*part) * (place + 1) as f64 / length;
                    prop_assert!((f64::from(seen) - due).abs() < 2.0, "{:?}", sequence);
                }
                prop_assert_eq!(seen, *part);
            }
        }
    }

    #[test]
    fn the_earliest_deadline_comes_first() {
        let sequence: Vec<_> = sequence(&[5, 1, 1]).collect();
        assert_eq!(sequence, [0, 0, 0, 1, 2, 0, 0]);
    }
}
