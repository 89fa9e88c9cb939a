use std::{error::Error, marker::PhantomData};

use crate::{
    CallEnd, CarriesRejection, DescribeRequest, InFlightCall, Outcome, PolicyShape, Protocol,
    ProtocolKind, RejectCall, Rejection, RejectionReason, TrackResponse,
    causes::{as_error, causes},
};

/// Reads a service without a wire protocol: a call is over when its future resolves.
///
/// `Ok` is a success and `Err` a failure, unless [`classify`](Self::classify) says otherwise. A rejection is an `Err` that carries the
/// [`Rejection`], so that layers outside recognise it and never count it as the callee's failure: policy stacks with a guard ask
/// [`CarriesRejection`]; policy stacks of observers alone know a [`BoxError`](crate::BoxError) and a [`Rejection`], and any other type by
/// [`by_rejection`](Self::by_rejectable).
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain<C = ByResult> {
    operation: &'static str,
    classify: C,
}

impl Plain {
    /// Reads calls of the operation named so in logs and metrics.
    #[must_use]
    pub const fn new(operation: &'static str) -> Self {
        Self {
            operation,
            classify: ByResult,
        }
    }
}

impl<C> Plain<C> {
    /// Asks a function for the outcome of every result that is no rejection; [`ByResult`] by default.
    #[must_use]
    pub fn classify<T, E, F>(self, classify: F) -> Plain<ClassifyFn<F, T, E>>
    where
        F: Fn(&Result<T, E>) -> Outcome,
    {
        Plain {
            operation: self.operation,
            classify: ClassifyFn(classify, PhantomData),
        }
    }

    /// Asks errors of a type of your own whether they are rejections, also in a row of observers alone.
    #[must_use]
    pub fn by_rejection(self) -> Plain<ByRejection> {
        Plain {
            operation: self.operation,
            classify: ByRejection,
        }
    }

    /// Counts a response that is a business failure, as its [`Failer`] says, as a failure.
    #[must_use]
    pub fn by_failer(self) -> Plain<ByFailer> {
        Plain {
            operation: self.operation,
            classify: ByFailer,
        }
    }
}

/// Tells the outcome of a result.
pub trait Classify<T, E> {
    /// Returns the outcome, and the reason where the result is a rejection by a layer further in.
    fn classify(&self, result: &Result<T, E>) -> (Outcome, Option<RejectionReason>);
}

/// `Ok` is a success, `Err` a failure or, if it carries one, a rejection.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByResult;

impl<T, E: 'static> Classify<T, E> for ByResult {
    #[inline(always)]
    fn classify(&self, result: &Result<T, E>) -> (Outcome, Option<RejectionReason>) {
        match result {
            Ok(_) => (Outcome::Success, None),
            Err(error) => Self::of_error(error),
        }
    }
}

impl ByResult {
    /// Tells the outcome of an error: a rejection, if the error is a [`Rejection`] or caused by one, or else a failure.
    ///
    /// The causes of an error are known where its type is [`BoxError`](crate::BoxError) or [`std::io::Error`].
    #[inline(always)]
    pub fn of_error<E: 'static>(error: &E) -> (Outcome, Option<RejectionReason>) {
        match rejection_in(error) {
            Some(rejection) => (rejection.reason().outcome(), Some(rejection.reason())),
            None => (Outcome::Failure, None),
        }
    }
}

/// Finds a rejection in an error, whatever its type; for a type that cannot be one this folds to `None`.
#[inline(always)]
fn rejection_in<E: 'static>(error: &E) -> Option<&Rejection> {
    causes(as_error(error)?).find_map(|cause| cause.downcast_ref())
}

/// Asks the error itself, see [`CarriesRejection`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ByRejection;

impl<T, E: CarriesRejection> Classify<T, E> for ByRejection {
    #[inline(always)]
    fn classify(&self, result: &Result<T, E>) -> (Outcome, Option<RejectionReason>) {
        match result {
            Ok(_) => (Outcome::Success, None),
            Err(error) => match error.rejection().map(Rejection::reason) {
                Some(reason) => (reason.outcome(), Some(reason)),
                None => (Outcome::Failure, None),
            },
        }
    }
}

/// Asks the response itself, see [`Failer`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ByFailer;

impl<T: Failer, E: 'static> Classify<T, E> for ByFailer {
    #[inline(always)]
    fn classify(&self, result: &Result<T, E>) -> (Outcome, Option<RejectionReason>) {
        match result {
            Ok(response) if response.failed().is_some() => (Outcome::Failure, None),
            result => ByResult.classify(result),
        }
    }
}

/// A response that may be a business failure: go-kit's `endpoint.Failer`.
pub trait Failer {
    /// Returns the business failure, if the response is one.
    fn failed(&self) -> Option<&(dyn Error + 'static)>;
}

/// Asks a function, see [`Plain::classify`].
#[derive(Debug)]
pub struct ClassifyFn<F, T, E>(F, PhantomData<fn(&T, &E)>);

impl<F: Clone, T, E> Clone for ClassifyFn<F, T, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<F, T, E: 'static> Classify<T, E> for ClassifyFn<F, T, E>
where
    F: Fn(&Result<T, E>) -> Outcome,
{
    #[inline(always)]
    fn classify(&self, result: &Result<T, E>) -> (Outcome, Option<RejectionReason>) {
        match result {
            Err(error) if rejection_in(error).is_some() => ByResult::of_error(error),
            result => (self.0(result), None),
        }
    }
}

/// The exchange of [`Plain`].
#[derive(Debug, Clone)]
pub struct PlainExchange<C>(C);

impl<C> PlainExchange<C> {
    pub(crate) fn classifier(&self) -> &C {
        &self.0
    }
}

impl<Req, C: Clone> Protocol<Req> for Plain<C> {
    type Exchange = PlainExchange<C>;

    #[inline(always)]
    fn open(&self, _request: &Req, _kind: ProtocolKind) -> PlainExchange<C> {
        PlainExchange(self.classify.clone())
    }
}

impl<Req, C> DescribeRequest<Req> for Plain<C> {
    #[inline(always)]
    fn operation<'a>(&'a self, _request: &'a Req, _kind: ProtocolKind) -> &'a str {
        self.operation
    }
}

impl<T, E, C: Classify<T, E>> TrackResponse<T, E> for PlainExchange<C> {
    type Response<R: PolicyShape> = T;

    #[inline(always)]
    fn track<R: PolicyShape>(
        &self,
        result: Result<T, E>,
        in_flight_call: &mut InFlightCall<R>,
    ) -> Result<T, E> {
        in_flight_call.finish_with(|| {
            let (outcome, rejected) = self.0.classify(&result);
            CallEnd::new(outcome).with_rejection_reason(rejected)
        });
        result
    }
}

impl<T, E: CarriesRejection, C: Classify<T, E>> RejectCall<T, E> for PlainExchange<C> {
    #[inline(always)]
    fn reject<R: PolicyShape>(&self, rejection: Rejection) -> Result<T, E> {
        Err(E::from_rejection(rejection))
    }

    #[inline(always)]
    fn rejection_reason(&self, error: &E) -> Option<RejectionReason> {
        error.rejection().map(Rejection::reason)
    }
}
