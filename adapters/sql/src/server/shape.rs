//! Checks the shape of a client's message: terminated texts, correct counts and lengths, no missing and no extra bytes.
//! The check precedes decoding, because the decoder trusts the content.
//!
//! <https://www.postgresql.org/docs/15/protocol-message-formats.html>

/// True if the body of a message of this kind is well formed. Kinds that are not listed are not checked.
pub fn is_whole(kind: u8, body: &[u8]) -> bool {
    let mut rest = Rest(body);
    let read = match kind {
        b'Q' | b'f' | b'p' => rest.text(),
        b'P' => rest.text().and_then(|()| rest.text()).and_then(|()| rest.counted(|r| r.skip(4))),
        b'B' => rest
            .text()
            .and_then(|()| rest.text())
            .and_then(|()| rest.counted(|r| r.skip(2)))
            .and_then(|()| rest.counted(Rest::value))
            .and_then(|()| rest.counted(|r| r.skip(2))),
        b'D' | b'C' => rest.skip(1).and_then(|()| rest.text()),
        b'E' => rest.text().and_then(|()| rest.skip(4)),
        b'H' | b'S' | b'X' | b'c' => Some(()),
        _ => return true,
    };
    // A password message has the shape of its method: only a plain one ends with its text.
    read.is_some() && (rest.0.is_empty() || kind == b'p')
}

/// True if a startup packet consists of pairs of texts and a terminator.
pub fn is_whole_startup(mut body: &[u8]) -> bool {
    loop {
        match body {
            [] => return false,
            [0, rest @ ..] => return rest.is_empty(),
            _ => {}
        }
        let mut rest = Rest(body);
        if rest.text().and_then(|()| rest.text()).is_none() {
            return false;
        }
        body = rest.0;
    }
}

/// The unread bytes. A method returns None if they are too few.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    /// A zero-terminated text.
    fn text(&mut self) -> Option<()> {
        let len = self.0.iter().position(|byte| *byte == 0)?;
        self.skip(len + 1)
    }

    fn integer<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        let integer = *self.0.first_chunk::<BYTES>()?;
        self.skip(BYTES)?;
        Some(integer)
    }

    /// An unsigned 16-bit count, and that many items.
    fn counted(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let count = u16::from_be_bytes(self.integer()?);
        (0..count).try_for_each(|_| item(self))
    }

    /// A value with its length; -1 is NULL.
    fn value(&mut self) -> Option<()> {
        match i32::from_be_bytes(self.integer()?) {
            -1 => Some(()),
            len => self.skip(usize::try_from(len).ok()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, statement, formats, values of 2 bytes and NULL, formats of results.
    const BIND: &[u8] = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\0";

    #[test]
    fn whole_messages_are_whole_and_every_part_of_them_is_not() {
        let messages: [(u8, &[u8]); 6] = [
            (b'Q', b"SELECT 1\0"),
            (b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17"),
            (b'B', BIND),
            (b'D', b"Ss\0"),
            (b'E', b"p\0\0\0\0\0"),
            (b'f', b"no\0"),
        ];
        for (kind, body) in messages {
            assert!(is_whole(kind, body), "{}", char::from(kind));
            for len in 0..body.len() {
                assert!(!is_whole(kind, &body[..len]), "{} of {len} bytes", char::from(kind));
            }
            let longer = [body, b"x"].concat();
            assert!(!is_whole(kind, &longer), "{} with a byte more", char::from(kind));
        }
        assert!(is_whole(b'S', b"") && !is_whole(b'S', b"x"));
    }

    #[test]
    fn lengths_that_lie_are_seen() {
        for len in [-2i32, i32::MIN, i32::MAX, 3] {
            let body = [b"\0\0\0\0\0\x01".as_slice(), &len.to_be_bytes(), b"ab", b"\0\0"].concat();
            assert!(!is_whole(b'B', &body), "{len}");
        }
        assert!(!is_whole(b'B', b"\0\0\xff\xff\0\0\0\0"));
    }

    #[test]
    fn a_startup_is_pairs_and_an_end() {
        for whole in [b"\0".as_slice(), b"user\0u\0\0"] {
            assert!(is_whole_startup(whole), "{whole:?}");
        }
        for broken in [b"".as_slice(), b"user\0u\0", b"user\0\0x", b"user\0u", b"user\0u\0\0x"] {
            assert!(!is_whole_startup(broken), "{broken:?}");
        }
    }
}
