use std::{io, thread};

use opentelemetry::Context;
use tokio::runtime::{Builder, Handle, Runtime};
use tracing::subscriber::{NoSubscriber, with_default};

use crate::PipelineError;

/// A runtime for what is sent, apart from the runtime of the calls, if there is one at all.
///
/// So a program without a runtime can send, a `shutdown` that blocks cannot wait for itself, and a receiver that hangs holds up nobody.
#[derive(Debug)]
pub(crate) struct Engine(Option<Runtime>);

impl Engine {
    pub(crate) fn new() -> Result<Self, PipelineError> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
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
            // What is sent is neither traced nor logged, which would be something to send in turn.
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            with_default(NoSubscriber::default(), || self.runtime().block_on(work));
        };
        let thread = thread::Builder::new().name("towerkit-otel".to_owned());
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
            runtime.shutdown_background();
        }
    }
}

fn cannot_start(error: io::Error) -> PipelineError {
    PipelineError::of("its thread cannot start", error)
}
