//! Logs that no crash leaves: another program's file, a log file of another database, a record with valid checksums
//! that does not follow, is impossible, or contradicts earlier ones. A copy of a run's last log is changed in one
//! place; reading it must have the predicted result, and never panic. `disk` models damage by crashes and disks;
//! `beginning` corrupts the beginning of a log, `log_files` its files.

mod beginning;
mod format;
mod log_files;

use bytes::Bytes;
use kernel::cursors::Split;
use kernel::log::{self, LogReader, MemStorage, Opened, Storage, TornTail};
use kernel::record::{Body, Commit, CursorAdvance, Open, Record, Tally};
use kernel::schema::{Catalog, CatalogChange, ERRORS_TABLE, PipelineDef};
use kernel::{
    Epoch, Generation, Identity, PipelineId, Position, Recovery, RowId, Sequence, Shard, ShardId, SplitId,
    SqlState, TableId, Term,
};
use xxhash_rust::xxh3::xxh3_64;

use self::format::{End, HEADER_LEN, Header, VERSION};
use crate::decide::Decisions;
use crate::oracle::Violation;

/// The result of reading a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    /// Its last record.
    Ends(Sequence),
    Refused(SqlState),
}

use Expected::{Ends, Refused};

/// Corrupts a run's last log in a few ways, and checks the result of reading it.
pub fn check(d: &Decisions<'_>, image: &MemStorage, shards: u16) -> Result<(), Violation> {
    let Ends(last) = look(image) else { return Ok(()) };
    // The log must match its documented format, or it could not be corrupted.
    let end = format::end(&mut image.clone()).filter(|end| end.last.sequence == last.0);
    let undocumented = || {
        Violation::new("recovered", format!("by its format the log does not contain record {last}, the last"))
    };
    let end = end.ok_or_else(undocumented)?;
    refuse_strangers(d, shards)?;
    beginning::check(d)?;
    for _ in 0..d.between(1, 2) {
        let mut image = image.clone();
        let kind = d.below(7);
        let corrupted = match kind {
            0 => log_files::log_corruption(d, &mut image, &end),
            6 => log_files::corrupt_later(d, &mut image, &end),
            1 => corrupt_rows(d, &mut image, &end, shards),
            2 => {
                scramble_rows(d, &mut image, &end, shards);
                let (read, opened) = (look(&image), open(&image));
                // Any result, but no panic.
                if read != opened {
                    let text = format!("rows in wrong bytes: reading returns {read:?}, opening {opened:?}");
                    return Err(Violation::new("recovered", text));
                }
                None
            }
            3 | 4 => corrupt_record(d, &mut image, &end, shards),
            _ => corrupt_contradiction(d, &mut image, &end, shards),
        };
        let Some((what, expected)) = corrupted else { continue };
        // Errors of the log itself are independent of the visitor.
        let alone = if matches!(kind, 0 | 3 | 4 | 6) { read(&image) } else { expected };
        for (how, found) in [("reading", look(&image)), ("opening", open(&image)), ("reading alone", alone)] {
            if found != expected {
                let text = format!("{how} a log with {what} returns {found:?}, must return {expected:?}");
                return Err(Violation::new("recovered", text));
            }
        }
    }
    Ok(())
}

/// A change, and the predicted result.
type Corruption = Option<(String, Expected)>;

// ---- Records ----

/// A sync marker that follows the last record.
fn following(end: &End) -> Header {
    Header {
        version: VERSION,
        kind: 7,
        zero: 0,
        term: end.last.term,
        sequence: end.last.sequence + 1,
        previous_checksum: end.checksum,
        synced_through: end.last.sequence,
        payload_len: 0,
        payload_checksum: xxh3_64(&[]),
    }
}

/// Puts a record after the last one; None if there is no space for it.
fn append(image: &mut MemStorage, end: &End, mut header: Header, payload: &[u8]) -> Option<()> {
    let stored_len = HEADER_LEN + (payload.len() as u64).next_multiple_of(64);
    if stored_len > end.room {
        return None;
    }
    header.payload_len = payload.len() as u64;
    header.payload_checksum = xxh3_64(payload);
    let log_file = image.log_file_mut(end.location.log_file)?;
    let at = end.location.offset as usize;
    log_file[at..at + 64].copy_from_slice(&header.bytes(&end.location));
    log_file[at + 64..at + 64 + payload.len()].copy_from_slice(payload);
    Some(())
}

