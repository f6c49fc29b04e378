-- History that is protected for a client: jobs of the type HISTORY RETENTION. CockroachDB protects the history of every
-- database so, and the stand-in that of the one in which the job was made.

CREATE TABLE IF NOT EXISTS crdb_internal.retention (
  id int8 PRIMARY KEY,
  at numeric NOT NULL,
  lasts interval NOT NULL,
  description text NOT NULL,
  user_name text NOT NULL DEFAULT session_user,
  status text NOT NULL DEFAULT 'running',
  created timestamptz NOT NULL DEFAULT clock_timestamp(),
  heartbeat timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- CockroachDB looks once a minute whether a job is over; here it is so at once.
CREATE OR REPLACE FUNCTION crdb_internal.is_protecting(job crdb_internal.retention) RETURNS bool LANGUAGE sql VOLATILE
AS $$
  SELECT job.status = 'running' AND job.heartbeat + job.lasts >= clock_timestamp()
$$;

-- The wording of the error about the privilege is from memory.
CREATE OR REPLACE FUNCTION crdb_internal.check_replication() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF crdb_internal.guards_internals()
      AND coalesce(current_setting('crdb.allow_unsafe_internals', true), '') <> 'on' THEN
    RAISE EXCEPTION 'Access to crdb_internal and system is restricted.' USING ERRCODE = '42501',
      HINT = 'These interfaces are unsupported in production. To proceed, set the session variable '
        'allow_unsafe_internals = true (not recommended), or contact Cockroach Labs for a supported alternative.';
  ELSIF NOT crdb_internal.has_system_privilege('REPLICATION') THEN
    RAISE EXCEPTION 'user % does not have REPLICATION system privilege', session_user USING ERRCODE = '42501';
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.protect_mvcc_history(at numeric, lasts interval, description text) RETURNS int8
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
  job int8 := crdb_internal.unique_rowid();
BEGIN
  PERFORM crdb_internal.check_replication();
  INSERT INTO crdb_internal.retention (id, at, lasts, description)
    VALUES (job, at, lasts, 'History Retention for ' || description);
  RETURN job;
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.extend_mvcc_history_protection(job int8) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
  PERFORM crdb_internal.check_replication();
  IF EXISTS (SELECT FROM crdb_internal.retention AS r WHERE r.id = job AND NOT crdb_internal.is_protecting(r)) THEN
    RAISE EXCEPTION 'stand-in: not supported: extending a protection of history that has ended' USING ERRCODE = '0A000';
  END IF;
  UPDATE crdb_internal.retention SET heartbeat = clock_timestamp() WHERE id = job;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'job with ID % does not exist', job USING ERRCODE = '22023';
  END IF;
END
$$;

-- The column `statement` and those of runs are left out, as releases from 24.1 on do.
CREATE OR REPLACE FUNCTION crdb_internal.show_jobs() RETURNS TABLE (
  job_id int8, job_type text, description text, user_name text, status text, running_status text, created timestamptz,
  finished timestamptz, modified timestamptz, fraction_completed float8, error text, coordinator_id int8
) LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
  PERFORM crdb_internal.check_throttle();
  RETURN QUERY SELECT j.id, 'CHANGEFEED', left(j.description, 100), j.user_name, j.status, j.running_status, j.created,
      j.finished, j.modified, NULL::float8, j.error, NULL::int8 FROM crdb_internal.job AS j
    UNION ALL SELECT r.id, 'HISTORY RETENTION', left(r.description, 100), r.user_name,
      CASE WHEN r.status = 'running' AND NOT crdb_internal.is_protecting(r) THEN 'succeeded' ELSE r.status END,
      NULL, r.created, NULL, r.heartbeat, NULL, '', NULL FROM crdb_internal.retention AS r;
END
$$;

-- Drops versions that nobody may ask for any more. An unfinished changefeed protects what it has not yet sent, and a job
-- of this file its time and all that came later.
CREATE OR REPLACE FUNCTION crdb_internal.collect_garbage(ttl interval) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
AS $$
DECLARE
  limit_tick int8 := least(crdb_internal.ticks(clock_timestamp() - ttl),
    (SELECT min(coalesce(high_water, start_tick)) - 1 FROM crdb_internal.job
      WHERE status IN ('running', 'pause-requested', 'paused')),
    (SELECT min(crdb_internal.parse_tick(r.at::text)) - 1 FROM crdb_internal.retention AS r
      WHERE crdb_internal.is_protecting(r)));
BEGIN
  UPDATE crdb_internal.garbage SET threshold = greatest(threshold, limit_tick);
  DELETE FROM crdb_internal.history AS h WHERE h.tick <= limit_tick AND (h.after IS NULL OR EXISTS (
    SELECT FROM crdb_internal.history AS newer
      WHERE newer.relation = h.relation AND newer.key = h.key AND newer.tick > h.tick AND newer.tick <= limit_tick));
END
$$;
