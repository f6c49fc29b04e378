//! `ebb plugins`: every plugin that is found, and why one cannot be loaded.
//!
//! Owns: the list. Does not own: finding and loading (`plugin`).

use std::fmt::Write;
use std::path::PathBuf;

use crate::error::visible;
use crate::plugin;

/// Name, version, URL schemes and file of each, separated by tabs.
pub fn list(dirs: &[PathBuf]) -> String {
    let mut text = String::new();
    for (path, loaded) in plugin::list(dirs) {
        let line = match loaded {
            Ok(plugin) => {
                let (info, schemes) = (&plugin.info, plugin.info.url_schemes.join(", "));
                format!("{}\t{}\t{schemes}\t{}", info.name, info.version, path.display())
            }
            Err(error) => format!("-\t-\t-\t{}\t{error}", path.display()),
        };
        let line = visible(&line, "\t");
        // Writing to a String does not fail.
        let _ = writeln!(text, "{line}");
    }
    text
}