fn open_payload(database: [u8; 16], shard_count: u16) -> Vec<u8> {
    Body::Open(Open { database, shard_count, at_us: 0 }).encode(Sequence(1)).parts.concat()
}

fn corrupt_record(d: &Decisions<'_>, image: &mut MemStorage, end: &End, shards: u16) -> Corruption {
    let (last, next) = (Sequence(end.last.sequence), Sequence(end.last.sequence + 1));
    let database = end.location.database;
    let empty = || commit_payload(&Commit { outcomes: no_outcomes(shards), ..Commit::default() });
    let mut header = following(end);
    let mut payload = vec![];
    let (what, expected) = match d.below(21) {
        0 => ("a record more", Ends(next)),
        19 => {
            append(image, end, header, &payload)?;
            // Its checksum is valid, but its magic is not.
            let at = end.location.offset as usize;
            let log_file = image.log_file_mut(end.location.log_file)?;
            log_file[at + d.index(4)] ^= 1 << d.below(8);
            let checksum = format::header_checksum(&log_file[at..at + 56], &end.location);
            log_file[at + 56..at + 64].copy_from_slice(&checksum.to_le_bytes());
            return Some(("something that is no record".into(), Ends(last)));
        }
        1 => {
            header.sequence += d.between(1, 3);
            ("a record after a gap", Ends(last))
        }
        2 => {
            header.sequence += 1;
            header.synced_through += 1;
            ("a record that calls one synced that is not there", Refused(SqlState::DATA_CORRUPTED))
        }
        3 => {
            header.synced_through = header.sequence;
            ("a record that calls itself synced", Refused(SqlState::DATA_CORRUPTED))
        }
        4 if end.last.synced_through > 0 => {
            header.synced_through = d.below(end.last.synced_through);
            ("a record with a lower synced_through than the previous one", Ends(last))
        }
        5 => {
            header.previous_checksum ^= 1 << d.below(64);
            ("a record that follows another one", Ends(last))
        }
        6 => {
            header.term = header.term + 1 - 2 * d.below(2);
            ("a record of another term", Ends(last))
        }
        7 | 8 => {
            (header.kind, header.term) = (1, header.term + 1);
            payload = open_payload(database, shards);
            ("another term", Ends(next))
        }
        9 => {
            header.kind = 1;
            payload = open_payload(database, shards);
            ("an open record of the same term", Ends(last))
        }
        10 => {
            (header.kind, header.term) = (1, header.term + 1);
            let (mut other, mut count) = (database, shards);
            match d.below(2) {
                0 => other[d.index(16)] ^= 1,
                _ => count += 1,
            }
            payload = open_payload(other, count);
            ("a term of another database", Refused(SqlState::DATA_CORRUPTED))
        }
        11 => {
            header.kind = d.pick(&[0, 6, 8, 200]);
            ("a record of a kind that nobody knows", Refused(SqlState::FEATURE_NOT_SUPPORTED))
        }
        12 => {
            header.zero = d.pick(&[1, 2, 255]);
            ("a record with another encoding of its payload", Refused(SqlState::FEATURE_NOT_SUPPORTED))
        }
        13 => {
            header.version = d.pick(&[0, 1, 3, 65535]);
            ("a record of another format", Refused(SqlState::FEATURE_NOT_SUPPORTED))
        }
        14 => {
            payload = match d.below(2) {
                0 => empty(),
                _ => vec![0; d.between(1, 70) as usize],
            };
            ("a sync marker with a payload", Refused(SqlState::DATA_CORRUPTED))
        }
        15 => {
            header.kind = d.between(2, 5) as u8;
            payload = empty();
            ("a transaction that changes nothing", Ends(next))
        }
        16 => {
            header.kind = d.between(2, 5) as u8;
            payload = empty();
            match d.below(2) {
                0 => payload.push(0),
                _ => payload.truncate(d.below(payload.len() as u64) as usize),
            }
            ("a transaction that does not end where it must", Refused(SqlState::DATA_CORRUPTED))
        }
        17 => {
            header.kind = 2;
            payload = format::with_unknown_field(&empty(), d.between(24, 255) as u8, d.below(24) as u8);
            ("a transaction with a field that nobody knows", Ends(next))
        }
        18 => {
            header.kind = 2;
            payload = empty();
            let count = payload.len() - 8 * (1 + d.index(usize::from(shards)));
            payload[count + d.index(8)] = d.pick(&[1, 2, 77, 255]);
            ("a shard with more outcomes than there are", Refused(SqlState::DATA_CORRUPTED))
        }
        _ => {
            append(image, end, header, &[1, 2, 3])?;
            let at = (end.location.offset + HEADER_LEN) as usize;
            image.log_file_mut(end.location.log_file)?[at + d.index(3)] ^= 16;
            return Some(("a record with a torn payload".into(), Ends(last)));
        }
    };
    append(image, end, header, &payload)?;
    Some((what.into(), expected))
}

