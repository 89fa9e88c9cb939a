use std::{error::Error, marker::PhantomData};

use crate::{
    CallEnd, CarriesRejection, Deadline, DescribeRequest, InFlightCall, Outcome, PolicyShape,
    Protocol, ProtocolKind, RejectCall, Rejection, RejectionReason, TrackResponse,
    causes::{as_error, causes},
};

/// The protocol of services without a wire protocol: a call ends when its future resolves.
///
/// `Ok` is a success and `Err` a failure, unless [`classify`](Self::classify) decides otherwise. A rejection is an `Err` that
/// contains the [`Rejection`]; outer layers do not count it as a failure of the upstream. A stack with a guard finds it by
/// [`CarriesRejection`]. A stack of observers only finds it in a [`BoxError`](crate::BoxError) or a [`Rejection`], and in another
/// type by [`by_rejection`](Self::by_rejection).
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain<C = ByResult> {
    operation: &'static str,
    classify: C,
}

impl Plain {
    /// Makes the protocol. `operation` is the name of the calls in logs and metrics.
    #[must_use]
    pub const fn new(operation: &'static str) -> Self {
        Self {
            operation,
            classify: ByResult,
        }
    }
}

impl<C> Plain<C> {
    /// Determines the outcome of each result that is not a rejection by a function; by [`ByResult`] by default.
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

    /// Finds rejections in an error type of your own by [`CarriesRejection`], also in a stack of observers only.
    #[must_use]
    pub fn by_rejection(self) -> Plain<ByRejection> {
        Plain {
            operation: self.operation,
            classify: ByRejection,
        }
    }

    /// Counts a response as a failure if its [`Failer`] reports one.
    #[must_use]
    pub fn by_failer(self) -> Plain<ByFailer> {
        Plain {
            operation: self.operation,
            classify: ByFailer,
        }
    }
}

/// Determines the outcome of a result.
pub trait Classify<T, E> {
    /// Returns the outcome and, if the result is a rejection by an inner layer, its reason.
    fn classify(&self, result: &Result<T, E>) -> (Outcome, Option<RejectionReason>);
}

/// Classifies `Ok` as a success, and `Err` as a failure or, if it contains a [`Rejection`], as that.
#[doc(hidden)]
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
    /// Returns the outcome of an error: that of the [`Rejection`] among its causes, or else a failure.
    ///
    /// The causes are known if the type is [`BoxError`](crate::BoxError) or [`std::io::Error`].
    #[inline(always)]
    pub fn of_error<E: 'static>(error: &E) -> (Outcome, Option<RejectionReason>) {
        match rejection_in(error) {
            Some(rejection) => (rejection.reason().outcome(), Some(rejection.reason())),
            None => (Outcome::Failure, None),
        }
    }
}

/// Finds a rejection in an error of any type. For a type that cannot contain one, the compiler removes the search.
#[inline(always)]
fn rejection_in<E: 'static>(error: &E) -> Option<&Rejection> {
    causes(as_error(error)?).find_map(|cause| cause.downcast_ref())
}

/// Classifies errors by [`CarriesRejection`].
#[doc(hidden)]
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

/// Classifies responses by [`Failer`].
#[doc(hidden)]
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

/// A response that may be a business failure: go-kit's
/// [`endpoint.Failer`](https://pkg.go.dev/github.com/go-kit/kit/endpoint#Failer).
pub trait Failer {
    /// Returns the business failure, if the response is one.
    fn failed(&self) -> Option<&(dyn Error + 'static)>;
}

/// Classifies results by a function; see [`Plain::classify`].
#[doc(hidden)]
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
#[doc(hidden)]
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

    /// Returns the [current](Deadline::current) deadline: a plain request has no place for one.
    fn deadline(&self, _request: &Req) -> Option<Deadline> {
        Deadline::current()
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
