use std::{cell::RefCell, fmt::Write, net::IpAddr, time::Duration};

use towerkit_core::{Call, ProtocolKind};

use crate::{
    caps::beginning,
    own_field::OwnField,
    sites::{CLIENT_ADDRESS, PATH, REQUEST_ID},
};

/// What is kept of one call: nothing, where it will not be logged.
#[derive(Debug, Default)]
pub struct LogCallState(Option<Box<Kept>>);

/// What the end of a call no longer knows.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) start: u64,
    pub(crate) kind: Option<ProtocolKind>,
    pub(crate) operation: String,
    /// Empty where there is none, as is all that follows.
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) client_address: String,
    pub(crate) request_id: String,
    /// The fields of the application, in their order.
    pub(crate) own: Vec<Own>,
    /// What was left until the deadline, where there is one.
    pub(crate) left: Option<Duration>,
}

/// The value of a field of the application.
#[derive(Debug, Default)]
pub(crate) struct Own {
    pub(crate) is_there: bool,
    pub(crate) text: String,
}

thread_local! {
    static SPARE: RefCell<Vec<LogCallState>> = const { RefCell::new(Vec::new()) };
}

impl LogCallState {
    /// As many are kept for later calls, by each thread.
    const SPARES: usize = 64;

    /// Keeps nothing.
    #[inline(always)]
    pub(crate) const fn nothing() -> Self {
        Self(None)
    }

    /// Keeps what is needed of a call, in memory of an earlier one if there is any.
    pub(crate) fn keep<Req>(call: &Call<'_, Req>, start: u64, own: &[OwnField]) -> Self {
        let mut held = Self::spare();
        let kept = held.0.get_or_insert_with(Kept::new);
        kept.start = start;
        kept.kind = Some(call.protocol_kind());
        kept.left = call.deadline().map(|deadline| deadline.remaining());
        kept.operation.push_str(call.operation());
        if call.protocol_kind() == ProtocolKind::Http {
            kept.method.push_str(call.method().unwrap_or_default());
        }
        kept.identify(call, own);
        held
    }

    /// Whether nothing was kept.
    #[inline(always)]
    pub(crate) const fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// Returns what was kept, if anything.
    pub(crate) fn kept(&self) -> Option<&Kept> {
        self.0.as_deref()
    }

    fn spare() -> Self {
        SPARE
            .try_with(|spare| spare.borrow_mut().pop())
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// Keeps the memory for a later call.
    pub(crate) fn give_back(mut self) {
        let Some(kept) = &mut self.0 else { return };
        if !kept.forget() {
            return;
        }
        // At the end of a thread there is no later call.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < Self::SPARES {
                spare.push(self);
            }
        });
    }
}

impl Kept {
    /// The bytes of a path, and of an id that a caller made up. What is longer is cut.
    const PATH: usize = 1024;
    const REQUEST_ID: usize = 128;
    /// Text that was longer than this is freed, not kept for the next.
    const LONG: usize = 1024 + MARK;

    fn new() -> Box<Self> {
        Box::new(Self {
            start: 0,
            kind: None,
            operation: String::new(),
            method: String::new(),
            path: String::new(),
            client_address: String::new(),
            request_id: String::new(),
            own: Vec::new(),
            left: None,
        })
    }

    /// Keeps what tells this call from others of its operation.
    fn identify<Req>(&mut self, call: &Call<'_, Req>, own: &[OwnField]) {
        let is_free = |name| !own.iter().any(|field| field.name == name);
        if is_free(PATH) && !call.is_routed() {
            cut_path(&mut self.path, call.path().unwrap_or_default());
        }
        if is_free(CLIENT_ADDRESS)
            && let Some(peer) = call.peer()
        {
            address(&mut self.client_address, peer.ip().to_canonical());
        }
        if is_free(REQUEST_ID)
            && let Some(id) = call.header("x-request-id")
        {
            let kept = beginning(id, Self::REQUEST_ID);
            self.request_id.push_str(kept);
            mark(&mut self.request_id, id.len() - kept.len());
        }
        if !own.is_empty() {
            self.read(call, own);
        }
    }

    fn read<Req>(&mut self, call: &Call<'_, Req>, own: &[OwnField]) {
        let view = call.view();
        let count = own.iter().filter(|field| !field.takes_a_place()).count();
        if self.own.len() < count {
            self.own.resize_with(count, Own::default);
        }
        let mut rest = self.own.iter_mut();
        for field in own {
            let Some(value) = field.read(&view) else {
                if !field.takes_a_place() {
                    rest.next();
                }
                continue;
            };
            let text = match field.name {
                PATH => &mut self.path,
                CLIENT_ADDRESS => &mut self.client_address,
                REQUEST_ID => &mut self.request_id,
                _ => match rest.next() {
                    Some(own) => {
                        own.is_there = true;
                        &mut own.text
                    }
                    None => continue,
                },
            };
            text.push_str(&value);
        }
    }

    /// Clears everything, and returns whether its memory is worth keeping.
    fn forget(&mut self) -> bool {
        let texts = [
            &mut self.operation,
            &mut self.method,
            &mut self.path,
            &mut self.client_address,
            &mut self.request_id,
        ];
        let own = self.own.iter_mut().map(|own| {
            own.is_there = false;
            &mut own.text
        });
        texts.into_iter().chain(own).fold(true, |is_short, text| {
            text.clear();
            is_short && text.capacity() <= Self::LONG
        })
    }
}

/// The length of what stands for the rest of a text, at most.
const MARK: usize = "...[+18446744073709551615 bytes]".len();

/// Says how many bytes are missing, as the lines of a log do.
fn mark(out: &mut String, over: usize) {
    if over > 0 {
        // Writing to memory cannot fail.
        let _ = write!(out, "...[+{over} bytes]");
    }
}

/// Appends a path. One that is too long ends with a whole segment: half of a secret would not be known for one.
fn cut_path(out: &mut String, path: &str) {
    let mut kept = beginning(path, Kept::PATH);
    if kept.len() < path.len() {
        kept = &kept[..kept.rfind('/').map_or(0, |slash| slash + 1)];
    }
    out.push_str(kept);
    mark(out, path.len() - kept.len());
}

/// Appends an address; one of IPv4 without the detours of a format.
fn address(out: &mut String, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        let _ = write!(out, "{address}");
        return;
    };
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            out.push('.');
        }
        for (least, unit) in [(100, 100), (10, 10), (0, 1)] {
            if octet >= least {
                out.push(char::from(b'0' + octet / unit % 10));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for octet in 0..=255 {
            let v4 = Ipv4Addr::new(octet, 255 - octet, octet, 0);
            for ip in [IpAddr::V4(v4), IpAddr::V6(v4.to_ipv6_compatible())] {
                let mut out = String::new();
                address(&mut out, ip);
                assert_eq!(out, ip.to_string());
            }
        }
    }

    #[test]
    fn a_long_path_is_cut_after_a_segment() {
        let cut = |path: &str| {
            let mut out = String::new();
            cut_path(&mut out, path);
            out
        };
        assert_eq!(cut("/a/b"), "/a/b");
        let most = format!("/{}", "a".repeat(1023));
        assert_eq!(cut(&most), most);
        assert_eq!(cut(&format!("{most}b")), "/...[+1024 bytes]");
        let segments = "/é12345".repeat(200);
        let expected = format!(
            "{}/...[+{} bytes]",
            "/é12345".repeat(127),
            1600 - 127 * 8 - 1
        );
        assert_eq!(cut(&segments), expected);
        assert_eq!(cut(&"a".repeat(2000)), "...[+2000 bytes]");
    }
}
