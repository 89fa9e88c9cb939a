use std::mem::take;

use crate::ledger::Mark;

/// Puts lines into packets, none of which is longer than a datagram may be.
///
/// A line is never split. One that is too long for a packet of its own is left out and counted.
#[derive(Debug)]
pub(crate) struct Packer {
    size: Size,
    full: Vec<Packet>,
    open: Packet,
    too_long: u64,
}

/// How many bytes a packet may have, and how many a line in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) packet: usize,
    pub(crate) line: usize,
}

/// Lines that are sent together, separated by line feeds, and what they tell.
#[derive(Debug, Default)]
pub(crate) struct Packet {
    pub(crate) text: String,
    pub(crate) lines: u64,
    pub(crate) marks: Vec<Mark>,
}

impl Packer {
    pub(crate) fn new(size: Size) -> Self {
        Self {
            size,
            full: Vec::new(),
            open: Packet::default(),
            too_long: 0,
        }
    }

    /// Adds a line, and what the receiver knows once it has it.
    ///
    /// A gauge of statsd may be two lines, which have to arrive together and in order.
    pub(crate) fn line(&mut self, line: &str, marks: &[Mark]) {
        if line.len() > self.size.line.min(self.size.packet) {
            self.too_long += 1;
            return;
        }
        if self.open.lines > 0 && self.open.text.len() + 1 + line.len() > self.size.packet {
            self.full.push(take(&mut self.open));
        }
        if self.open.lines > 0 {
            self.open.text.push('\n');
        }
        self.open.text.push_str(line);
        self.open.lines += 1;
        self.open.marks.extend_from_slice(marks);
    }

    /// Returns the packets, in order, and how many lines were too long.
    pub(crate) fn packets(mut self) -> (Vec<Packet>, u64) {
        if self.open.lines > 0 {
            self.full.push(self.open);
        }
        (self.full, self.too_long)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;
    use crate::ledger::tests::a_mark;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 10_000,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(2),
            ..ProptestConfig::default()
        })]

        /// The model is the lines that fit: as text they are the packets, and no two neighbours would have fitted into one.
        #[test]
        fn packets_are_the_lines_in_order_and_as_few_as_can_be(
            packet in 4_usize..40,
            line in 4_usize..40,
            lengths in prop::collection::vec(1_usize..40, 0..60),
        ) {
            let lines: Vec<String> = lengths
                .iter()
                .zip(0_u8..)
                .map(|(length, n)| char::from(b'a' + n % 26).to_string().repeat(*length))
                .collect();
            let mut packer = Packer::new(Size { packet, line });
            for (line, n) in lines.iter().zip(0..) {
                packer.line(line, &[a_mark(n)]);
            }
            let (packets, too_long) = packer.packets();
            let fits = |text: &&str| text.len() <= packet && text.len() <= line;
            let fitting: Vec<&str> = lines.iter().map(String::as_str).filter(fits).collect();
            prop_assert_eq!(too_long as usize, lines.len() - fitting.len());
            let sent: Vec<&str> = packets.iter().flat_map(|packet| packet.text.split('\n')).collect();
            prop_assert_eq!(&sent, &fitting);
            for one in &packets {
                prop_assert!(one.text.len() <= packet);
                prop_assert_eq!(one.lines as usize, one.text.split('\n').count());
                prop_assert_eq!(one.marks.len(), one.lines as usize);
            }
            for pair in packets.windows(2) {
                let next = pair[1].text.split('\n').next().unwrap_or_default();
                prop_assert!(pair[0].text.len() + 1 + next.len() > packet);
            }
        }
    }
}
