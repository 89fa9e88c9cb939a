use std::{future::Future, net::SocketAddr};

/// A registry that runs for one test.
pub trait Server: Send {
    /// Returns its address, which stays the same after a restart.
    fn address(&self) -> SocketAddr;

    /// Ends it without warning, as `kill -9` does.
    fn kill(&mut self);

    /// Deletes its data. Called after [`kill`](Self::kill).
    fn wipe(&mut self);

    /// Starts it again, with the data that it had unless they were wiped, and resolves when it answers.
    fn restart(&mut self) -> impl Future<Output = ()> + Send;

    /// Stops it, as `SIGSTOP` does: connections stay open, and no request is answered.
    fn pause(&mut self);

    /// Lets it go on after [`pause`](Self::pause).
    fn resume(&mut self);
}
