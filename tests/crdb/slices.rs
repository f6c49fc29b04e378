//! Parts of arrays (`a[1:2]`), which no release of CockroachDB takes
//! (<https://www.cockroachlabs.com/docs/stable/array>), and PostgreSQL does.
//!
//! Does not own: any other statement that PostgreSQL alone takes.

use crate::failure::Failure;
use crate::lex::Token;

pub(crate) fn refuse(statement: &[Token<'_>]) -> Result<(), Failure> {
    let mut open: u32 = 0;
    for (at, token) in statement.iter().enumerate() {
        let is_cast =
            [at.wrapping_sub(1), at + 1].iter().any(|&near| statement.get(near).is_some_and(|t| t.is_symbol(':')));
        match () {
            () if token.is_symbol('[') => open += 1,
            () if token.is_symbol(']') => open = open.saturating_sub(1),
            () if token.is_symbol(':') && open > 0 && !is_cast => {
                return Err(Failure::new("0A000", "unimplemented: ARRAY slicing"));
            }
            () => {}
        }
    }
    Ok(())
}
