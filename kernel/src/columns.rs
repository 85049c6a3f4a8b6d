//! How a shard's outcome lies in a log record: pieces of tables, each the row ids that go and the rows that come, column by
//! column.