// ---- Contradictions ----

fn commit_payload(commit: &Commit) -> Vec<u8> {
    Body::Commit(kernel::record::RecordKind::Batch, commit.clone()).encode(Sequence(1)).parts.concat()
}

fn no_outcomes(shards: u16) -> Vec<Vec<Bytes>> {
    (0..shards).map(|_| vec![]).collect()
}

/// A well-formed transaction that is impossible after the earlier ones.
fn corrupt_contradiction(d: &Decisions<'_>, image: &mut MemStorage, end: &End, shards: u16) -> Corruption {
    let catalog = catalog(image)?;
    let mut commit = Commit { outcomes: no_outcomes(shards), ..Commit::default() };
    let no_table = TableId(catalog.next_table + 3);
    let what = match d.below(11) {
        10 if d.below(2) == 0 => {
            let mut table = (**catalog.tables.values().next_back()?).clone();
            (table.id, table.name) = (TableId(u32::MAX), "last".into());
            commit.catalog.push(CatalogChange::TableCreated(table));
            "a table with the last possible id"
        }
        10 => {
            let mut pipeline = (**catalog.pipelines.values().next_back()?).clone();
            (pipeline.id, pipeline.name) = (PipelineId(u32::MAX), "last".into());
            commit.catalog.push(CatalogChange::PipelineSet(pipeline));
            "a pipeline with the last possible id"
        }
        9 => {
            let gone = (1..catalog.next_table).find(|id| !catalog.tables.contains_key(&TableId(*id)))?;
            let mut table = (**catalog.tables.values().next_back()?).clone();
            (table.id, table.name) = (TableId(gone), "again".into());
            commit.catalog.push(CatalogChange::TableCreated(table));
            "a table with the id of a dropped one"
        }
        0 => {
            let tables: Vec<_> = catalog.tables.values().collect();
            commit.catalog.push(CatalogChange::TableCreated((**d.pick(&tables)).clone()));
            "a table that is created twice"
        }
        1 => {
            commit.catalog.push(CatalogChange::TableDropped(d.pick(&[no_table, ERRORS_TABLE])));
            "a missing or required table dropped"
        }
        2 => {
            commit.catalog.push(CatalogChange::TableTruncated(no_table));
            "a missing table truncated"
        }
        3 => {
            commit.catalog.push(CatalogChange::PipelineDropped(PipelineId(catalog.next_pipeline + 3)));
            "a missing pipeline dropped"
        }
        4 => {
            let tables: Vec<_> = catalog.tables.values().filter(|table| table.id != ERRORS_TABLE).collect();
            let table = tables.get(d.index(tables.len().max(1)))?;
            let id = RowId { sequence: Sequence(end.last.sequence), ordinal: 77 };
            let mut piece = vec![];
            kernel::columns::encode(table, &[id], None, &mut piece);
            commit.outcomes[d.index(usize::from(shards))] = vec![piece.into()];
            "a deletion of a row that never existed"
        }
        5 => {
            let mut table = (**catalog.tables.values().next()?).clone();
            table.id = no_table;
            let mut piece = vec![];
            let id = RowId { sequence: Sequence(1), ordinal: 0 };
            kernel::columns::encode(&table, &[id], None, &mut piece);
            commit.outcomes[0] = vec![piece.into()];
            "rows of a missing table"
        }
        _ => {
            let seen = catalog.pipelines.values();
            let is_seen = |p: &&std::sync::Arc<PipelineDef>| catalog.cursors[&p.id].has_identity();
            let seen: Vec<_> = seen.filter(is_seen).collect();
            let pipeline = seen.get(d.index(seen.len().max(1)))?;
            let (advance, is_wrong) = odd_advance(d, pipeline, &catalog);
            commit.cursors.push(advance);
            if !is_wrong {
                append(image, end, Header { kind: 2, ..following(end) }, &commit_payload(&commit))?;
                return Some(("a cursor that does not move".into(), Ends(Sequence(end.last.sequence + 1))));
            }
            "a cursor that does not follow"
        }
    };
    append(image, end, Header { kind: 2, ..following(end) }, &commit_payload(&commit))?;
    Some((what.into(), Refused(SqlState::DATA_CORRUPTED)))
}

