use std::io;
use std::io::Write;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tower::Service;

use crate::HttpRequest;
use crate::Label;
use crate::Visit;
use crate::call_http;
use crate::call_plain;

/// Calls that are made before the count begins, to fill tables and to reach the steady state.
const WARM: u32 = 1_000;
/// Calls that are counted.
const CALLS: u32 = 1_000;

/// Counts what each case of the catalogue allocates, by a function that counts what another allocates.
#[derive(Debug)]
pub struct Count<F, W> {
    measure: F,
    out: W,
    title: String,
}

impl<F: Fn(&mut dyn FnMut()) -> u64, W: Write> Count<F, W> {
    /// Writes a line for every case: group, name, and allocations of one call, with tabs between them.
    pub fn new(measure: F, out: W) -> Self {
        Self {
            measure,
            out,
            title: String::new(),
        }
    }

    fn count(&mut self, label: Label, mut call: impl FnMut()) -> io::Result<()> {
        for _ in 0..WARM {
            call();
        }
        let total = (self.measure)(&mut || {
            for _ in 0..CALLS {
                call();
            }
        });
        let each = total as f64 / f64::from(CALLS);
        writeln!(self.out, "{}\t{}\t{each}", self.title, label.name)
    }
}

impl<F: Fn(&mut dyn FnMut()) -> u64, W: Write> Visit for Count<F, W> {
    fn group(&mut self, title: String) {
        self.title = title;
    }

    fn plain<S>(&mut self, label: Label, mut service: S)
    where
        S: Service<u64, Response = u64> + 'static,
        S::Future: 'static,
    {
        self.count(label, || call_plain(&mut service))
            .expect("the output takes a line");
    }

    fn http<S, B>(&mut self, label: Label, mut service: S)
    where
        S: Service<HttpRequest, Response = Response<B>> + 'static,
        S::Future: 'static,
        B: Body<Data = Bytes> + 'static,
    {
        self.count(label, || call_http(&mut service))
            .expect("the output takes a line");
    }
}
