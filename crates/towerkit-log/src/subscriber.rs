use std::{error::Error, fmt, io, io::Stderr};

use tracing::{Dispatch, dispatcher, level_filters::LevelFilter};
use tracing_log::LogTracer;
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, layer::SubscriberExt, registry};

use crate::{
    Background, Format, LengthLimits, LineFormatter, LogGuard, LogQueue, Redaction, TargetsHandle,
    filter::Filter,
};

/// Sets up a subscriber that writes events as lines: level `info` and above, to stderr.
///
/// ```no_run
/// use towerkit_log::{Format, Targets};
///
/// let targets: Targets = "info,towerkit=debug".parse()?;
/// towerkit_log::subscriber(Format::Logfmt).targets(targets).try_init()?;
/// tracing::info!(addr = "127.0.0.1:8080", "listening");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn subscriber(format: Format) -> LogSubscriber {
    LogSubscriber {
        lines: LineFormatter::new(format),
        targets: TargetsHandle::new(all_of(LevelFilter::INFO)),
    }
}

fn all_of(level: LevelFilter) -> Targets {
    Targets::new().with_default(level)
}

/// A subscriber that is being set up by [`subscriber`]. Clones share what they let through.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until `try_init`"]
pub struct LogSubscriber<W = fn() -> Stderr> {
    lines: LineFormatter<W>,
    targets: TargetsHandle,
}

impl<W> LogSubscriber<W> {
    /// Logs events of this level and above, whatever their target; `info` by default.
    pub fn level(self, level: impl Into<LevelFilter>) -> Self {
        self.targets(all_of(level.into()))
    }

    /// Logs the events that `targets` lets through, in the place of [`level`](Self::level).
    pub fn targets(self, targets: Targets) -> Self {
        self.targets.replace(targets);
        self
    }

    /// Returns a handle on what is let through, which can be changed while the subscriber runs.
    #[must_use]
    pub fn handle(&self) -> TargetsHandle {
        self.targets.clone()
    }

    /// Writes to `writer`; to stderr by default. See [`LineFormatter::writer`].
    pub fn writer<V>(self, writer: V) -> LogSubscriber<V>
    where
        V: for<'a> MakeWriter<'a> + 'static,
    {
        LogSubscriber {
            lines: self.lines.writer(writer),
            targets: self.targets,
        }
    }

    /// Writes in the background, to the writer that has been set, so that no call ever waits for it; not by default.
    ///
    /// See [`Background`] for an example. Keep the guard until the end of `main`.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn background(
        self,
        background: Background,
    ) -> io::Result<(LogSubscriber<LogQueue>, LogGuard)>
    where
        W: for<'a> MakeWriter<'a> + Send + 'static,
    {
        let (lines, guard) = self.lines.background(background)?;
        let subscriber = LogSubscriber {
            lines,
            targets: self.targets,
        };
        Ok((subscriber, guard))
    }

    /// Shows levels in colours, in logfmt; not by default. See [`LineFormatter::colors`].
    pub fn colors(mut self, colors: bool) -> Self {
        self.lines = self.lines.colors(colors);
        self
    }

    /// Sets what is never written; [`Redaction::new`] by default.
    pub fn redaction(mut self, redaction: Redaction) -> Self {
        self.lines = self.lines.redaction(redaction);
        self
    }

    /// Sets how long values and lines may become; [`LengthLimits::new`] by default.
    pub fn length_limits(mut self, caps: LengthLimits) -> Self {
        self.lines = self.lines.length_limits(caps);
        self
    }

    /// Adds the fields of spans; not by default. See [`LineFormatter::spans`].
    pub fn spans(mut self) -> Self {
        self.lines = self.lines.spans();
        self
    }
}

impl<W> LogSubscriber<W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    /// Makes this the subscriber of the process, also for records of the crate [`log`](https://docs.rs/log).
    ///
    /// A record is an event of the same level and target. If the process has a logger already, that one stays, and gets the records.
    ///
    /// # Errors
    ///
    /// If the process has one already, which stays.
    pub fn try_init(self) -> Result<(), AlreadyInstalled> {
        dispatcher::set_global_default(self.dispatch()).map_err(|_| AlreadyInstalled(()))?;
        // An error says that there is a logger.
        let _ = LogTracer::init();
        Ok(())
    }

    /// Returns the subscriber, for a scope of [`tracing::dispatcher::with_default`].
    #[must_use]
    pub fn dispatch(self) -> Dispatch {
        Dispatch::new(registry().with(Filter(self.targets)).with(self.lines))
    }
}

/// The process has a tracing subscriber already.
#[derive(Debug)]
pub struct AlreadyInstalled(());

impl fmt::Display for AlreadyInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the process has a tracing subscriber already")
    }
}

impl Error for AlreadyInstalled {}
