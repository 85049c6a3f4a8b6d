//! Recordings in files: what is written comes back, what is torn ends, what is damaged is told.

use std::path::Path;

use kernel::{Config, Incarnation, Sequence};
use proptest::prelude::*;

use crate::file::*;
use crate::item::{End, Item, RecordedInput};

fn header() -> FileHeader {
    FileHeader {
        database: [7; 16],
        incarnation: Incarnation(3),
        number: 1,
        shard_count: 8,
        config: Config::default(),
        begin: Begin::Life { open: Sequence(9), now_us: 5 },
    }
}

fn synced(sequence: u64) -> Item {
    Item::Input { at_us: sequence as i64, input: RecordedInput::Synced(Sequence(sequence)) }
}

/// A file of frames with so many items each.
fn written(frames: &[usize]) -> Vec<u8> {
    let mut bytes = encode_header(&header());
    let seed = frame_seed(&bytes);
    let mut frame = vec![];
    let mut sequence = 0;
    for (number, items) in frames.iter().enumerate() {
        begin_frame(&mut frame);
        for _ in 0..*items {
            sequence += 1;
            push_item(&mut frame, &synced(sequence));
        }
        seal_frame(&mut frame, seed, number as u64);
        bytes.extend_from_slice(&frame);
    }
    bytes
}

fn read(directory: &Path, bytes: &[u8]) -> Result<(Vec<Item>, usize), RecordingError> {
    let path = directory.join(file_name(Incarnation(3), 1));
    std::fs::write(&path, bytes).unwrap();
    let mut recording = Recording::open(&path)?;
    assert_eq!(recording.header.begin.sequence(), Sequence(9));
    let mut items = vec![];
    while let Some(item) = recording.next_item()? {
        items.push(item);
    }
    Ok((items, recording.torn_bytes()))
}

fn sequences(items: &[Item]) -> Vec<u64> {
    let sequence = |item: &Item| match item {
        Item::Input { input: RecordedInput::Synced(sequence), .. } => sequence.0,
        other => panic!("never written: {other:?}"),
    };
    items.iter().map(sequence).collect()
}

#[test]
fn what_is_cut_off_anywhere_ends_with_the_last_whole_frame() {
    let directory = tempfile::tempdir().unwrap();
    let whole = written(&[3, 1, 4]);
    let header_len = encode_header(&header()).len();
    let ends: Vec<usize> = [&[][..], &[3], &[3, 1], &[3, 1, 4]].map(|f| written(f).len()).to_vec();
    let counts = [0, 3, 4, 8];
    for len in header_len..=whole.len() {
        let (items, torn) = read(directory.path(), &whole[..len]).unwrap();
        let frames = ends.iter().filter(|end| **end <= len).count() - 1;
        assert_eq!(sequences(&items), (1..=counts[frames]).collect::<Vec<_>>(), "cut at {len}");
        assert_eq!(torn, len - ends[frames]);
    }
    for len in 0..header_len {
        let error = read(directory.path(), &whole[..len]).unwrap_err();
        assert!(
            matches!(error, RecordingError::NotARecording(_) | RecordingError::Damaged { .. }),
            "{error}"
        );
    }
}

#[test]
fn ends_are_told_apart() {
    for end in [End::Stopped, End::NextFile, End::Incomplete("slow".into())] {
        let mut frame = vec![];
        begin_frame(&mut frame);
        push_item(&mut frame, &Item::End(end.clone()));
        let (item, rest) = postcard::take_from_bytes::<Item>(&frame[12..]).unwrap();
        assert!(rest.is_empty() && matches!(item, Item::End(found) if found == end));
    }
}

proptest! {
    /// Whatever the damage, reading ends or tells; what comes back is what was written, up to there.
    #[test]
    fn damage_never_passes_for_items(at in 0usize..400, bit in 0u8..8) {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = written(&[3, 1, 4, 1, 5]);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok((items, torn)) = read(directory.path(), &bytes) {
            prop_assert_eq!(sequences(&items), (1..=items.len() as u64).collect::<Vec<_>>());
            prop_assert!(torn > 0, "a frame is missing, and that is told");
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = encode_header(&header());
        let seed = frame_seed(&bytes);
        let mut frame = vec![];
        begin_frame(&mut frame);
        frame.extend_from_slice(&body);
        seal_frame(&mut frame, seed, 0);
        bytes.extend_from_slice(&frame);
        // The checksum is right: what it covers may make no sense, which is an error.
        let _ = read(directory.path(), &bytes);
    }
}
