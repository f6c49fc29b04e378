//! How many files may be open: every connection is one.
//!
//! Owns: the process's limit of them. Does not own: the limits of connections (`admission`).

use crate::code;
use crate::config::ReceiverLimits;

/// Files that are open beside connections: staging, logs, libraries, databases, and readers of the pages (256).
const OTHER_FILES: u64 = 704;

/// Raises the process's own limit of open files to what the limits of connections need; staging must never lack one.
pub fn raise_open_files(limits: &ReceiverLimits) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let connections = limits.connections_max.saturating_add(limits.untrusted_connections_max);
    let needed = OTHER_FILES.saturating_add(connections as u64);
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= needed) {
        return;
    }
    let wanted = now.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum });
    if raised.is_err() || wanted < needed {
        tracing::warn!(
            error_code = code::receiver::OPEN_FILES.text(),
            hint = format!(
                "raise the limit to {needed} (ulimit -n; LimitNOFILE in a systemd unit), or lower --connections-max \
                 ({}) and --untrusted-connections-max ({})",
                limits.connections_max, limits.untrusted_connections_max
            ),
            "ebb may need {needed} open files, and the system allows it {}",
            now.maximum.unwrap_or(wanted)
        );
    }
}
