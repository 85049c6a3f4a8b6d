//! Reads a topic from beginning to end and discards the messages: the throughput of librdkafka through this crate.
//! `cargo run --release -p tidemark-kafka --example consume -- host:port topic`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kernel::message::SourceFailure;
use kernel::source::Source;
use kernel::{OrdinalFilter, Position, SplitName};
use tidemark_kafka::{KafkaOptions, KafkaSource};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, topic] = arguments.as_slice() else {
        eprintln!("usage: consume BROKERS TOPIC");
        return ExitCode::from(2);
    };
    match consume(brokers, topic) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn consume(brokers: &str, topic: &str) -> Result<(), String> {
    let options = KafkaOptions::new(brokers, topic, BTreeMap::new()).map_err(|e| e.to_string())?;
    let source = KafkaSource::new(options).map_err(|e| e.to_string())?;
    let said = |f: SourceFailure| format!("{f:?}");
    let began = Instant::now();
    let metadata = source.read().map_err(said)?;
    println!("read the topic in {:?}: {} partitions", began.elapsed(), metadata.partitions().len());
    let began = Instant::now();
    source.verify().map_err(said)?;
    println!("verified it in {:?}", began.elapsed());

    let mut readers = Vec::new();
    for (&partition, &(earliest, end)) in &metadata.partitions() {
        let start = Position::kafka(earliest, -1);
        readers.push((
            source.open(&SplitName::kafka(partition), start).map_err(said)?,
            OrdinalFilter::new(start),
            end,
        ));
    }
    let began = Instant::now();
    let (mut messages, mut bytes) = (0_u64, 0_u64);
    while !readers.is_empty() {
        let mut failure = None;
        readers.retain_mut(|(reader, filter, end)| {
            let polled = reader.poll(8192, Duration::from_millis(1), &mut |batch| {
                for m in
                    batch.messages().expect("raw messages").iter().filter(|m| filter.admit(m.ordinal, m.mark))
                {
                    messages += 1;
                    bytes += m.value.map_or(0, <[u8]>::len) as u64;
                }
            });
            match polled {
                Ok(polled) => filter.advance_to(polled.next_ordinal.unwrap_or(0)),
                Err(f) => failure = Some(f),
            }
            filter.position().ordinal() < *end
        });
        if let Some(failure) = failure {
            return Err(said(failure));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{messages} messages, {:.1} MB in {seconds:.3} s: {:.2} M messages/s, {:.0} MB/s",
        bytes as f64 / 1e6,
        messages as f64 / seconds / 1e6,
        bytes as f64 / seconds / 1e6,
    );
    let began = Instant::now();
    drop(source);
    println!("closed in {:?}", began.elapsed());
    Ok(())
}
