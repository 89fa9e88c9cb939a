use crate::{Kind, Label};

/// A group of cases that were measured together.
#[derive(Debug)]
pub struct Group {
    /// What they have in common.
    pub title: String,
    /// The cases, in the order of the catalogue.
    pub cases: Vec<Measured>,
}

/// What was measured of a case.
#[derive(Debug)]
pub struct Measured {
    /// The case.
    pub label: Label,
    /// Nanoseconds of a call; but for the inner service, over the inner service: the median of the runs.
    pub nanos: f64,
    /// The size of its response future, in bytes.
    pub future: usize,
    /// Nanoseconds over those of the fastest comparable peer: the median of the runs' ratios.
    pub ratio: Option<f64>,
}

/// The runs of a case.
pub(crate) struct Runs {
    pub(crate) label: Label,
    pub(crate) future: usize,
    /// Nanoseconds of a call, in the order of the runs.
    pub(crate) nanos: Vec<f64>,
}

/// Compares the cases of a group, run by run.
pub(crate) fn compare(mut group: Vec<Runs>) -> Vec<Measured> {
    subtract_bare(&mut group);
    let measured = group.iter().map(|case| Measured {
        label: case.label,
        nanos: median(&case.nanos),
        future: case.future,
        ratio: ratio(case, &group),
    });
    measured.collect()
}

/// Takes the inner service's time off every other case.
fn subtract_bare(group: &mut [Runs]) {
    let bare = group.iter().find(|case| case.label.kind == Kind::Bare);
    let Some(bare) = bare.map(|bare| bare.nanos.clone()) else {
        return;
    };
    let layers = group
        .iter_mut()
        .filter(|case| case.label.kind != Kind::Bare);
    for layer in layers {
        for (nanos, bare) in layer.nanos.iter_mut().zip(&bare) {
            *nanos -= bare;
        }
    }
}

fn ratio(case: &Runs, group: &[Runs]) -> Option<f64> {
    if case.label.kind != Kind::Ours {
        return None;
    }
    let best = group
        .iter()
        .filter(|peer| peer.label.kind == Kind::Peer)
        .filter(|peer| case.label.clock.comparable(peer.label.clock))
        .min_by(|a, b| median(&a.nanos).total_cmp(&median(&b.nanos)))?;
    let runs = case.nanos.iter().zip(&best.nanos);
    let ratios: Vec<_> = runs.map(|(ours, best)| ours / best).collect();
    Some(median(&ratios))
}

/// Returns the median, of an even number the upper one.
///
/// # Panics
///
/// If there is nothing to take it of.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clocked;

    fn runs(label: Label, nanos: [f64; 3]) -> Runs {
        Runs {
            label,
            future: 0,
            nanos: nanos.to_vec(),
        }
    }

    #[test]
    fn a_ratio_is_taken_over_the_inner_service_to_the_best_peer_on_the_same_clock() {
        let measured = compare(vec![
            runs(Label::bare(), [1.0, 2.0, 1.0]),
            runs(Label::ours("ours", Clocked::Fast), [11.0, 12.0, 11.0]),
            runs(Label::peer("fast", Clocked::Fast), [21.0, 22.0, 41.0]),
            runs(Label::peer("slow", Clocked::No), [101.0, 102.0, 101.0]),
            runs(
                Label::peer("other clock", Clocked::Standard),
                [2.0, 3.0, 2.0],
            ),
            runs(Label::unshared("alone", Clocked::Fast), [2.0, 3.0, 2.0]),
        ]);
        assert_eq!(measured[0].nanos, 1.0);
        assert_eq!(measured[1].nanos, 10.0);
        assert_eq!(measured[1].ratio, Some(0.5));
        assert!(measured[2..].iter().all(|peer| peer.ratio.is_none()));
    }
}
