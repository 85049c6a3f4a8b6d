//! Kafka's primitive types: big-endian integers, strings and bytes with a length before them.

/// Reads a request. None where it ends too early.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn i8(&mut self) -> Option<i8> {
        self.take(1).map(|bytes| bytes[0] as i8)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.take(2).map(|bytes| i16::from_be_bytes(bytes.try_into().expect("two bytes")))
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.take(4).map(|bytes| i32::from_be_bytes(bytes.try_into().expect("four bytes")))
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.take(8).map(|bytes| i64::from_be_bytes(bytes.try_into().expect("eight bytes")))
    }

    /// A string; null reads as the empty one.
    pub(super) fn string(&mut self) -> Option<&'a str> {
        let len = self.i16()?;
        std::str::from_utf8(self.take(len.max(0) as usize)?).ok()
    }

    /// Bytes; null reads as none.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.i32()?;
        self.take(len.max(0) as usize)
    }

    /// Elements, each read by `element`; a null array reads as the empty one.
    pub(super) fn array<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let len = self.i32()?.max(0);
        (0..len).map(|_| element(self)).collect()
    }
}

/// Writes a response.
#[derive(Default)]
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub(super) fn i8(&mut self, value: i8) {
        self.0.push(value as u8);
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn string(&mut self, text: &str) {
        self.i16(text.len() as i16);
        self.0.extend(text.as_bytes());
    }

    pub(super) fn null_string(&mut self) {
        self.i16(-1);
    }

    pub(super) fn array<T>(
        &mut self,
        elements: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.i32(elements.len() as i32);
        elements.for_each(|element| write(self, element));
    }
}
