//! The encoding of everything that is stored and is not a column: definitions, cursors, the heads of log records, and
//! the items of recordings. It is CBOR (RFC 8949), with numbered fields. The types that derive `Encode` and `Decode` are the
//! schema; `docs/internals/stored-types.md` lists them. Columns have an encoding of their own, in `columns`.
//!
//! # Rules of the schema
//!
//! - A struct is a map from field numbers to values. An enum is an array of the variant's number and a map of its
//!   fields. A number is never given to another field or variant, and never changes its type.
//! - A reader skips a field that it does not know, and takes an optional field that is absent as None. A new field must
//!   therefore be optional (or have a default), and a reader that skips it must still be right about everything else.
//! - A change that an older reader would misunderstand gets a new format version
//!   ([`FORMAT_VERSION`](crate::record::FORMAT_VERSION)), which older readers refuse. An unknown variant is refused, too.
//! - Encoding is deterministic: fields in order of their numbers, maps in order of their keys, integers in their
//!   shortest form. Equal values have equal bytes.
//!
//! CBOR was chosen because the kernel's own types can carry the numbers: Protobuf and FlatBuffers generate a second set
//! of types, which would have to be converted on each path, in the part of the program that must be simplest. `minicbor`
//! has no dependency of its own and no unsafe code on this path, and any CBOR tool can print a stored record.

use minicbor::{Decode, Encode};

/// Encodes a value.
pub fn to_vec<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    extend(value, &mut bytes);
    bytes
}

/// Appends an encoded value.
pub fn extend<T: Encode<()>>(value: &T, bytes: &mut Vec<u8>) {
    minicbor::encode(value, bytes).expect("memory takes all bytes, and derived encodings do not fail");
}

/// Decodes a value that takes all of the bytes. Never panics. The error says what does not fit.
pub fn from_slice<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, String> {
    match take(bytes)? {
        (value, []) => Ok(value),
        (_, rest) => Err(format!("{} bytes are left over", rest.len())),
    }
}

/// Decodes a value at the beginning of the bytes, and returns it with the bytes after it.
pub fn take<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<(T, &'b [u8]), String> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|error| error.to_string())?;
    Ok((value, &bytes[decoder.position()..]))
}

/// A 128-bit integer: 16 bytes, little-endian. For `#[cbor(with = …)]`.
pub(crate) mod int128 {
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};

    pub fn encode<C, W: Write>(
        value: &i128,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.bytes(&value.to_le_bytes())?.ok()
    }

    pub fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<i128, Error> {
        let bytes = decoder.bytes()?.try_into();
        bytes
            .map(i128::from_le_bytes)
            .map_err(|_| Error::message("an integer of 128 bits has another length"))
    }
}

/// A map of shared values: the values themselves. For `#[cbor(with = …)]`.
pub(crate) mod shared {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};
    use minicbor::{Decode, Encode};

    pub fn encode<C, K: Encode<C>, V: Encode<C>, W: Write>(
        map: &BTreeMap<K, Arc<V>>,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.map(map.len() as u64)?;
        for (key, value) in map {
            key.encode(encoder, context)?;
            V::encode(value, encoder, context)?;
        }
        Ok(())
    }

    pub fn decode<'b, C, K: Decode<'b, C> + Ord, V: Decode<'b, C>>(
        decoder: &mut Decoder<'b>,
        context: &mut C,
    ) -> Result<BTreeMap<K, Arc<V>>, Error> {
        let map: BTreeMap<K, V> = decoder.decode_with(context)?;
        Ok(map.into_iter().map(|(key, value)| (key, Arc::new(value))).collect())
    }
}
