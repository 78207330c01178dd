//! Packed input, told by its first bytes and unpacked on the way: gzip (several members too) and zstd.

use flate2::read::MultiGzDecoder;
use std::io::{self, BufReader, Chain, Cursor, Read};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// Bytes as they were before they were packed.
pub struct Unpacked<R: Read>(Inner<R>);

enum Inner<R: Read> {
    Plain(Whole<R>),
    Gzip(Box<MultiGzDecoder<Whole<R>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<Whole<R>>>>),
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(input) => input.read(buffer),
            Inner::Gzip(input) => input.read(buffer),
            Inner::Zstd(input) => input.read(buffer),
        }
    }
}

/// Looks at the first bytes and unpacks what follows.
///
/// # Errors
/// When the first bytes cannot be read or the unpacker cannot be set up. What is cut short is told where it ends.
pub fn unpack<R: Read>(mut input: R) -> io::Result<Unpacked<R>> {
    let mut head = Vec::with_capacity(ZSTD.len());
    input.by_ref().take(ZSTD.len() as u64).read_to_end(&mut head)?;
    let (gzip, zstd) = (head.starts_with(&GZIP), head.starts_with(&ZSTD));
    let whole = Cursor::new(head).chain(input);
    Ok(Unpacked(if gzip {
        Inner::Gzip(Box::new(MultiGzDecoder::new(whole)))
    } else if zstd {
        Inner::Zstd(Box::new(zstd::Decoder::new(whole)?))
    } else {
        Inner::Plain(whole)
    }))
}