// ---- Rows ----

/// A well-formed transaction with rows taken from the tables.
fn corrupt_rows(d: &Decisions<'_>, image: &mut MemStorage, end: &End, shards: u16) -> Corruption {
    let found = living(d, image)?;
    let Living { catalog, shard, table, chunk, row } = &found;
    let (shard, table) = (*shard, &catalog.tables[table]);
    let (id, one, keyed) = (found.id(), chunk.rows.slice(*row, 1), !table.primary_key.is_empty());
    let next = Ends(Sequence(end.last.sequence + 1));
    let other_shard = (shard + 1) % usize::from(shards);
    let other = living(d, image)?;
    let (what, at, deletes, rows, expected) = match d.below(10) {
        0 => ("a deleted row", shard, vec![id], None, next),
        1 => ("a row that goes twice", shard, vec![id, id], None, Refused(SqlState::DATA_CORRUPTED)),
        2 => ("a row that changes", shard, vec![id], Some(one), next),
        3 if shards > 1 => {
            ("a row on another shard", other_shard, vec![], Some(one), Refused(SqlState::DATA_CORRUPTED))
        }
        4 if keyed => {
            ("a key that is there already", shard, vec![], Some(one), Refused(SqlState::DATA_CORRUPTED))
        }
        5 if keyed => {
            let twice = [&one, &one];
            let twice =
                arrow_select::concat::concat_batches(&one.schema(), twice).expect("rows of one table");
            ("a key that comes twice", shard, vec![id], Some(twice), Refused(SqlState::DATA_CORRUPTED))
        }
        6 if other.id() > id && other.shard == shard && other.table == table.id => {
            ("a changed row and a deleted row", shard, vec![id, other.id()], Some(one), next)
        }
        7 => {
            let mut piece = vec![];
            kernel::columns::encode(table, &[id], Some(&one), &mut piece);
            // Its format, and eight reserved bytes.
            piece[22 + d.index(10)] ^= 4;
            append_piece(image, end, shards, shard, piece)?;
            return Some(("rows in a piece of no known format".into(), Refused(SqlState::DATA_CORRUPTED)));
        }
        8 | 9 => {
            let mut piece = vec![];
            let left_over = d.below(2) == 1;
            let deletes = [id];
            kernel::columns::encode(table, &deletes[..usize::from(left_over)], None, &mut piece);
            if left_over {
                piece.extend([0; 16]);
                let length = piece.len() as u32;
                piece[..4].copy_from_slice(&length.to_le_bytes());
            }
            append_piece(image, end, shards, shard, piece)?;
            let outcome = if left_over { Refused(SqlState::DATA_CORRUPTED) } else { next };
            return Some((format!("a piece of nothing, bytes left over: {left_over}"), outcome));
        }
        _ if keyed => return None,
        _ => ("a row more", shard, vec![], Some(one), next),
    };
    let mut piece = vec![];
    kernel::columns::encode(table, &deletes, rows.as_ref(), &mut piece);
    append_piece(image, end, shards, at, piece)?;
    Some((what.into(), expected))
}

/// A transaction with one piece, of one shard.
fn append_piece(image: &mut MemStorage, end: &End, shards: u16, shard: usize, piece: Vec<u8>) -> Option<()> {
    let mut commit = Commit { outcomes: no_outcomes(shards), ..Commit::default() };
    commit.outcomes[shard] = vec![piece.into()];
    append(image, end, Header { kind: 2, ..following(end) }, &commit_payload(&commit))
}

/// A transaction with invalid row bytes and valid checksums.
fn scramble_rows(d: &Decisions<'_>, image: &mut MemStorage, end: &End, shards: u16) -> Option<()> {
    let Living { catalog, shard, table, chunk, .. } = living(d, image)?;
    let rows = chunk.rows.slice(0, d.between(1, chunk.rows.num_rows() as u64) as usize);
    let mut piece = vec![];
    kernel::columns::encode(&catalog.tables[&table], &[chunk.ids.get(0)], Some(&rows), &mut piece);
    for _ in 0..d.between(1, 4) {
        let at = d.index(piece.len());
        piece[at] = d.pick(&[0, 1, 2, 0x7f, 0x80, 0xff, piece[at] ^ 1, piece[at].wrapping_add(1)]);
    }
    append_piece(image, end, shards, shard, piece)
}

