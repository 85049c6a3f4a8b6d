//! A fixed budget of statements on a real PostgreSQL 15 and the real server binary. A longer run is `cargo run --release -p sqldiff`.

use sqldiff::known;
use tests::postgres::Postgres;

#[test]
fn random_statements_differ_in_known_ways_only() {
    known::random(&Postgres::start()).check();
}

#[test]
fn everyday_statements_miss_in_known_ways_only() {
    known::everyday(&Postgres::start()).check();
}
