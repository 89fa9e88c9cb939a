use std::{cell::Cell, io, thread};

use opentelemetry::{Context, ContextGuard};
use tokio::runtime::{Builder, Handle, Runtime};
use tracing::{
    dispatcher::DefaultGuard,
    subscriber::{NoSubscriber, set_default},
};

use crate::PipelineError;

/// A runtime for what is sent, apart from the runtime of the calls, if there is one at all.
///
/// So a program without a runtime can send, a `shutdown` that blocks cannot wait for itself, and a receiver that hangs holds up nobody.
#[derive(Debug)]
pub(crate) struct Engine(Option<Runtime>);

/// The name of all threads of pipelines.
const NAME: &str = "towerkit-otel";

impl Engine {
    pub(crate) fn new() -> Result<Self, PipelineError> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // Of the threads on which names are looked up, for example.
            .thread_name(NAME)
            .on_thread_start(|| SILENCE.set(Some(Silence::begin())))
            .on_thread_stop(|| drop(SILENCE.take()))
            .build();
        Ok(Self(Some(runtime.map_err(cannot_start)?)))
    }

    pub(crate) fn handle(&self) -> Handle {
        self.runtime().handle().clone()
    }

    /// Runs the engine on a thread of its own until `work` is done.
    pub(crate) fn start(
        self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), PipelineError> {
        let run = move || {
            let _silence = Silence::begin();
            self.runtime().block_on(work);
            // In silence as well: what is still being sent ends with the runtime.
            drop(self);
        };
        let thread = thread::Builder::new().name(NAME.to_owned());
        thread.spawn(run).map(drop).map_err(cannot_start)
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A name that is being looked up is not waited for, and it may be a runtime's thread that drops this.
        if let Some(runtime) = self.0.take() {
            silently(|| runtime.shutdown_background());
        }
    }
}

/// While it lives, nothing that its thread does is traced or logged: what is sent would be something to send in turn.
struct Silence {
    _default: DefaultGuard,
    _context: ContextGuard,
}

thread_local! {
    static SILENCE: Cell<Option<Silence>> = const { Cell::new(None) };
}

impl Silence {
    fn begin() -> Self {
        Self {
            _default: set_default(NoSubscriber::default()),
            _context: Context::enter_telemetry_suppressed_scope(),
        }
    }
}

/// Runs something of which nothing is traced or logged.
pub(crate) fn silently<R>(run: impl FnOnce() -> R) -> R {
    let _silence = Silence::begin();
    run()
}

fn cannot_start(error: io::Error) -> PipelineError {
    PipelineError::of("its thread cannot start", error)
}
