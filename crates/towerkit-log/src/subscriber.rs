use std::{
    error::Error,
    fmt,
    io::{self, Stderr},
};

use tracing::{Dispatch, dispatcher, level_filters::LevelFilter};
use tracing_log::LogTracer;
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, layer::SubscriberExt, registry};

use crate::{
    Background, Format, LengthLimits, LineFormatter, LogGuard, LogQueue, Redaction, TargetsHandle,
    filter::TargetsFilter,
};

/// Creates a subscriber that writes events of the level `INFO` and more severe to stderr.
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
        formatter: LineFormatter::new(format),
        targets: TargetsHandle::new(all_targets(LevelFilter::INFO)),
    }
}

fn all_targets(level: LevelFilter) -> Targets {
    Targets::new().with_default(level)
}

/// A `tracing` subscriber with one [`LineFormatter`], created by [`subscriber()`]. Clones share their [`Targets`].
#[derive(Debug, Clone)]
#[must_use = "a subscriber has no effect until `try_init`"]
pub struct LogSubscriber<W = fn() -> Stderr> {
    formatter: LineFormatter<W>,
    targets: TargetsHandle,
}

impl<W> LogSubscriber<W> {
    /// Sets the least severe level that is written, for all targets; [`LevelFilter::INFO`] by default.
    pub fn level(self, level: impl Into<LevelFilter>) -> Self {
        self.targets(all_targets(level.into()))
    }

    /// Sets the least severe level by target, in place of [`level`](Self::level).
    pub fn targets(self, targets: Targets) -> Self {
        self.targets.replace(targets);
        self
    }

    /// Returns a handle that changes the [`Targets`] at run time.
    #[must_use]
    pub fn handle(&self) -> TargetsHandle {
        self.targets.clone()
    }

    /// Sets the writer; stderr by default. See [`LineFormatter::writer`].
    pub fn writer<V>(self, writer: V) -> LogSubscriber<V>
    where
        V: for<'a> MakeWriter<'a> + 'static,
    {
        LogSubscriber {
            formatter: self.formatter.writer(writer),
            targets: self.targets,
        }
    }

    /// Writes lines in a thread of its own; by default each line is written by the thread that logs. See [`Background`].
    ///
    /// Keep the guard until the end of `main`.
    ///
    /// # Errors
    ///
    /// Returns an error if the thread cannot be started.
    pub fn background(
        self,
        background: Background,
    ) -> io::Result<(LogSubscriber<LogQueue>, LogGuard)>
    where
        W: for<'a> MakeWriter<'a> + Send + 'static,
    {
        let (formatter, guard) = self.formatter.background(background)?;
        let subscriber = LogSubscriber {
            formatter,
            targets: self.targets,
        };
        Ok((subscriber, guard))
    }

    /// Colors the levels of logfmt lines; off by default. See [`LineFormatter::colors`].
    pub fn colors(mut self, colors: bool) -> Self {
        self.formatter = self.formatter.colors(colors);
        self
    }

    /// Sets the [`Redaction`] of credentials; [`Redaction::new`] by default.
    pub fn redaction(mut self, redaction: Redaction) -> Self {
        self.formatter = self.formatter.redaction(redaction);
        self
    }

    /// Sets the [`LengthLimits`] of values and lines; [`LengthLimits::new`] by default.
    pub fn length_limits(mut self, limits: LengthLimits) -> Self {
        self.formatter = self.formatter.length_limits(limits);
        self
    }

    /// Appends the fields of enclosing spans; off by default. See [`LineFormatter::spans`].
    pub fn spans(mut self) -> Self {
        self.formatter = self.formatter.spans();
        self
    }
}

impl<W> LogSubscriber<W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    /// Installs the subscriber for the process, and for records of the crate [`log`](https://docs.rs/log).
    ///
    /// A record becomes an event of the same level and target. If the process has a `log` logger already, that logger stays and
    /// receives the records.
    ///
    /// # Errors
    ///
    /// Returns [`AlreadyInstalled`] if the process has a subscriber, which stays.
    pub fn try_init(self) -> Result<(), AlreadyInstalled> {
        dispatcher::set_global_default(self.dispatch()).map_err(|_| AlreadyInstalled(()))?;
        // An error means that there is a logger, which stays.
        let _ = LogTracer::init();
        Ok(())
    }

    /// Returns the subscriber as a [`Dispatch`], for a scope of [`tracing::dispatcher::with_default`].
    #[must_use]
    pub fn dispatch(self) -> Dispatch {
        Dispatch::new(
            registry()
                .with(TargetsFilter(self.targets))
                .with(self.formatter),
        )
    }
}

/// The error of [`LogSubscriber::try_init`] if the process has a `tracing` subscriber.
#[derive(Debug)]
pub struct AlreadyInstalled(());

impl fmt::Display for AlreadyInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the process has a tracing subscriber already")
    }
}

impl Error for AlreadyInstalled {}
