//! The text form of arrays as PostgreSQL 15 has it.

use pg_values::array::{ArrayFault, items, push_item};

fn again(text: &str) -> Result<String, ArrayFault> {
    let mut out = vec![b'{'];
    for (at, item) in items(text)?.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match item {
            None => out.extend_from_slice(b"NULL"),
            Some(item) => push_item(item, &mut out),
        }
    }
    out.push(b'}');
    Ok(String::from_utf8(out).expect("UTF-8"))
}

#[test]
fn texts_are_read_and_written() {
    for (written, kept) in [
        ("{}", "{}"),
        (" { } ", "{}"),
        ("{a,b}", "{a,b}"),
        ("{ a , b c }", "{a,\"b c\"}"),
        (r#"{a,"b c",NULL,null,"NULL"}"#, r#"{a,"b c",NULL,NULL,"NULL"}"#),
        (r#"{"a\"b",c\\d,""}"#, r#"{"a\"b","c\\d",""}"#),
        (r"{a\ ,\b}", r#"{"a ",b}"#),
        (r#"{"{",",","é"}"#, r#"{"{",",",é}"#),
    ] {
        assert_eq!(again(written).as_deref(), Ok(kept), "{written}");
    }
}

#[test]
fn what_is_no_array_is_refused() {
    for text in
        ["", "a", "{a", "{a,}", "{,a}", "{a,,b}", "{a}b", "{a\"b\"}", "{\"a\"b}", "{\"a}", "{a\\", "{}}"]
    {
        assert_eq!(again(text), Err(ArrayFault::Malformed), "{text}");
    }
    for text in ["{{1},{2}}", "[0:1]={1,2}"] {
        assert_eq!(again(text), Err(ArrayFault::Dimensions), "{text}");
    }
}
