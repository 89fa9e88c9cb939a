/// The options that layers of one breaker and of many have in common, for a layer with `with(self, FnOnce(&mut Settings))`.
macro_rules! setters {
    () => {
        /// Says when a breaker opens; by default when half of the last 100 results are failures, once there are 20.
        #[must_use]
        pub fn open_when(self, open_when: OpenWhen) -> Self {
            self.with(|settings| settings.options = settings.options.open_when(open_when))
        }

        /// Says how long an open breaker rejects calls before it lets probes through; 10 seconds by default.
        ///
        /// # Errors
        ///
        /// If `time` is zero, or does not fit in 64 bits of nanoseconds (584 years).
        pub fn open_for(self, time: Duration) -> Result<Self, InvalidSetting> {
            OpenDuration::new(time).map(|time| self.open_duration(time))
        }

        /// Says how long an open breaker rejects calls, where that time grows or has jitter.
        #[must_use]
        pub fn open_duration(self, time: OpenDuration) -> Self {
            self.with(|settings| settings.options = settings.options.open_duration(time))
        }

        /// Says how many probes must succeed to close a half-open breaker; no more than that are let through. 1 by default.
        ///
        /// # Errors
        ///
        /// If `probes` is not 1 to 1023.
        pub fn probes(self, probes: u16) -> Result<Self, InvalidSetting> {
            let options = self.settings().options.probes(probes)?;
            Ok(self.options(options))
        }

        /// Says how long a probe may run before its place may go to another call, see [`CircuitBreakerOptions::probe_timeout`]; 1 minute by default.
        ///
        /// # Errors
        ///
        /// If `time` is zero, or does not fit in 64 bits of nanoseconds (584 years).
        pub fn probe_timeout(self, time: Duration) -> Result<Self, InvalidSetting> {
            let options = self.settings().options.probe_timeout(time)?;
            Ok(self.options(options))
        }

        /// Sets all of the above at once.
        #[must_use]
        pub fn options(self, options: CircuitBreakerOptions) -> Self {
            self.with(|settings| settings.options = options)
        }

        /// Judges what the end of a call says about the callee; [`CountAs::of`] by default.
        ///
        /// A panic of the inner service is a failure without asking. If `verdict` itself panics, the call is judged by default.
        #[must_use]
        pub fn count_as(
            self,
            verdict: impl Fn(&CallEnd) -> CountAs + Send + Sync + 'static,
        ) -> Self {
            self.with(|settings| settings.verdict = Some(Arc::new(verdict)))
        }

        /// Names what rejects, in rejections and events; `circuitbreaker` by default.
        #[must_use]
        pub fn name(self, name: &'static str) -> Self {
            self.with(|settings| settings.name = name)
        }

        /// Reads time from `clock`; [`Clock::monotonic`] by default.
        ///
        /// A closed breaker reads none, unless it counts by time (once, when a call ends) or counts slow calls (also when it starts).
        #[must_use]
        pub fn clock(self, clock: Clock) -> Self {
            self.with(|settings| settings.clock = clock)
        }

        /// Reports every change of state to `sink`; to no one by default.
        #[must_use]
        pub fn events(self, sink: impl EventSink + 'static) -> Self {
            self.with(|settings| settings.sink = Some(Arc::new(sink)))
        }

        /// Begins the jitter of the open time with `seed`, so that it can be repeated; at random by default.
        #[must_use]
        pub fn seed(self, seed: u64) -> Self {
            self.with(|settings| settings.seed = Some(seed))
        }
    };
}

pub(crate) use setters;
