//! Scenarios of the coordinator alone, with shards and log played by the test.
