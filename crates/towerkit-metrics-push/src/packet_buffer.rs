use std::mem::take;

use crate::sent_state::SentValue;

/// Collects lines in packets of a limited size.
///
/// A line is never split. A line that does not fit in a packet is left out and counted.
#[derive(Debug)]
pub(crate) struct PacketBuffer {
    limits: SizeLimits,
    full: Vec<Packet>,
    current: Packet,
    too_long: u64,
}

/// The largest number of bytes of a packet, and of a line in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SizeLimits {
    pub(crate) packet: usize,
    pub(crate) line: usize,
}

/// Lines that are sent together, separated by line feeds, and the values in them.
#[derive(Debug, Default)]
pub(crate) struct Packet {
    pub(crate) text: String,
    pub(crate) lines: u64,
    pub(crate) values: Vec<SentValue>,
}

impl PacketBuffer {
    pub(crate) fn new(limits: SizeLimits) -> Self {
        Self {
            limits,
            full: Vec::new(),
            current: Packet::default(),
            too_long: 0,
        }
    }

    /// Adds a line and the values that the receiver has once it has the line.
    ///
    /// A statsd gauge may be two lines, which must arrive together and in order.
    pub(crate) fn push_line(&mut self, line: &str, values: &[SentValue]) {
        if line.len() > self.limits.line.min(self.limits.packet) {
            self.too_long += 1;
            return;
        }
        if self.current.lines > 0 && self.current.text.len() + 1 + line.len() > self.limits.packet {
            self.full.push(take(&mut self.current));
        }
        if self.current.lines > 0 {
            self.current.text.push('\n');
        }
        self.current.text.push_str(line);
        self.current.lines += 1;
        self.current.values.extend_from_slice(values);
    }

    /// Returns the packets in order, and the number of lines that were too long.
    pub(crate) fn into_packets(mut self) -> (Vec<Packet>, u64) {
        if self.current.lines > 0 {
            self.full.push(self.current);
        }
        (self.full, self.too_long)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;
    use crate::sent_state::tests::sent_value;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(2),
            ..ProptestConfig::default()
        })]

        /// The packets contain the lines that fit, in order, and no two adjacent packets fit in one.
        #[test]
        fn packets_have_all_lines_in_order_and_are_as_few_as_possible(
            packet in 4_usize..40,
            line in 4_usize..40,
            lengths in prop::collection::vec(1_usize..40, 0..60),
        ) {
            let lines: Vec<String> = lengths
                .iter()
                .zip(0_u8..)
                .map(|(length, n)| char::from(b'a' + n % 26).to_string().repeat(*length))
                .collect();
            let mut buffer = PacketBuffer::new(SizeLimits { packet, line });
            for (line, n) in lines.iter().zip(0..) {
                buffer.push_line(line, &[sent_value(n)]);
            }
            let (packets, too_long) = buffer.into_packets();
            let fits = |text: &&str| text.len() <= packet && text.len() <= line;
            let fitting: Vec<&str> = lines.iter().map(String::as_str).filter(fits).collect();
            prop_assert_eq!(too_long as usize, lines.len() - fitting.len());
            let sent: Vec<&str> = packets.iter().flat_map(|packet| packet.text.split('\n')).collect();
            prop_assert_eq!(&sent, &fitting);
            for one in &packets {
                prop_assert!(one.text.len() <= packet);
                prop_assert_eq!(one.lines as usize, one.text.split('\n').count());
                prop_assert_eq!(one.values.len(), one.lines as usize);
            }
            for pair in packets.windows(2) {
                let next = pair[1].text.split('\n').next().unwrap_or_default();
                prop_assert!(pair[0].text.len() + 1 + next.len() > packet);
            }
        }
    }
}
