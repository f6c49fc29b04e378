//! What a changefeed was created with, and making it what the settings say now: a secret or certificate that was replaced
//! must reach the changefeed that is there.
//!
//! Owns: the memory of it, which is a salted digest: no secret is on the disk. Does not own: the statements (`spec`).

use std::collections::BTreeSet;

use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::jobs::{Job, JobState};
use super::spec::ChangefeedSpec;
use crate::code;
use crate::error::{Error, Result};
use crate::source::Source;
use crate::stage::{MetadataFile, RunState};

/// One changefeed's settings.
#[derive(Debug, Deserialize, Serialize)]
struct Memory {
    job: i64,
    salt: String,
    digest: String,
    options: BTreeSet<String>,
}

impl Memory {
    fn of(job: i64, spec: &ChangefeedSpec<'_>, salt: String) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(salt.as_bytes());
        // Whatever stands in it, a change of it is a change of the text.
        context.update(spec.alteration(job, &[]).reveal().as_bytes());
        let digest = hex(context.finish().as_ref());
        Self { job, salt, digest, options: spec.options().collect() }
    }
}

/// Which one this folder has created or used last.
pub(super) fn job(run_state: &RunState) -> Result<Option<i64>> {
    Ok(run_state.load::<Memory>(MetadataFile::Changefeed)?.map(|known| known.job))
}

/// To be called when it was created or altered.
pub(super) fn remember(run_state: &RunState, job: i64, spec: &ChangefeedSpec<'_>) -> Result<()> {
    let mut salt = [0_u8; 16];
    SystemRandom::new()
        .fill(&mut salt)
        .map_err(|_| Error::new(code::defect::SYSTEM, "the system gives no random numbers"))?;
    run_state.save(MetadataFile::Changefeed, &Memory::of(job, spec, hex(&salt)))
}

/// Alters a changefeed that was created with other settings; it is paused then. One of which nothing is known is taken to
/// have these.
pub(super) async fn renew(source: &Source, run_state: &RunState, job: &Job, spec: &ChangefeedSpec<'_>) -> Result<bool> {
    let Some(known) = run_state.load::<Memory>(MetadataFile::Changefeed)?.filter(|known| known.job == job.id) else {
        return remember(run_state, job.id, spec).map(|()| false);
    };
    let now = Memory::of(job.id, spec, known.salt.clone());
    if known.digest == now.digest {
        return Ok(false);
    }
    let dropped: Vec<&str> = known.options.difference(&now.options).map(String::as_str).collect();
    if job.state != JobState::Paused {
        source.pause(job.id).await?;
    }
    source.alter_changefeed(job.id, spec, &dropped).await?;
    tracing::info!(job = job.id, "the changefeed had other settings, and was altered");
    remember(run_state, job.id, spec)?;
    Ok(true)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
