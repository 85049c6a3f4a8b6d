//! Any bytes as the payload of a log record: decoding never panics, and a decoded record encodes to the same bytes.
#![no_main]

use bytes::Bytes;
use kernel::Sequence;
use kernel::record::{Body, RecordKind};
use libfuzzer_sys::fuzz_target;

const KINDS: [RecordKind; 6] = [
    RecordKind::Open,
    RecordKind::Batch,
    RecordKind::Client,
    RecordKind::Catalog,
    RecordKind::Cursor,
    RecordKind::SyncMarker,
];

fuzz_target!(|data: &[u8]| {
    let [kind, payload @ ..] = data else { return };
    let kind = KINDS[*kind as usize % KINDS.len()];
    let Ok(body) = Body::decode(kind, &Bytes::copy_from_slice(payload)) else { return };
    // Numbers may have a non-minimal encoding, so the bytes are compared after encoding by the kernel.
    let once = encoded(&body);
    let again = Body::decode(kind, &once).expect("what we write, we read");
    assert_eq!(encoded(&again), once);
});

fn encoded(body: &Body) -> Bytes {
    body.encode(Sequence(1)).parts.concat().into()
}
