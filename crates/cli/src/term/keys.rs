//! Keys out of the bytes a raw terminal sends.

/// A key that means something to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Up, or page up when far.
    Up {
        /// A page.
        far: bool,
    },
    /// Down, or page down when far.
    Down {
        /// A page.
        far: bool,
    },
    /// Escape.
    Escape,
    /// Ctrl-C.
    Interrupt,
    /// Enter.
    Enter,
}

/// Reads keys.
#[derive(Debug, Default)]
pub struct Keys;

impl Keys {
    /// The keys in what one read gave.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut rest = bytes;
        while let Some((&first, tail)) = rest.split_first() {
            let (key, used) = match (first, tail) {
                (0x1b, [b'[' | b'O', b'A', ..]) => (Some(Key::Up { far: false }), 3),
                (0x1b, [b'[' | b'O', b'B', ..]) => (Some(Key::Down { far: false }), 3),
                (0x1b, [b'[', b'5', b'~', ..]) => (Some(Key::Up { far: true }), 4),
                (0x1b, [b'[', b'6', b'~', ..]) => (Some(Key::Down { far: true }), 4),
                (0x1b, [b'[', sequence @ ..]) => {
                    let end = sequence.iter().position(|byte| (0x40..=0x7e).contains(byte));
                    (None, end.map_or(rest.len(), |end| end + 3))
                }
                (0x1b, _) => (Some(Key::Escape), 1),
                (0x03, _) => (Some(Key::Interrupt), 1),
                (b'\r' | b'\n', _) => (Some(Key::Enter), 1),
                (byte @ 0x20..0x7f, _) => (Some(Key::Char(char::from(byte))), 1),
                _ => (None, 1),
            };
            keys.extend(key);
            rest = rest.get(used..).unwrap_or_default();
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_keys_and_unknown_ones_are_skipped_whole() {
        assert_eq!(
            Keys::parse(b"q\x1b[A\x1b[6~\x1b[1;5Hx\x1b"),
            vec![
                Key::Char('q'),
                Key::Up { far: false },
                Key::Down { far: true },
                Key::Char('x'),
                Key::Escape
            ]
        );
        assert_eq!(Keys::parse(b"\x1b["), vec![]);
    }
}
