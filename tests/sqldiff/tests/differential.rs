//! A fixed budget of statements and messages on a real PostgreSQL 15, a real broker and the real server binary. A longer run is `cargo run --release -p sqldiff`.

use sqldiff::known;
use tests::kafka::Broker;
use tests::postgres::Postgres;

#[test]
fn random_statements_differ_in_known_ways_only() {
    known::random(&Postgres::start()).check();
}

#[test]
fn everyday_statements_miss_in_known_ways_only() {
    known::everyday(&Postgres::start()).check();
}

#[test]
fn pipelines_store_other_values_in_known_ways_only() {
    known::pipelines(&Postgres::start(), Broker::shared()).check();
}

#[test]
fn decoders_store_other_values_in_known_ways_only() {
    known::decoders(&Postgres::start(), Broker::shared()).check();
}
