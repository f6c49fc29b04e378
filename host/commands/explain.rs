//! `ebb explain CODE`: cause and remedy of an error or a warning.
//!
//! Owns: the form on a terminal. Does not own: the texts (`docs/errors.md`).

use crate::code;
use crate::error::{Error, Result, listed};

/// The section of a code, or of every code of an area: `EBB-T014`, `t014`, `T`.
pub fn explain(asked: &str) -> Result<String> {
    if let Some(section) = code::explanation(asked) {
        return Ok(plain(section));
    }
    let area = asked.to_uppercase();
    let of_area: Vec<&str> = code::sections()
        .filter(|section| !area.is_empty() && section.strip_prefix("EBB-").is_some_and(|rest| rest.starts_with(&area)))
        .collect();
    if of_area.is_empty() {
        let areas = code::sections().filter_map(|section| section.get(..5)).collect::<std::collections::BTreeSet<_>>();
        return Err(Error::new(code::settings::UNKNOWN_CODE, format!("no error has the code {asked}")).hint(format!(
            "give a code as it stands in the log, EBB-T014, or the beginning of some: {}",
            listed(areas)
        )));
    }
    Ok(of_area.into_iter().map(|section| format!("{}\n", section.lines().next().unwrap_or_default())).collect())
}

/// Without the marks of code and links, which a terminal does not show.
fn plain(section: &str) -> String {
    let lines = section.lines().filter(|line| !line.starts_with("<!--"));
    lines.map(|line| format!("{}\n", line.replace('`', ""))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page and the program say the same of each other.
    #[test]
    fn every_code_has_its_section_and_every_section_its_code() {
        let codes: Vec<&str> = code::all().map(code::Code::text).collect();
        let sections: Vec<&str> = code::sections().filter_map(|section| section.split(':').next()).collect();
        let without: Vec<_> = codes.iter().filter(|code| !sections.contains(code)).collect();
        assert!(without.is_empty(), "docs/errors.md has no section for {without:?}");
        let unknown: Vec<_> = sections.iter().filter(|section| !codes.contains(section)).collect();
        assert!(unknown.is_empty(), "docs/errors.md explains codes that no error has: {unknown:?}");
        for list in [codes, sections] {
            let mut once = list.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), list.len(), "a code stands twice");
        }
    }

    #[test]
    fn a_code_is_found_in_any_spelling() {
        let first = code::all().next().expect("a code").text();
        let text = explain(&first.to_lowercase()).unwrap();
        assert!(text.starts_with(first), "{text}");
        assert_eq!(explain(first.trim_start_matches("EBB-")).unwrap(), text);
        assert!(explain("K").unwrap().lines().count() > 10);
        assert!(explain("nonsense").unwrap_err().hint.is_some() && explain("").is_err());
    }
}
