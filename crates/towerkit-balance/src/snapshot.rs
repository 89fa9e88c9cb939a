use std::sync::Arc;

use towerkit_discovery::Instance;

use crate::{Candidates, config::ZonePreference, instance_policy::InstancePolicy};

/// The instances of a service at one moment, and the table of the picker for them.
pub(crate) struct Snapshot<S, R, T> {
    /// The instances that get calls, sorted by address, and then the others.
    candidates: Box<[Candidate<S, R>]>,
    /// In the same order.
    instances: Box<[Instance]>,
    /// The number of instances that get calls.
    active: usize,
    pub(crate) table: T,
}

/// The service of one instance, and its policies.
pub(crate) struct Candidate<S, R> {
    pub(crate) service: S,
    pub(crate) policy: Arc<InstancePolicy<R>>,
}

impl<S: Clone, R> Clone for Candidate<S, R> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            policy: self.policy.clone(),
        }
    }
}

impl<S, R, T> Snapshot<S, R, T> {
    /// Chooses the instances that get calls among all, which are sorted by address, and builds the table for them.
    pub(crate) fn new(
        all: Vec<(Instance, Candidate<S, R>)>,
        zone: Option<&ZonePreference>,
        build_table: impl FnOnce(&[Instance]) -> T,
    ) -> Self {
        // An instance of weight 0 gets calls only if all have 0.
        let has_weight = all.iter().any(|(instance, _)| instance.weight > 0);
        let (weighted, mut others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|(instance, _)| instance.weight > 0 || !has_weight);
        let mut chosen = weighted;
        if let Some(preference) = zone.filter(|zone| is_zone_enough(&chosen, zone)) {
            let (local, remote): (Vec<_>, Vec<_>) = chosen
                .into_iter()
                .partition(|(instance, _)| is_in_zone(instance, preference));
            chosen = local;
            others.extend(remote);
        }
        let active = chosen.len();
        let (instances, candidates): (Vec<_>, Vec<_>) = chosen.into_iter().chain(others).unzip();
        Self {
            table: build_table(&instances[..active]),
            candidates: candidates.into(),
            instances: instances.into(),
            active,
        }
    }

    /// Returns the instances that get calls.
    #[inline(always)]
    pub(crate) fn active(&self) -> &[Candidate<S, R>] {
        &self.candidates[..self.active]
    }

    /// Returns all instances, and true for those that get calls.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Instance, &Candidate<S, R>, bool)> {
        let all = self.instances.iter().zip(&self.candidates);
        (0..)
            .zip(all)
            .map(|(index, (instance, candidate))| (instance, candidate, index < self.active))
    }
}

fn is_in_zone(instance: &Instance, preference: &ZonePreference) -> bool {
    instance.zone.as_deref() == Some(&*preference.zone)
}

/// Returns true if the zone has enough instances that are well, and no more that are ejected.
fn is_zone_enough<S, R>(all: &[(Instance, Candidate<S, R>)], preference: &ZonePreference) -> bool {
    let local = all
        .iter()
        .filter(|(instance, _)| is_in_zone(instance, preference));
    let (ejected, well): (Vec<_>, Vec<_>) =
        local.partition(|(_, candidate)| candidate.policy.stats.ejection().is_ejected());
    well.len() >= preference.min_instances && well.len() >= ejected.len()
}

/// The instances that get calls, as a picker sees them at one time.
pub(crate) struct View<'a, S, R> {
    pub(crate) candidates: &'a [Candidate<S, R>],
    /// The time for latencies; 0 if they are not measured.
    pub(crate) now: u64,
}

impl<S, R> Candidates for View<'_, S, R> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.candidates.len()
    }

    #[inline(always)]
    fn load(&self, index: usize) -> f32 {
        let policy = &self.candidates[index].policy;
        policy.stats.load(policy.calls_in_flight())
    }

    #[inline(always)]
    fn is_less_loaded(&self, index: usize, other: usize) -> bool {
        let (policy, other_policy) = (
            &self.candidates[index].policy,
            &self.candidates[other].policy,
        );
        if policy.stats.is_adjusted() | other_policy.stats.is_adjusted() {
            return self.load(index) < self.load(other);
        }
        policy.calls_in_flight() < other_policy.calls_in_flight()
    }

    #[inline(always)]
    fn latency(&self, index: usize) -> Option<f32> {
        self.candidates[index].policy.stats.latency(self.now)
    }
}
