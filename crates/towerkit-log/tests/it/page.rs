//! Collects lines.

use std::{
    io, mem,
    sync::{Arc, Mutex},
};

use towerkit_log::{Format, subscriber};
use tracing::{Dispatch, dispatcher::with_default};

/// Where lines go in tests. One write is one line.
#[derive(Clone, Default)]
pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    /// Takes what has been written.
    pub(crate) fn take(&self) -> String {
        String::from_utf8(mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Page {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        assert_eq!(line.last(), Some(&b'\n'), "a whole line at once");
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns what `log` writes in this thread.
pub(crate) fn written(format: Format, spans: bool, log: impl FnOnce()) -> String {
    let dispatch = |writer| {
        let subscriber = subscriber(format).writer(writer);
        if spans {
            subscriber.spans()
        } else {
            subscriber
        }
        .dispatch()
    };
    written_by(dispatch, log)
}

/// Returns what `log` writes in this thread by the subscriber that `dispatch` makes of a writer.
pub(crate) fn written_by(dispatch: impl FnOnce(Writer) -> Dispatch, log: impl FnOnce()) -> String {
    let page = Page::default();
    let writer = page.clone();
    with_default(&dispatch(Box::new(move || writer.clone())), log);
    page.take()
}

pub(crate) type Writer = Box<dyn Fn() -> Page + Send + Sync>;
