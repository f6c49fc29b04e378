//! `ebb explain CODE`: cause and remedy of an error or a warning.
//!
//! Owns: the form on a terminal. Does not own: the texts (`docs/errors.md`).

use crate::code;
use crate::error::{Error, Result};

/// The section of a code, or the codes of an area, or the areas: `EBB-T014`, `[t014]:`, `T`, nothing.
pub fn explain(asked: Option<&str>) -> Result<String> {
    let Some(asked) = asked else { return Ok(areas()) };
    let asked = asked.trim_matches(|letter: char| letter.is_whitespace() || "[]:".contains(letter));
    if let Some(section) = code::explanation(asked) {
        return Ok(plain(section));
    }
    let area = asked.to_uppercase();
    let area = area.strip_prefix("EBB-").unwrap_or(&area);
    let of_area: Vec<&str> = code::sections()
        .filter(|section| !area.is_empty() && section.strip_prefix("EBB-").is_some_and(|rest| rest.starts_with(area)))
        .collect();
    if of_area.is_empty() {
        return Err(Error::new(code::settings::UNKNOWN_CODE, format!("no error has the code {asked}"))
            .hint("give a code as it stands in the log, EBB-T014, or a letter; ebb explain alone lists the letters"));
    }
    Ok(of_area.into_iter().map(|section| format!("{}\n", section.lines().next().unwrap_or_default())).collect())
}

/// The table at the head of the page.
fn areas() -> String {
    let rows =
        code::preface().lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let list: String = rows.skip(1).map(|(letter, about)| format!("{letter}  {about}\n")).collect();
    format!(
        "{list}\nebb explain T lists the codes that begin with T, ebb explain EBB-T014 tells cause and remedy of one\n"
    )
}

/// Without the marks of code and links, which a terminal does not show.
fn plain(section: &str) -> String {
    let lines = section.lines().filter(|line| !line.starts_with("<!--"));
    lines.map(|line| format!("{}\n", line.replace('`', ""))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
        let explain = |asked: &str| explain(Some(asked));
        let text = explain(&first.to_lowercase()).unwrap();
        assert!(text.starts_with(first), "{text}");
        for spelling in [first.trim_start_matches("EBB-"), &format!("[{first}]"), &format!(" {first}: ")] {
            assert_eq!(explain(spelling).unwrap(), text);
        }
        assert!(explain("K").unwrap().lines().count() > 10);
        assert_eq!(explain("EBB-K").unwrap(), explain("k").unwrap());
        assert!(explain("nonsense").unwrap_err().hint.is_some() && explain("").is_err() && explain("EBB-").is_err());
    }

    #[test]
    fn every_area_is_listed() {
        let listed = areas();
        let letters: BTreeSet<&str> =
            listed.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.get(..1)).collect();
        let used: BTreeSet<&str> = code::all().filter_map(|code| code.text().get(4..5)).collect();
        assert_eq!(letters, used, "{listed}");
    }
}
