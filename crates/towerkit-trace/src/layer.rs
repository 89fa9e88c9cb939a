use std::num::NonZeroU32;

use towerkit_core::{
    AsObserver, Clock, ConfigError, NoProtocol, PolicyLayer, PolicyService, policy_layer,
};

use crate::{
    Propagation, Sampler, TraceObserver,
    link::RecordedHeaders,
    observer::CallerTrust,
    propagation::Formats,
    rate_sampler::RateSampler,
    span::{Kind, SpanOptions},
};

/// A layer that gives each call a place in a trace and, if the trace is recorded, a span.
///
/// Say the protocol with `.http()`, `.grpc()` or `.plain("operation")`, or put the layer into a policy stack. See the [crate docs](crate).
#[derive(Debug, Clone)]
pub struct TraceLayer<P = NoProtocol> {
    policies: PolicyLayer<AsObserver<TraceObserver>, P>,
}

/// A service behind a [`TraceLayer`].
pub type Trace<S, P = NoProtocol> = PolicyService<S, AsObserver<TraceObserver>, P>;

impl TraceLayer {
    /// Traces calls that come in: goes on from the context in the request, or begins a trace.
    #[must_use]
    pub fn server() -> Self {
        Self::of(Kind::Server)
    }

    /// Traces calls that go out: goes on from the context of the moment, and writes its own into the request.
    ///
    /// Inside a retry each attempt has a span of its own, with `http.request.resend_count`.
    #[must_use]
    pub fn client() -> Self {
        Self::of(Kind::Client)
    }

    /// Traces a call with all of its attempts, or one that does not leave the process.
    #[must_use]
    pub fn internal() -> Self {
        Self::of(Kind::Internal)
    }

    fn of(kind: Kind) -> Self {
        let trace = TraceObserver {
            kind,
            formats: Formats::default(),
            sampler: Sampler::default(),
            caller_trust: CallerTrust::Trusted,
            clock: Clock::default(),
            recorded: RecordedHeaders::default(),
            options: SpanOptions::default(),
        };
        Self {
            policies: PolicyLayer::new(AsObserver::new(trace), NoProtocol::default()),
        }
    }
}

impl<P> TraceLayer<P> {
    /// Decides which traces that begin here are recorded; all by default.
    #[must_use]
    pub fn sampler(mut self, sampler: Sampler) -> Self {
        self.trace().sampler = sampler;
        self
    }

    /// Reads the first of these formats that a request has, and writes all of them; [`Propagation::W3c`] by default, and for an empty list.
    #[must_use]
    pub fn propagation(mut self, formats: &[Propagation]) -> Self {
        let trace = self.trace();
        trace.formats = std::mem::take(&mut trace.formats).with_formats(formats);
        self
    }

    /// Passes the field `baggage` on; not by default.
    #[must_use]
    pub fn baggage(mut self) -> Self {
        self.trace().formats.baggage = true;
        self
    }

    /// Does not go on from the contexts of callers, and follows no decision of theirs: each call begins a trace, with a link to the
    /// caller's. For the edge, where anybody calls. By default callers are trusted.
    ///
    /// Takes the place of [`remote_sampling_limit`](Self::remote_sampling_limit).
    #[must_use]
    pub fn untrusted(mut self) -> Self {
        self.trace().caller_trust = CallerTrust::Untrusted;
        self
    }

    /// Records at most so many traces a second because a caller says so; those over it are up to the sampler. No limit by default.
    ///
    /// Takes the place of [`untrusted`](Self::untrusted).
    ///
    /// # Errors
    ///
    /// If the number is 0.
    pub fn remote_sampling_limit(mut self, per_second: u32) -> Result<Self, ConfigError> {
        let most = NonZeroU32::new(per_second).ok_or_else(|| {
            ConfigError::new(
                "remote_sampling_limit",
                per_second,
                "at least 1 trace a second",
            )
        })?;
        self.trace().caller_trust = CallerTrust::Limited(RateSampler::new(most));
        Ok(self)
    }

    /// Leaves `url.scheme`, `url.path`, `url.query` and `url.full` off the spans; they are shown by default, without secrets.
    #[must_use]
    pub fn without_url(mut self) -> Self {
        self.trace().options.url = false;
        self
    }

    /// Leaves `server.address` and `server.port` off the spans; they are shown by default.
    #[must_use]
    pub fn without_server(mut self) -> Self {
        self.trace().options.server = false;
        self
    }

    /// Says which server requests go to, such as `orders.internal:50051`, where they do not say it themselves, as those of tonic's clients;
    /// it is shown as `server.address` and `server.port`. Not known by default.
    #[must_use]
    pub fn authority(mut self, authority: &str) -> Self {
        self.trace().options.authority = Some(authority.into());
        self
    }

    /// Shows how many bytes of the response body were delivered, as `http.response.body.size`; not by default.
    #[must_use]
    pub fn record_body_size(mut self) -> Self {
        self.trace().options.body_size = true;
        self
    }

    /// Records request headers on spans, as `http.request.header.<name>` or, over gRPC, `rpc.request.header.<name>`; no headers by
    /// default.
    ///
    /// Up to 8 values of a header are recorded, each truncated to 256 bytes. A value that looks like credentials, or a URL with
    /// credentials, is `REDACTED`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if a name is not a header name, or is that of a header with credentials: `authorization`, `cookie`, and
    /// names that contain `auth`, `key`, `secret`, `session` or `token`, among others.
    #[cfg(feature = "opentelemetry")]
    pub fn record_headers(mut self, names: &[&str]) -> Result<Self, ConfigError> {
        self.trace().recorded = RecordedHeaders::new(names)?;
        Ok(self)
    }

    /// Measures the seconds of [`remote_sampling_limit`](Self::remote_sampling_limit) on this clock; [`Clock::default`] by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.trace().clock = clock;
        self
    }

    fn trace(&mut self) -> &mut TraceObserver {
        self.policies.policy_mut().get_mut()
    }
}

policy_layer!(TraceLayer, AsObserver<TraceObserver>, NoProtocol);