/// A live row, and its shard.
struct Living {
    catalog: Catalog,
    shard: usize,
    table: TableId,
    chunk: kernel::snapshot::ChunkView,
    row: usize,
}

impl Living {
    fn id(&self) -> RowId {
        self.chunk.ids.get(self.row)
    }
}

fn living(d: &Decisions<'_>, image: &MemStorage) -> Option<Living> {
    let mut fold = fold(image).ok()?;
    let catalog = fold.recovery.catalog().clone();
    let mut found = vec![];
    for (shard, state) in fold.shards.iter_mut().enumerate() {
        for (table, view) in &state.recovered().tables {
            found.extend(view.chunks.iter().map(|chunk| (shard, *table, chunk.clone())));
        }
    }
    let (shard, table, chunk) = found.get(d.index(found.len().max(1)))?.clone();
    let lives = |row: &usize| chunk.deleted.as_ref().is_none_or(|deleted| !deleted.value(*row));
    let rows: Vec<usize> = (0..chunk.rows.num_rows()).filter(lives).collect();
    let row = *rows.get(d.index(rows.len().max(1)))?;
    Some(Living { catalog, shard, table, chunk, row })
}

/// An advance, and whether it must be refused.
fn odd_advance(d: &Decisions<'_>, pipeline: &PipelineDef, catalog: &Catalog) -> (CursorAdvance, bool) {
    let mut splits = catalog.cursors[&pipeline.id].splits();
    let read = |(number, split): (SplitId, &Split)| Some((number, split.identity.clone()?, split.position?));
    let (split, identity, at) = splits.by_ref().find_map(read).expect("one was seen");
    let mut advance = CursorAdvance {
        pipeline: pipeline.id,
        generation: pipeline.generation,
        epoch: pipeline.epoch,
        split,
        first: at,
        next: Position::kafka(at.ordinal() + 5, 0),
        identity,
        finished: false,
        tally: Tally::default(),
    };
    let kind = d.below(8);
    match kind {
        0 => advance.pipeline = PipelineId(catalog.next_pipeline),
        1 => advance.generation = Generation(advance.generation.0 + 1),
        2 => advance.identity = Identity::new(&[0xee; 16]),
        3 => advance.split.0 += 1000,
        4 => advance.first = Position::kafka(at.ordinal() + 1, 0),
        5 => advance.first = Position::kafka(at.ordinal() - 1, 0),
        6 => advance.next = Position::kafka(at.ordinal() - 1, 0),
        _ => advance.next = at,
    }
    advance.epoch = Epoch(advance.epoch.0 + d.below(3));
    (advance, kind < 7)
}

// ---- Reading ----

/// The state that a start builds from a log.
struct Fold {
    recovery: Recovery,
    shards: Vec<Shard>,
    last: Sequence,
    term: Term,
}

impl Fold {
    fn new() -> Fold {
        Fold { recovery: Recovery::new(), shards: vec![], last: Sequence(0), term: Term(0) }
    }

    fn take(&mut self, record: &Record) -> kernel::Result<()> {
        self.recovery.replay(record)?;
        match &record.body {
            Body::Open(open) if self.shards.is_empty() => {
                let shards = 0..open.shard_count;
                self.shards = shards.map(|shard| Shard::new(ShardId(shard), open.shard_count)).collect();
            }
            Body::Commit(_, commit) => {
                for (shard, piece) in self.shards.iter_mut().zip(&commit.outcomes) {
                    shard.replay(record.sequence, &commit.catalog, piece)?;
                }
            }
            Body::Open(_) | Body::SyncMarker => {}
        }
        (self.last, self.term) = (record.sequence, record.term);
        Ok(())
    }
}

fn fold(image: &MemStorage) -> kernel::Result<Fold> {
    let mut fold = Fold::new();
    let mut reader = LogReader::begin(image.clone())?;
    while let Some(record) = reader.next_record()? {
        fold.take(&record)?;
    }
    Ok(fold)
}

fn look(image: &MemStorage) -> Expected {
    fold(image).map_or_else(|error| Refused(error.sqlstate), |fold| Ends(fold.last))
}

/// Reads the log alone, without applying its records.
fn read(image: &MemStorage) -> Expected {
    let read = LogReader::begin(image.clone()).and_then(|mut reader| {
        let mut last = Sequence(0);
        while let Some(record) = reader.next_record()? {
            last = record.sequence;
        }
        Ok(last)
    });
    read.map_or_else(|error| Refused(error.sqlstate), Ends)
}

