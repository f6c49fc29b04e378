//! The name that somebody meant.
//!
//! Owns: how far a typo may be from a name. Does not own: the names.

/// Beyond this two names are not alike; the same measure as clap's for flags.
const LIKENESS_MIN: f64 = 0.7;

/// `; did you mean NAME?`, or nothing where no name is like it.
pub(super) fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let given = given.to_ascii_lowercase();
    let alike = known.into_iter().map(|name| (strsim::jaro(&given, &name.to_ascii_lowercase()), name));
    let best = alike.filter(|(likeness, _)| *likeness > LIKENESS_MIN).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or_else(String::new, |(_, name)| format!("; did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_named() {
        let known = ["EBB_TABLE_FILTER", "EBB_TARGET", "EBB_SOURCE"];
        assert_eq!(did_you_mean("EBB_TABLE_FILTR", known), "; did you mean EBB_TABLE_FILTER?");
        assert_eq!(did_you_mean("xyzzy", known), "");
    }
}
