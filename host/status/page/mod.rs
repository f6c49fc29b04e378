//! The page for a browser: one file each of HTML, CSS and JavaScript, which are a part of the program.
//!
//! Owns: what stands on it, in words (`facts`), and that in HTML (`html`), for browsers without JavaScript as well. Does not
//! own: serving it (`pages`), and the judgement that it shows (`verdict`). It shows no values of rows.

mod facts;
mod html;
mod rates;

pub(super) use facts::Facts;
pub(super) use html::html;
pub(super) use rates::TableRates;

pub(super) const CSS: &str = include_str!("page.css");
pub(super) const JS: &str = include_str!("page.js");
pub(super) const ICON: &str = include_str!("page.svg");
