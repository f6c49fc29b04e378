-- History that is protected for a client: jobs of the type HISTORY RETENTION. No history is collected as garbage here, so that
-- only the jobs can be seen.

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

-- The wording of the error is from memory.
CREATE OR REPLACE FUNCTION crdb_internal.check_replication() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF NOT crdb_internal.has_system_privilege('REPLICATION') THEN
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
  UPDATE crdb_internal.retention SET heartbeat = clock_timestamp() WHERE id = job AND status = 'running';
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
      CASE WHEN r.status = 'running' AND r.heartbeat + r.lasts < clock_timestamp() THEN 'succeeded' ELSE r.status END,
      NULL, r.created, NULL, r.heartbeat, NULL, '', NULL FROM crdb_internal.retention AS r;
END
$$;
