//! The serialized form of an expression: its nodes in postfix order. A tree would be decoded recursively, and deeply
//! nested bytes would overflow the stack. The postfix form is decoded by a loop and rejected beyond [`DEPTH_MAX`], the
//! limit of definitions (see `check`).

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use super::{Arithmetic, Comparison, Expr, Literal, Quotient};
use crate::ids::ColumnId;
use crate::schema::ColumnType;

/// Deepest nesting of an expression. Lowered statements stay far below it.
pub const DEPTH_MAX: usize = 400;

/// Nodes, operands before operators.
#[derive(Clone, Encode, Decode)]
#[cbor(transparent)]
struct Flat(#[n(0)] Vec<Node>);

/// An [`Expr`] without its operands, which precede it.
#[derive(Clone, Encode, Decode)]
#[cbor(map)]
enum Node {
    #[n(0)]
    Stored(#[n(0)] ColumnId),
    #[n(1)]
    Incoming(#[n(0)] ColumnId),
    #[n(2)]
    Literal(#[n(0)] Literal, #[n(1)] ColumnType),
    #[n(3)]
    Arithmetic(#[n(0)] Arithmetic),
    #[n(4)]
    Negate,
    #[n(5)]
    Compare(#[n(0)] Comparison),
    #[n(6)]
    And,
    #[n(7)]
    Or,
    #[n(8)]
    Not,
    #[n(9)]
    IsNull,
    #[n(10)]
    Coalesce(#[n(0)] u32),
    #[n(11)]
    Greatest(#[n(0)] u32),
    #[n(12)]
    Least(#[n(0)] u32),
    /// Conditions and values alternately, then the last value.
    #[n(13)]
    Case {
        #[n(0)]
        branches: u32,
    },
    #[n(14)]
    Concat,
    #[n(15)]
    Cast(#[n(0)] ColumnType),
    #[n(16)]
    Quotient(#[n(0)] Quotient),
}

impl From<Expr> for Flat {
    /// Built backwards, each operator before its operands and the last operand first, and then reversed.
    fn from(expr: Expr) -> Flat {
        let mut nodes = Vec::new();
        let mut waiting = vec![expr];
        while let Some(expr) = waiting.pop() {
            let (node, operands) = split(expr);
            nodes.push(node);
            waiting.extend(operands);
        }
        nodes.reverse();
        Flat(nodes)
    }
}

/// A node and its operands.
fn split(expr: Expr) -> (Node, Vec<Expr>) {
    let count = |all: &[Expr]| u32::try_from(all.len()).expect("a statement has far fewer operands");
    match expr {
        Expr::Stored(column) => (Node::Stored(column), vec![]),
        Expr::Incoming(column) => (Node::Incoming(column), vec![]),
        Expr::Literal(literal, column_type) => (Node::Literal(literal, column_type), vec![]),
        Expr::Arithmetic(operator, a, b) => (Node::Arithmetic(operator), vec![*a, *b]),
        Expr::Quotient(how, a, b) => (Node::Quotient(how), vec![*a, *b]),
        Expr::Negate(a) => (Node::Negate, vec![*a]),
        Expr::Compare(operator, a, b) => (Node::Compare(operator), vec![*a, *b]),
        Expr::And(a, b) => (Node::And, vec![*a, *b]),
        Expr::Or(a, b) => (Node::Or, vec![*a, *b]),
        Expr::Not(a) => (Node::Not, vec![*a]),
        Expr::IsNull(a) => (Node::IsNull, vec![*a]),
        Expr::Coalesce(all) => (Node::Coalesce(count(&all)), all),
        Expr::Greatest(all) => (Node::Greatest(count(&all)), all),
        Expr::Least(all) => (Node::Least(count(&all)), all),
        Expr::Case(branches, last) => {
            let pairs = branches.into_iter().flat_map(|(condition, value)| [condition, value]);
            let operands: Vec<Expr> = pairs.chain([*last]).collect();
            (Node::Case { branches: count(&operands) / 2 }, operands)
        }
        Expr::Concat(a, b) => (Node::Concat, vec![*a, *b]),
        Expr::Cast(a, column_type) => (Node::Cast(column_type), vec![*a]),
    }
}

impl<C> Encode<C> for Expr {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        Flat::from(self.clone()).encode(encoder, context)
    }
}

impl<'b, C> Decode<'b, C> for Expr {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Expr, decode::Error> {
        Expr::try_from(decoder.decode_with::<C, Flat>(context)?).map_err(decode::Error::message)
    }
}

impl TryFrom<Flat> for Expr {
    type Error = &'static str;

    fn try_from(flat: Flat) -> Result<Expr, &'static str> {
        let mut stack = Stack::default();
        for node in flat.0 {
            stack.take(node)?;
        }
        match (stack.entries.pop(), stack.entries.pop()) {
            (Some((expr, _)), None) => Ok(expr),
            _ => Err("an expression is not one value"),
        }
    }
}

/// Expressions without their operator so far, each with its depth.
#[derive(Default)]
struct Stack {
    entries: Vec<(Expr, usize)>,
}

impl Stack {
    fn take(&mut self, node: Node) -> Result<(), &'static str> {
        let (expr, below) = match node {
            Node::Stored(column) => (Expr::Stored(column), 0),
            Node::Incoming(column) => (Expr::Incoming(column), 0),
            Node::Literal(literal, column_type) => (Expr::Literal(literal, column_type), 0),
            Node::Arithmetic(operator) => self.two(|a, b| Expr::Arithmetic(operator, a, b))?,
            Node::Negate => self.one(Expr::Negate)?,
            Node::Compare(operator) => self.two(|a, b| Expr::Compare(operator, a, b))?,
            Node::And => self.two(Expr::And)?,
            Node::Or => self.two(Expr::Or)?,
            Node::Not => self.one(Expr::Not)?,
            Node::IsNull => self.one(Expr::IsNull)?,
            Node::Coalesce(count) => self.many(count as usize, Expr::Coalesce)?,
            Node::Greatest(count) => self.many(count as usize, Expr::Greatest)?,
            Node::Least(count) => self.many(count as usize, Expr::Least)?,
            Node::Case { branches } => self.case(branches as usize)?,
            Node::Concat => self.two(Expr::Concat)?,
            Node::Cast(column_type) => self.one(|a| Expr::Cast(a, column_type))?,
            Node::Quotient(how) => self.two(|a, b| Expr::Quotient(how, a, b))?,
        };
        if below >= DEPTH_MAX {
            return Err("an expression is nested too deeply");
        }
        self.entries.push((expr, below + 1));
        Ok(())
    }

    /// The last `count` expressions in order, and the depth of the deepest.
    fn operands(&mut self, count: usize) -> Result<(Vec<Expr>, usize), &'static str> {
        let first = self.entries.len().checked_sub(count).ok_or("an operator lacks operands")?;
        let depth = self.entries[first..].iter().map(|(_, depth)| *depth).max().unwrap_or(0);
        Ok((self.entries.drain(first..).map(|(expr, _)| expr).collect(), depth))
    }

    fn one(&mut self, build: impl FnOnce(Box<Expr>) -> Expr) -> Result<(Expr, usize), &'static str> {
        let (a, depth) = self.entries.pop().ok_or("an operator lacks operands")?;
        Ok((build(Box::new(a)), depth))
    }

    fn two(
        &mut self,
        build: impl FnOnce(Box<Expr>, Box<Expr>) -> Expr,
    ) -> Result<(Expr, usize), &'static str> {
        let (b, b_depth) = self.entries.pop().ok_or("an operator lacks operands")?;
        let (a, a_depth) = self.entries.pop().ok_or("an operator lacks operands")?;
        Ok((build(Box::new(a), Box::new(b)), a_depth.max(b_depth)))
    }

    fn many(
        &mut self,
        count: usize,
        build: impl FnOnce(Vec<Expr>) -> Expr,
    ) -> Result<(Expr, usize), &'static str> {
        let (all, depth) = self.operands(count)?;
        Ok((build(all), depth))
    }

    fn case(&mut self, branches: usize) -> Result<(Expr, usize), &'static str> {
        let count = branches.checked_mul(2).and_then(|pairs| pairs.checked_add(1));
        let (all, depth) = self.operands(count.ok_or("too many branches")?)?;
        let mut all = all.into_iter();
        let mut pairs = Vec::with_capacity(branches);
        for _ in 0..branches {
            pairs.extend(all.next().zip(all.next()));
        }
        let last = all.next().expect("one more than the pairs");
        Ok((Expr::Case(pairs, Box::new(last)), depth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Expr {
        (1..depth).fold(Expr::Stored(ColumnId(7)), |inner, _| Expr::Not(Box::new(inner)))
    }

    fn bytes(expr: &Expr) -> Vec<u8> {
        crate::cbor::to_vec(expr)
    }

    #[test]
    fn every_form_comes_back() {
        let (a, b) = (Box::new(Expr::Stored(ColumnId(1))), Box::new(Expr::Incoming(ColumnId(2))));
        let one = Expr::Literal(Literal::Int(1), ColumnType::Int64);
        let forms = [
            Expr::Arithmetic(Arithmetic::Subtract, a.clone(), b.clone()),
            Expr::Negate(a.clone()),
            Expr::Compare(Comparison::Less, a.clone(), b.clone()),
            Expr::And(a.clone(), b.clone()),
            Expr::Or(a.clone(), b.clone()),
            Expr::Not(a.clone()),
            Expr::IsNull(a.clone()),
            Expr::Coalesce(vec![*a.clone(), *b.clone(), one.clone()]),
            Expr::Greatest(vec![]),
            Expr::Least(vec![one.clone()]),
            Expr::Case(vec![(*a.clone(), one.clone()), (*b.clone(), *a.clone())], Box::new(one.clone())),
            Expr::Case(vec![], Box::new(one.clone())),
            Expr::Concat(b.clone(), a.clone()),
            Expr::Cast(a.clone(), ColumnType::Float64),
            Expr::Quotient(
                Quotient {
                    to: ColumnType::Decimal { precision: 38, scale: 20 },
                    rounded: true,
                    places_known: false,
                },
                b.clone(),
                a.clone(),
            ),
        ];
        let all = Expr::Coalesce(forms.to_vec());
        for expr in forms.into_iter().chain([all]) {
            assert_eq!(crate::cbor::from_slice::<Expr>(&bytes(&expr)), Ok(expr));
        }
    }

    #[test]
    fn depth_is_bounded_when_read() {
        assert_eq!(crate::cbor::from_slice(&bytes(&nested(DEPTH_MAX))), Ok(nested(DEPTH_MAX)));
        let mut nodes = vec![Node::Stored(ColumnId(7))];
        nodes.resize(100_000, Node::Not);
        let deep = crate::cbor::to_vec(&Flat(nodes));
        assert!(crate::cbor::from_slice::<Expr>(&deep).is_err());
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        for nodes in [
            vec![],
            vec![Node::And],
            vec![Node::Stored(ColumnId(1)), Node::Stored(ColumnId(2))],
            vec![Node::Coalesce(u32::MAX)],
        ] {
            let bytes = crate::cbor::to_vec(&Flat(nodes));
            assert!(crate::cbor::from_slice::<Expr>(&bytes).is_err());
        }
    }
}
