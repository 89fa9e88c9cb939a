use std::{cell::RefCell, fmt::Write, net::IpAddr, time::Duration};

use towerkit_core::{Call, ProtocolKind};

use crate::{
    callsites::{CLIENT_ADDRESS, PATH, REQUEST_ID},
    config::ExtraField,
    length_limits::{prefix, push_omitted_mark},
};

/// The state of one call in [`LogObserver`](crate::LogObserver), empty if the call will not be logged.
#[derive(Debug, Default)]
pub struct LogCallState(Option<Box<CallRecord>>);

/// The properties of a request that are not available when the call ends.
#[derive(Debug)]
pub(crate) struct CallRecord {
    pub(crate) start: u64,
    pub(crate) protocol: Option<ProtocolKind>,
    pub(crate) operation: String,
    /// The HTTP method. This and the following texts are empty if the request lacks them.
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) client_address: String,
    pub(crate) request_id: String,
    /// The values of the application's fields, in their order.
    pub(crate) extra_values: Vec<ExtraValue>,
    /// The time until the deadline when the call began.
    pub(crate) time_left: Option<Duration>,
}

/// The value of an [`ExtraField`].
#[derive(Debug, Default)]
pub(crate) struct ExtraValue {
    pub(crate) is_present: bool,
    pub(crate) text: String,
}

thread_local! {
    /// Records of finished calls, whose memory later calls on this thread reuse.
    static POOL: RefCell<Vec<LogCallState>> = const { RefCell::new(Vec::new()) };
}

impl LogCallState {
    /// The maximum number of records in the pool of a thread.
    const POOL_SIZE: usize = 64;

    /// Creates the state of a call that is not logged.
    #[inline(always)]
    pub(crate) const fn disabled() -> Self {
        Self(None)
    }

    /// Records the properties of a request, in memory from the pool if available.
    pub(crate) fn begin<Req>(
        call: &Call<'_, Req>,
        start: u64,
        extra_fields: &[ExtraField],
    ) -> Self {
        let mut state = Self::from_pool();
        let record = state.0.get_or_insert_with(CallRecord::new);
        record.start = start;
        record.protocol = Some(call.protocol_kind());
        record.time_left = call.deadline().map(|deadline| deadline.remaining());
        record.operation.push_str(call.operation());
        if call.protocol_kind() == ProtocolKind::Http {
            record.method.push_str(call.method().unwrap_or_default());
        }
        record.read_identity(call, extra_fields);
        if !extra_fields.is_empty() {
            record.read_extra_fields(call, extra_fields);
        }
        state
    }

    /// Returns true if the call is not logged.
    #[inline(always)]
    pub(crate) const fn is_disabled(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn record(&self) -> Option<&CallRecord> {
        self.0.as_deref()
    }

    fn from_pool() -> Self {
        POOL.try_with(|pool| pool.borrow_mut().pop())
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// Returns the record's memory to the pool of this thread.
    pub(crate) fn return_to_pool(mut self) {
        let Some(record) = &mut self.0 else { return };
        if !record.clear() {
            return;
        }
        // An error means that the thread is ending: the memory is freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < Self::POOL_SIZE {
                pool.push(self);
            }
        });
    }
}

impl CallRecord {
    /// The maximum length of a path in bytes.
    const PATH_LIMIT: usize = 1024;
    /// The maximum length of a request id in bytes.
    const REQUEST_ID_LIMIT: usize = 128;
    /// Records with a text of a larger capacity are freed, not pooled.
    const POOLED_CAPACITY: usize = 1024 + "...[+18446744073709551615 bytes]".len();

    fn new() -> Box<Self> {
        Box::new(Self {
            start: 0,
            protocol: None,
            operation: String::new(),
            method: String::new(),
            path: String::new(),
            client_address: String::new(),
            request_id: String::new(),
            extra_values: Vec::new(),
            time_left: None,
        })
    }

    /// Reads path, peer and request id, unless fields of the application replace them.
    fn read_identity<Req>(&mut self, call: &Call<'_, Req>, extra_fields: &[ExtraField]) {
        let is_own = |name| !extra_fields.iter().any(|field| field.name == name);
        if is_own(PATH) && !call.is_routed() {
            push_path(&mut self.path, call.path().unwrap_or_default());
        }
        if is_own(CLIENT_ADDRESS)
            && let Some(peer) = call.peer()
        {
            push_address(&mut self.client_address, peer.ip().to_canonical());
        }
        if is_own(REQUEST_ID)
            && let Some(id) = call.header("x-request-id")
        {
            let kept = prefix(id, Self::REQUEST_ID_LIMIT);
            self.request_id.push_str(kept);
            push_omitted_mark(&mut self.request_id, id.len() - kept.len());
        }
    }

    fn read_extra_fields<Req>(&mut self, call: &Call<'_, Req>, extra_fields: &[ExtraField]) {
        let view = call.view();
        let is_extra = |field: &&ExtraField| !field.is_replacement();
        let count = extra_fields.iter().filter(is_extra).count();
        if self.extra_values.len() < count {
            self.extra_values.resize_with(count, ExtraValue::default);
        }
        let mut slots = self.extra_values.iter_mut();
        for field in extra_fields {
            let Some(value) = field.read(&view) else {
                if !field.is_replacement() {
                    slots.next();
                }
                continue;
            };
            let text = match field.name {
                PATH => &mut self.path,
                CLIENT_ADDRESS => &mut self.client_address,
                REQUEST_ID => &mut self.request_id,
                _ => match slots.next() {
                    Some(slot) => {
                        slot.is_present = true;
                        &mut slot.text
                    }
                    None => continue,
                },
            };
            text.push_str(&value);
        }
    }

    /// Clears all texts, and returns true if the record is small enough for the pool.
    fn clear(&mut self) -> bool {
        let texts = [
            &mut self.operation,
            &mut self.method,
            &mut self.path,
            &mut self.client_address,
            &mut self.request_id,
        ];
        let extra = self.extra_values.iter_mut().map(|value| {
            value.is_present = false;
            &mut value.text
        });
        texts.into_iter().chain(extra).fold(true, |is_small, text| {
            text.clear();
            is_small && text.capacity() <= Self::POOLED_CAPACITY
        })
    }
}

/// Appends a path, cut after a whole segment: half of a credential would not be recognized by [`Redaction`](crate::Redaction).
fn push_path(out: &mut String, path: &str) {
    let mut kept = prefix(path, CallRecord::PATH_LIMIT);
    if kept.len() < path.len() {
        kept = &kept[..kept.rfind('/').map_or(0, |slash| slash + 1)];
    }
    out.push_str(kept);
    push_omitted_mark(out, path.len() - kept.len());
}

/// Appends an address; faster than [`Display`](std::fmt::Display) for IPv4.
fn push_address(out: &mut String, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        // Writing to a string cannot fail.
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
                push_address(&mut out, ip);
                assert_eq!(out, ip.to_string());
            }
        }
    }

    #[test]
    fn a_long_path_is_truncated_after_a_segment() {
        let cut = |path: &str| {
            let mut out = String::new();
            push_path(&mut out, path);
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
