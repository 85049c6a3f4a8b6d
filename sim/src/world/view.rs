//! The state of the world for a page (`explain`); collected only if a page is made. Each part is a short text under a
//! name, which the page interprets.

use std::fmt::Write;

use kernel::Sequence;
use kernel::schema::PipelineState;

use super::World;
use crate::explain::film::Film;

impl World<'_> {
    /// Takes a frame, if the run is filmed.
    pub(super) fn take_frame(&mut self) {
        let Some(mut film) = self.film.take() else { return };
        if !film.is_full() {
            self.show_process(&mut film);
            self.show_topics(&mut film);
            self.show_pipelines(&mut film);
            self.show_readers(&mut film);
            self.show_disk(&mut film);
            self.show_clients(&mut film);
            film.end_frame(self.now_us, self.trace.kept());
        }
        self.film = Some(film);
    }

    /// Up or down; appended, staged, durable and published sequence; and each shard: rows live, commands and replies in
    /// flight.
    fn show_process(&self, film: &mut Film) {
        let Some(process) = &self.process else {
            film.show("log", String::new());
            return film.keep_only("shard:", &[]);
        };
        let published = process.coordinator().published();
        let (staged, _) = process.coordinator().staged_and_durable();
        let appended: Sequence = process.log.appended();
        film.show("log", format!("{staged},{appended},{},{}", process.log.durable, published.sequence));
        for shard in 0..process.shards.len() {
            let view = &published.shards[shard];
            let rows: u64 = view.tables.values().map(|table| table.live_rows).sum();
            let (commands, replies) =
                (process.shard_commands[shard].len(), process.shard_replies[shard].len());
            film.show(&format!("shard:{shard}"), format!("{rows},{commands},{replies}"));
        }
    }

    /// Start, end of what may be read, and end of each partition.
    fn show_topics(&self, film: &mut Film) {
        let mut shown = Vec::new();
        for (number, broker) in self.brokers.iter().enumerate() {
            for partition in 0..broker.partition_count() {
                let (start, stable, end) = broker.bounds(partition as i32);
                let name = format!("topic:{number}:{partition}");
                film.show(&name, format!("{start},{stable},{end}"));
                shown.push(name);
            }
        }
        film.keep_only("topic:", &shown);
    }

    /// State and topic of each pipeline, and its cursors: published, and in the tip.
    fn show_pipelines(&self, film: &mut Film) {
        let mut shown = Vec::new();
        if let Some(process) = &self.process {
            let (published, tip) = (process.coordinator().published(), process.coordinator().tip());
            for (number, rule) in self.p.pipelines.iter().enumerate() {
                let Some(pipeline) = published.catalog.pipeline_named(&rule.name) else { continue };
                let state = match &pipeline.state {
                    PipelineState::Running => "runs",
                    PipelineState::Stopped => "stands",
                    PipelineState::Failed(_) => "failed",
                };
                let name = format!("pipeline:{number}");
                let (topic, table) = (rule.topic, &rule.table);
                film.show(
                    &name,
                    format!("{topic},{state},{},{},{table}", pipeline.epoch, pipeline.generation),
                );
                shown.push(name);
                let ahead = tip.cursors.get(&pipeline.id);
                for (split, cursor) in published.catalog.cursors[&pipeline.id].positions() {
                    let tip = ahead.and_then(|cursors| cursors.get(split)?.position).unwrap_or(cursor);
                    let name = format!("cursor:{number}:{split}");
                    film.show(&name, format!("{},{}", cursor.ordinal(), tip.ordinal()));
                    shown.push(name);
                }
            }
        }
        film.keep_only("pipeline:", &shown);
        film.keep_only("cursor:", &shown);
    }

    /// Extracts in flight to the coordinator; those of an ended epoch are marked.
    fn show_readers(&self, film: &mut Film) {
        let mut shown = Vec::new();
        for source in self.process.iter().flat_map(|process| process.sources.values()) {
            for (partition, ranges, is_over) in source.in_flight() {
                let name = format!("flight:{}:{partition}:{}", source.number(), u8::from(is_over));
                let words: Vec<String> =
                    ranges.iter().map(|(first, next)| format!("{first}-{next}")).collect();
                film.show(&name, words.join(" "));
                shown.push(name);
            }
        }
        film.keep_only("flight:", &shown);
    }

    /// Each log file: a letter a page, then its records.
    fn show_disk(&self, film: &mut Film) {
        let syncing = self.process.as_ref().and_then(|process| process.log.syncing());
        let now = self.disk.moment(syncing);
        if now == film.disk_seen {
            return;
        }
        film.disk_seen = now;
        let mut shown = Vec::new();
        for log_file in self.disk.picture(syncing) {
            let mut text = log_file.pages;
            for (offset, sequence) in log_file.records {
                let _ = write!(text, " {offset}:{sequence}");
            }
            let name = format!("log_file:{}", log_file.number);
            film.show(&name, text);
            shown.push(name);
        }
        film.keep_only("log file:", &shown);
    }

    /// Requests that wait for their answer, table locks and snapshots that are held.
    fn show_clients(&self, film: &mut Film) {
        let asked: Vec<String> = self.clients.asked.keys().map(|id| id.to_string()).collect();
        let (table_locks, readings) = (self.clients.held.len(), self.clients.readings.len());
        film.show("clients", format!("{table_locks},{readings},{}", asked.join(" ")));
    }
}
