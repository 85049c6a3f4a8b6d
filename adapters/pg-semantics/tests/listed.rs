//! The allow-list: a session has exactly these functions, and the documentation lists them.

use std::collections::BTreeSet;

use datafusion::execution::SessionStateBuilder;
use pg_semantics::functions::{AGGREGATES, REFUSED, SCALARS, TABLES, WINDOWS, allowed, our_names, table};

#[test]
fn a_session_knows_the_list_and_nothing_else() {
    let mut state = allowed(SessionStateBuilder::new()).build();
    pg_semantics::functions::close(&mut state).expect("names are removed");
    let listed: BTreeSet<&str> =
        SCALARS.iter().copied().chain(our_names()).chain(REFUSED.iter().map(|(name, _)| *name)).collect();
    // The functions behind operators and casts, under names that PostgreSQL's documentation does not have.
    let inner = ["textcat", "byteacat", "plain_text", "varchar", "json of a row", "jsonb of a row"];
    for name in state.scalar_functions().keys() {
        assert!(
            listed.contains(name.as_str()) || inner.contains(&name.as_str()),
            "{name} is not in the list"
        );
    }
    for name in listed {
        assert!(state.scalar_functions().contains_key(name), "{name} is in the list but not in the session");
    }
    fn names<'a>(known: impl Iterator<Item = &'a String>) -> BTreeSet<&'a str> {
        known.map(String::as_str).collect()
    }
    assert_eq!(names(state.aggregate_functions().keys()), AGGREGATES.iter().copied().collect());
    assert_eq!(names(state.window_functions().keys()), WINDOWS.iter().copied().collect());
    assert_eq!(names(state.table_functions().keys()), TABLES.iter().copied().collect());
}

#[test]
fn the_documentation_has_the_list() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/functions.md");
    let text = std::fs::read_to_string(path).expect("docs/functions.md");
    let (_, kept) = text.split_once("<!-- the list -->\n").expect("where the list begins");
    assert!(kept == table(), "docs/functions.md is not what the list says; it should be:\n{}", table());
}
