use std::{cell::Cell, io, thread};

use opentelemetry::{Context, ContextGuard};
use tokio::runtime::{Builder, Handle, Runtime};
use tracing::{
    dispatcher::DefaultGuard,
    subscriber::{NoSubscriber, set_default},
};

use crate::PipelineError;

/// A tokio runtime for exports, separate from the runtime of the calls.
///
/// A program needs no runtime to export, a blocking shutdown cannot wait for itself, and a receiver that hangs delays no call.
#[derive(Debug)]
pub(crate) struct ExportRuntime(Option<Runtime>);

/// The name of all threads of pipelines.
const THREAD_NAME: &str = "towerkit-otel";

impl ExportRuntime {
    pub(crate) fn new() -> Result<Self, PipelineError> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // The runtime has threads for blocking work, such as the resolution of host names.
            .thread_name(THREAD_NAME)
            .on_thread_start(|| SUPPRESSION.set(Some(Suppression::begin())))
            .on_thread_stop(|| drop(SUPPRESSION.take()))
            .build();
        Ok(Self(Some(runtime.map_err(cannot_start)?)))
    }

    pub(crate) fn handle(&self) -> Handle {
        self.runtime().handle().clone()
    }

    /// Runs `work` to its end on a new thread.
    pub(crate) fn start(
        self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), PipelineError> {
        let run = move || {
            let _suppression = Suppression::begin();
            self.runtime().block_on(work);
            // Dropped under suppression too: it ends the exports that still run.
            drop(self);
        };
        let thread = thread::Builder::new().name(THREAD_NAME.to_owned());
        thread.spawn(run).map(drop).map_err(cannot_start)
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("the runtime exists until the drop")
    }
}

impl Drop for ExportRuntime {
    fn drop(&mut self) {
        // In the background: the drop may happen on a thread of a runtime, and must not wait for the resolution of a name.
        if let Some(runtime) = self.0.take() {
            suppressed(|| runtime.shutdown_background());
        }
    }
}

/// Suppresses all spans and events of its thread while it exists. Otherwise an export would create further telemetry to export.
struct Suppression {
    _default: DefaultGuard,
    _context: ContextGuard,
}

thread_local! {
    static SUPPRESSION: Cell<Option<Suppression>> = const { Cell::new(None) };
}

impl Suppression {
    fn begin() -> Self {
        Self {
            _default: set_default(NoSubscriber::default()),
            _context: Context::enter_telemetry_suppressed_scope(),
        }
    }
}

/// Runs a function without recording its spans and events.
pub(crate) fn suppressed<R>(run: impl FnOnce() -> R) -> R {
    let _suppression = Suppression::begin();
    run()
}

fn cannot_start(error: io::Error) -> PipelineError {
    PipelineError::Thread(error)
}
