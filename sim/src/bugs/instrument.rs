//! Several variants of a file in one: every function whose body some variants change gets a body that chooses between
//! them at run time. Any number of variants may change one function. The text of bodies is taken over as it is.

use std::collections::BTreeMap;
use std::ops::Range;

use syn::visit::Visit;

/// The body of a function.
struct Body {
    function: String,
    range: Range<usize>,
    /// The reason why it cannot become a choice.
    refusal: Option<&'static str>,
}

/// A file and the bodies of its functions that variants change.
pub struct Choices<'s> {
    source: &'s str,
    bodies: Vec<Body>,
    /// By body: the name of each variant, and its text.
    variants: BTreeMap<usize, Vec<(usize, String)>>,
}

impl<'s> Choices<'s> {
    /// No variants yet.
    pub fn new(source: &'s str) -> Result<Choices<'s>, String> {
        Ok(Choices { source, bodies: bodies(source)?, variants: BTreeMap::new() })
    }

    /// Adds the variant of this number. An error if it changes nothing, something outside of the bodies of functions, or
    /// a function that cannot choose at run time.
    pub fn add(&mut self, number: usize, text: &str) -> Result<(), String> {
        let theirs = bodies(text)?;
        if outside(self.source, &self.bodies) != outside(text, &theirs) {
            return Err("it changes something outside of the bodies of functions".into());
        }
        let mut changes = false;
        for (index, (body, their)) in self.bodies.iter().zip(&theirs).enumerate() {
            let their = &text[their.range.clone()];
            if self.source[body.range.clone()] == *their {
                continue;
            }
            if let Some(refusal) = body.refusal {
                return Err(format!("it changes {}, {refusal}", body.function));
            }
            changes = true;
            self.variants.entry(index).or_default().push((number, their.into()));
        }
        if changes { Ok(()) } else { Err("it changes no function".into()) }
    }

    /// The file with all variants. `active` is the expression for the number of the active one.
    pub fn write(&self, active: &str, names: &[&str]) -> String {
        let (mut out, mut at) = (String::new(), 0);
        for (index, variants) in &self.variants {
            let range = &self.bodies[*index].range;
            out.push_str(&self.source[at..range.start]);
            out.push_str(&format!("{{ match {active} {{"));
            for (number, text) in variants {
                let name = names[*number];
                out.push_str(&format!("\n{BEGIN}{name}\n{number} => {text}\n{END}"));
            }
            out.push_str(&format!("\n_ => {} }} }}", &self.source[range.clone()]));
            at = range.end;
        }
        out.push_str(&self.source[at..]);
        out
    }
}

const BEGIN: &str = "// With the defect ";
const END: &str = "// So much for the defect.";

/// The variant that this line of a written file belongs to.
pub fn variant_at(text: &str, line: usize) -> Option<&str> {
    let before = text.lines().take(line);
    before.fold(None, |open, line| match line.strip_prefix(BEGIN) {
        Some(name) => Some(name),
        None if line == END => None,
        None => open,
    })
}

/// The pieces of a file around the bodies of its functions.
fn outside<'t>(text: &'t str, bodies: &[Body]) -> Vec<&'t str> {
    let ends = std::iter::once(0).chain(bodies.iter().map(|body| body.range.end));
    let starts = bodies.iter().map(|body| body.range.start).chain([text.len()]);
    ends.zip(starts).map(|(from, to)| &text[from..to]).collect()
}

/// The bodies of functions, in order; not of those within others.
fn bodies(text: &str) -> Result<Vec<Body>, String> {
    let file = syn::parse_file(text).map_err(|error| {
        let at = error.span().start();
        format!("line {} cannot be parsed: {error}", at.line)
    })?;
    let mut finder = Finder::default();
    finder.visit_file(&file);
    Ok(finder.bodies)
}

#[derive(Default)]
struct Finder {
    bodies: Vec<Body>,
}

impl Finder {
    fn found(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let range =
            block.brace_token.span.open().byte_range().start..block.brace_token.span.close().byte_range().end;
        let refusal = if signature.constness.is_some() {
            Some(
                "which is const and so cannot choose at run time; write the patch so that it changes another function",
            )
        } else if is_opaque(&signature.output) {
            Some(
                "whose type is `impl …`, so all its bodies would need one type; write the patch so that it changes another function",
            )
        } else {
            None
        };
        self.bodies.push(Body { function: signature.ident.to_string(), range, refusal });
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.found(&node.sig, &node.block);
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.found(&node.sig, &node.block);
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        if let Some(block) = &node.default {
            self.found(&node.sig, block);
        }
    }
}

fn is_opaque(output: &syn::ReturnType) -> bool {
    #[derive(Default)]
    struct Opaque(bool);
    impl<'ast> Visit<'ast> for Opaque {
        fn visit_type_impl_trait(&mut self, _: &'ast syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut opaque = Opaque::default();
    opaque.visit_return_type(output);
    opaque.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "struct S;\nimpl S {\n    fn f(&self) -> u32 { 1 }\n}\nmod m {\n    fn g() { a(); }\n    const fn k() -> u32 { 1 }\n    fn o() -> Vec<impl Sized> { vec![1] }\n}\n";

    fn with(from: &str, to: &str) -> String {
        assert!(SOURCE.contains(from));
        SOURCE.replace(from, to)
    }

    #[test]
    fn variants_of_one_function_stand_side_by_side() {
        let mut choices = Choices::new(SOURCE).unwrap();
        choices.add(0, &with("{ 1 }\n}\nmod", "{ 2 }\n}\nmod")).unwrap();
        choices.add(1, &with("a();", "b();\n").replacen("{ 1 }", "{ 3 }", 1)).unwrap();
        let text = choices.write("active()", &["two", "three"]);
        let expected = "{ match active() {\n// With the defect two\n0 => { 2 }\n// So much for the defect.\n\
                        // With the defect three\n1 => { 3 }\n// So much for the defect.\n_ => { 1 } } }\n}\nmod m {\n    fn g() { match";
        assert!(text.contains(expected), "{text}");
        syn::parse_file(&text).unwrap();
        let line = |wanted: &str| text.lines().position(|line| line.contains(wanted)).unwrap() + 1;
        assert_eq!(variant_at(&text, line("{ 2 }")), Some("two"));
        assert_eq!(variant_at(&text, line("b();")), Some("three"));
        assert_eq!(variant_at(&text, line("_ => { 1 }")), None);
    }

    #[test]
    fn what_cannot_be_chosen_at_run_time_is_refused() {
        let refusal = |text: &str| Choices::new(SOURCE).unwrap().add(0, text).unwrap_err();
        assert!(refusal(SOURCE).contains("changes no function"));
        assert!(refusal(&with("struct S;", "struct S(u32);")).contains("outside"));
        assert!(refusal(&with("fn g()", "fn g(x: u32)")).contains("outside"));
        assert!(refusal(&with("{ a(); }", "{ a(); }\n    fn h() {}")).contains("outside"));
        assert!(
            refusal(&with("const fn k() -> u32 { 1 }", "const fn k() -> u32 { 2 }"))
                .contains("k, which is const")
        );
        assert!(refusal(&with("vec![1]", "vec![2]")).contains("o, whose type"));
        assert!(refusal(&with("a();", "a(;")).contains("line 6 cannot be parsed"));
    }
}
