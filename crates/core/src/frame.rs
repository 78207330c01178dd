//! The byte frames of an interactive session (`exec`, `attach`): node, server and CLI all speak them.
//!
//! On a stream a frame is one kind byte, the payload's length as 4 bytes big-endian, the payload.
//! On a WebSocket each binary message is one kind byte and the payload.

/// The largest payload that is accepted, in bytes.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Bytes for the command's standard input.
    Stdin(Vec<u8>),
    /// Standard input has ended.
    StdinEnd,
    /// Bytes the command wrote to standard output, or to its terminal.
    Stdout(Vec<u8>),
    /// Bytes the command wrote to standard error.
    Stderr(Vec<u8>),
    /// The terminal's size changed.
    Resize {
        /// Character rows.
        rows: u16,
        /// Character columns.
        cols: u16,
    },
    /// A signal for the command.
    Signal(i32),
    /// The command ended: its exit code, or 128 + the signal. Always the last frame.
    Exit(i32),
    /// The session could not be opened: why. Always the last frame.
    Failed(String),
}

/// Bytes that are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No frame has this kind byte.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// A payload of the wrong length for its kind.
    #[error("a frame of kind {kind} cannot have {len} bytes")]
    BadLength {
        /// The kind byte.
        kind: u8,
        /// The payload's length.
        len: usize,
    },
}

impl Frame {
    /// The kind byte and the payload: a WebSocket message.
    #[must_use]
    pub fn to_message(&self) -> Vec<u8> {
        let (kind, payload) = self.parts();
        let mut out = Vec::with_capacity(payload.len() + 1);
        out.push(kind);
        out.extend_from_slice(&payload);
        out
    }

    /// The frame as it goes on a stream.
    #[must_use]
    pub fn to_stream(&self) -> Vec<u8> {
        let (kind, payload) = self.parts();
        let mut out = Vec::with_capacity(payload.len() + 5);
        out.push(kind);
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&payload);
        out
    }

    /// Reads a WebSocket message.
    ///
    /// # Errors
    /// Any message that [`Self::to_message`] cannot have made.
    pub fn from_message(message: &[u8]) -> Result<Self, FrameError> {
        let (&kind, payload) = message.split_first().ok_or(FrameError::BadLength { kind: 0, len: 0 })?;
        Self::from_parts(kind, payload)
    }

    /// Takes the first whole frame off the front of `buffer`; `None` until more bytes have come.
    ///
    /// # Errors
    /// Bytes that no [`Self::to_stream`] made. The stream cannot be read on after that.
    pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Self>, FrameError> {
        let Some((&[kind, a, b, c, d], _)) = buffer.split_first_chunk::<5>() else { return Ok(None) };
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len > MAX_PAYLOAD {
            return Err(FrameError::BadLength { kind, len });
        }
        let Some(payload) = buffer.get(5..5 + len) else { return Ok(None) };
        let frame = Self::from_parts(kind, payload)?;
        buffer.drain(..5 + len);
        Ok(Some(frame))
    }

    fn parts(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Stdin(bytes) => (0, bytes.clone()),
            Self::StdinEnd => (1, Vec::new()),
            Self::Stdout(bytes) => (2, bytes.clone()),
            Self::Stderr(bytes) => (3, bytes.clone()),
            Self::Resize { rows, cols } => (4, [rows.to_be_bytes(), cols.to_be_bytes()].concat()),
            Self::Signal(number) => (5, number.to_be_bytes().to_vec()),
            Self::Exit(code) => (6, code.to_be_bytes().to_vec()),
            Self::Failed(why) => (7, why.clone().into_bytes()),
        }
    }

    fn from_parts(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        let wrong = FrameError::BadLength { kind, len: payload.len() };
        let number = || payload.try_into().map(i32::from_be_bytes);
        Ok(match kind {
            0 => Self::Stdin(payload.to_vec()),
            1 if payload.is_empty() => Self::StdinEnd,
            1 => return Err(wrong),
            2 => Self::Stdout(payload.to_vec()),
            3 => Self::Stderr(payload.to_vec()),
            4 => match payload {
                &[a, b, c, d] => {
                    Self::Resize { rows: u16::from_be_bytes([a, b]), cols: u16::from_be_bytes([c, d]) }
                }
                _ => return Err(wrong),
            },
            5 => Self::Signal(number().map_err(|_why| wrong)?),
            6 => Self::Exit(number().map_err(|_why| wrong)?),
            7 => Self::Failed(String::from_utf8_lossy(payload).into_owned()),
            other => return Err(FrameError::UnknownKind(other)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_round_trip_byte_by_byte() {
        let frames = [
            Frame::Stdin(b"ls\n".to_vec()),
            Frame::StdinEnd,
            Frame::Stdout(vec![0, 255]),
            Frame::Resize { rows: 24, cols: 300 },
            Frame::Signal(15),
            Frame::Exit(-1),
            Frame::Failed("no such task".to_owned()),
        ];
        let mut buffer = Vec::new();
        let mut seen = Vec::new();
        for byte in frames.iter().flat_map(Frame::to_stream) {
            buffer.push(byte);
            seen.extend(Frame::take(&mut buffer).unwrap());
        }
        assert_eq!(seen, frames);
        for frame in frames {
            assert_eq!(Frame::from_message(&frame.to_message()), Ok(frame));
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(mut bytes: Vec<u8>) {
            while let Ok(Some(_)) = Frame::take(&mut bytes) {}
        }
    }
}
