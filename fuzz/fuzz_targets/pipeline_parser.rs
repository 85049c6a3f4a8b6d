//! Any text as SQL: the parser fails with an SQLSTATE and never panics or overflows its stack; the stored text of an
//! accepted pipeline has the same meaning, and the shown text parses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_pipeline_sql::{CreatePipeline, Statement, parse, parse_expression, parse_pipeline};

fuzz_target!(|sql: &str| {
    let _ = parse_expression(sql);
    let statements = match parse(sql) {
        Ok(statements) => statements,
        Err(error) => {
            assert!(["0A", "22", "3F", "42", "54"].contains(&error.sqlstate.class()), "{error:?}");
            return;
        }
    };
    for statement in statements {
        let Statement::CreatePipeline(pipeline) = statement else { continue };
        let kept = pipeline.to_sql();
        let read = parse_pipeline(&kept).expect("what is kept parses");
        assert_eq!(read, CreatePipeline { or_replace: false, if_not_exists: false, ..*pipeline.clone() });
        assert_eq!(read.to_sql(), kept);
        let shown = pipeline.to_string();
        assert_eq!(parse(&shown).expect("what is shown parses").len(), 1);
    }
});