/// Opens the log like a server, which creates one where there is none.
fn open(image: &MemStorage) -> Expected {
    let mut fold = Fold::new();
    let opened = log::is_created(&mut image.clone()).and_then(|there| match there {
        true => log::open(image.clone(), 0, 4096, &mut |record| fold.take(&record)),
        false => {
            Err(kernel::Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "a new log would be made"))
        }
    });
    match opened {
        Err(error) => Refused(error.sqlstate),
        // Its own open record comes last.
        Ok(opened) => {
            let last = opened.writer.last();
            assert_eq!(fold.term, opened.term, "the opened term is the one of the last open record");
            let Opened { writer, torn_tail, .. } = opened;
            let mut after = writer.into_storage();
            assert_eq!(torn_tail, torn_of(&mut image.clone(), &mut after), "a torn tail is reported");
            assert_clean(after);
            Ends(Sequence(last.0 - 1))
        }
    }
}

/// The torn tail that must be reported for an opened log: everything after the last accepted record was removed.
pub(crate) fn torn_of(before: &mut MemStorage, after: &mut MemStorage) -> Option<TornTail> {
    let records = format::records(after);
    let [.., end, open] = &records[..] else { return None };
    let (log_file, offset) = (end.location.log_file, end.location.offset);
    let behind =
        before.log_file_mut(log_file).is_some_and(|bytes| bytes[offset as usize..].iter().any(|b| *b != 0));
    let later = before.log_files().expect("memory").iter().any(|(number, _)| *number > log_file);
    (behind || later).then_some(TornTail { log_file, offset, first: Sequence(open.last.sequence) })
}

/// Each log file is filled before the next one begins, and has the length that its records require.
pub(crate) fn check_layout(image: &mut MemStorage, log_file_len: u64) -> Result<(), Violation> {
    let records = format::records(image);
    for (before, record) in records.iter().zip(&records[1..]) {
        if record.at.log_file == before.at.log_file {
            continue;
        }
        let due = log_file_len.max(HEADER_LEN + record.stored_len()).next_multiple_of(4096);
        let len = image.log_file_mut(record.at.log_file).map_or(0, |log_file| log_file.len() as u64);
        if record.stored_len() <= before.room || len != due {
            let text = format!(
                "a log file of {len} bytes, {due} are due, is begun for {record:?} where there are {} bytes left",
                before.room
            );
            return Err(Violation::new("bounded", text));
        }
    }
    Ok(())
}

/// After the last record there are no bytes that a later term could take for a record of its own.
pub(crate) fn assert_clean(mut image: MemStorage) {
    let end = format::end(&mut image).expect("a log that is open has a record");
    let log_file = image.log_file_mut(end.location.log_file).expect("it is there");
    assert!(log_file[end.location.offset as usize..].iter().all(|byte| *byte == 0), "the tail is cleared");
    assert!(image.log_file_mut(end.location.log_file + 1).is_none(), "later log files are removed");
}

/// Recovery refuses a record of another database, and a gap.
fn refuse_strangers(d: &Decisions<'_>, shards: u16) -> Result<(), Violation> {
    let open = Open { database: [d.below(200) as u8; 16], shard_count: shards, at_us: 0 };
    let record = |sequence: u64, body: Body| Record {
        sequence: Sequence(sequence),
        term: Term(sequence),
        synced_through: Sequence(sequence - 1),
        body,
    };
    let mut recovery = Recovery::new();
    let first = recovery.replay(&record(1, Body::Open(open.clone())));
    let strange = match d.below(4) {
        0 => record(2, Body::Open(Open { database: [201; 16], ..open })),
        1 => record(2, Body::Open(Open { shard_count: shards + 1, ..open })),
        2 => record(3, Body::SyncMarker),
        _ => {
            recovery = Recovery::new();
            record(1, Body::SyncMarker)
        }
    };
    let found = recovery.replay(&strange).map_err(|error| error.sqlstate);
    if (first.is_ok(), found) != (true, Err(SqlState::DATA_CORRUPTED)) {
        let text = format!("recovery takes {strange:?}: {found:?}");
        return Err(Violation::new("recovered", text));
    }
    Ok(())
}

/// Definitions after the last record.
fn catalog(image: &MemStorage) -> Option<Catalog> {
    Some(fold(image).ok()?.recovery.catalog().clone())
}
