use axum::Router;
use bytes::Bytes;
use http::Response;
use http_body::Body;
use tower::Service;
use tracing::Dispatch;

use crate::HttpRequest;

/// The clock that a case reads on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clocked {
    /// None at all.
    No,
    /// The standard clock, which is everybody's default but governor's.
    Standard,
    /// The processor's counter, through quanta.
    Fast,
}

impl Clocked {
    /// Whether a case on this clock may be compared with one on the other: a peer that reads none may always be.
    #[must_use]
    pub fn comparable(self, peer: Self) -> bool {
        peer == Self::No || self == Self::No || peer == self
    }
}

/// Whose a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The inner service alone.
    Bare,
    /// A layer of towerkit.
    Ours,
    /// A layer of somebody else.
    Peer,
    /// A layer of somebody else that its clones do not share: shown, but nothing to compare a shared one with.
    Unshared,
}

/// What a case is called and how it may be compared.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its name in tables.
    pub name: &'static str,
    /// Whose it is.
    pub kind: Kind,
    /// Which clock it reads.
    pub clock: Clocked,
}

impl Label {
    /// Labels the inner service alone.
    #[must_use]
    pub const fn bare() -> Self {
        Self::new("(inner service)", Kind::Bare, Clocked::No)
    }

    /// Labels a layer of towerkit.
    #[must_use]
    pub const fn ours(name: &'static str, clock: Clocked) -> Self {
        Self::new(name, Kind::Ours, clock)
    }

    /// Labels a layer of somebody else.
    #[must_use]
    pub const fn peer(name: &'static str, clock: Clocked) -> Self {
        Self::new(name, Kind::Peer, clock)
    }

    /// Labels a layer of somebody else that its clones do not share.
    #[must_use]
    pub const fn unshared(name: &'static str, clock: Clocked) -> Self {
        Self::new(name, Kind::Unshared, clock)
    }

    const fn new(name: &'static str, kind: Kind, clock: Clocked) -> Self {
        Self { name, kind, clock }
    }
}

/// Something to be done with every case of the catalogue.
pub trait Visit {
    /// A group of cases begins, which share an inner service and are compared with one another.
    fn group(&mut self, title: String);

    /// The calls of the cases that follow, up to the next group, are traced to a subscriber.
    fn under(&mut self, subscriber: Dispatch);

    /// A plain case.
    fn plain<S>(&mut self, label: Label, service: S)
    where
        S: Service<u64, Response = u64> + 'static,
        S::Future: 'static;

    /// A case over HTTP.
    fn http<S, B>(&mut self, label: Label, service: S)
    where
        S: Service<HttpRequest, Response = Response<B>> + 'static,
        S::Future: 'static,
        B: Body<Data = Bytes> + 'static;

    /// A case around the routes of an axum application.
    fn router(&mut self, label: Label, app: Router);

    /// A plain case that is called with each of so many keys, in no order.
    fn keys<S>(&mut self, label: Label, keys: u64, service: S)
    where
        S: Service<u64, Response = u64> + 'static,
        S::Future: 'static;

    /// A plain case whose service two threads call at once.
    fn contended<S>(&mut self, label: Label, service: S)
    where
        S: Service<u64, Response = u64> + Clone + Send + 'static;
}
