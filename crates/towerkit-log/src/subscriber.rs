use std::{error::Error, fmt, io::Stderr};

use tracing::{Dispatch, dispatcher, level_filters::LevelFilter};
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, layer::SubscriberExt, registry};

use crate::{Format, Lines};

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
        lines: Lines::new(format),
        targets: Targets::new().with_default(LevelFilter::INFO),
    }
}

/// A subscriber that is being set up by [`subscriber`].
#[derive(Debug, Clone)]
#[must_use = "it does nothing until `try_init`"]
pub struct LogSubscriber<W = fn() -> Stderr> {
    lines: Lines<W>,
    targets: Targets,
}

impl<W> LogSubscriber<W> {
    /// Logs events of this level and above, whatever their target; `info` by default.
    pub fn level(mut self, level: impl Into<LevelFilter>) -> Self {
        self.targets = Targets::new().with_default(level.into());
        self
    }

    /// Logs the events that `targets` lets through, in the place of [`level`](Self::level).
    pub fn targets(mut self, targets: Targets) -> Self {
        self.targets = targets;
        self
    }

    /// Writes to `writer`; to stderr by default. See [`Lines::writer`].
    pub fn writer<V>(self, writer: V) -> LogSubscriber<V>
    where
        V: for<'a> MakeWriter<'a> + 'static,
    {
        LogSubscriber {
            lines: self.lines.writer(writer),
            targets: self.targets,
        }
    }

    /// Adds the fields of spans; not by default. See [`Lines::spans`].
    pub fn spans(mut self) -> Self {
        self.lines = self.lines.spans();
        self
    }
}

impl<W> LogSubscriber<W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    /// Makes this the subscriber of the process.
    ///
    /// # Errors
    ///
    /// If the process has one already, which stays.
    pub fn try_init(self) -> Result<(), AlreadyInstalled> {
        dispatcher::set_global_default(self.dispatch()).map_err(|_| AlreadyInstalled(()))
    }

    /// Returns the subscriber, for a scope of [`tracing::dispatcher::with_default`].
    #[must_use]
    pub fn dispatch(self) -> Dispatch {
        Dispatch::new(registry().with(self.targets).with(self.lines))
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
