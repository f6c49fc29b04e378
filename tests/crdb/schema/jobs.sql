-- Changefeed jobs, their control, and cluster settings. The process behind the proxy polls these tables; what a client asks
-- for is done when its transaction has committed.

CREATE TABLE IF NOT EXISTS crdb_internal.job (
  id int8 PRIMARY KEY,
  description text NOT NULL,
  user_name text NOT NULL DEFAULT session_user,
  status text NOT NULL DEFAULT 'running',
  -- Only what a retry has to say; the usual text is made from the high water.
  running_status text,
  created timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished timestamptz,
  modified timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Everything at or below it has been acknowledged. NULL until the initial scan has been.
  high_water int8,
  error text NOT NULL DEFAULT '',
  sink_uri text NOT NULL,
  spec jsonb NOT NULL,
  relations oid[] NOT NULL,
  full_names text[] NOT NULL,
  -- What stands in a message, by the statement's names.
  topics text[] NOT NULL,
  start_tick int8 NOT NULL,
  scan text NOT NULL
);

-- Injected errors that running jobs end with.
CREATE TABLE IF NOT EXISTS crdb_internal.failure (job int8 PRIMARY KEY, message text NOT NULL);

CREATE TABLE IF NOT EXISTS crdb_internal.privilege (relation oid, role name, PRIMARY KEY (relation, role));

-- The proxy takes a notice with this code for the tag of the statement and does not pass it on.
CREATE OR REPLACE FUNCTION crdb_internal.tag(tag text) RETURNS void LANGUAGE plpgsql SET client_min_messages = notice AS $$
BEGIN
  RAISE NOTICE '%', tag USING ERRCODE = 'ZTAG0';
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.fail(code text, message text, hint text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF hint = '' THEN
    RAISE EXCEPTION '%', message USING ERRCODE = code;
  END IF;
  RAISE EXCEPTION '%', message USING ERRCODE = code, HINT = hint;
END
$$;

-- Settings of the cluster are kept as settings of all roles, the one place that all databases share.
CREATE OR REPLACE FUNCTION crdb_internal.cluster_setting(name text, fallback text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT coalesce((
    SELECT substr(entry, length(name) + 2) FROM pg_catalog.pg_db_role_setting, unnest(setconfig) AS entry
      WHERE setdatabase = 0 AND setrole = 0 AND starts_with(entry, name || '=')), fallback)
$$;

-- Works for superusers only, and so for the functions here that clients call.
CREATE OR REPLACE FUNCTION crdb_internal.keep_setting(name text, value text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF value IS NULL THEN
    EXECUTE format('ALTER ROLE ALL RESET %I', name);
  ELSE
    EXECUTE format('ALTER ROLE ALL SET %I = %L', name, value);
  END IF;
END
$$;

CREATE OR REPLACE PROCEDURE crdb_internal.set_cluster_setting(name text, value text) LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF NOT crdb_internal.has_system_privilege('MODIFYCLUSTERSETTING') THEN
    RAISE EXCEPTION 'only users with the MODIFYCLUSTERSETTING privilege are allowed to set cluster setting ''%''', name
      USING ERRCODE = '42501';
  END IF;
  PERFORM crdb_internal.keep_setting(name, value);
  PERFORM crdb_internal.tag('SET CLUSTER SETTING');
END
$$;

CREATE SEQUENCE IF NOT EXISTS crdb_internal.rowid;
CREATE OR REPLACE FUNCTION crdb_internal.take_rowid() RETURNS int8 LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
  SELECT nextval('crdb_internal.rowid')
$$;

-- As CockroachDB makes them: time in the upper bits, so that they rise and have 18 or 19 digits.
CREATE OR REPLACE FUNCTION crdb_internal.unique_rowid() RETURNS int8 LANGUAGE sql VOLATILE AS $$
  SELECT ((extract(epoch FROM clock_timestamp() - timestamptz '2015-01-01 00:00:00+00') * 100000)::int8 << 15)
    | (crdb_internal.take_rowid() & 32767)
$$;

-- The table that a name of one to three parts means, under the session's own search path.
CREATE OR REPLACE FUNCTION crdb_internal.resolve_target(name text[]) RETURNS oid LANGUAGE plpgsql STABLE AS $$
DECLARE
  parts text[] := name;
  target oid;
BEGIN
  IF cardinality(parts) = 3 AND parts[1] <> current_database() THEN
    RAISE EXCEPTION 'stand-in: not supported: changefeed of a table in another database (%)', array_to_string(name, '.')
      USING ERRCODE = '0A000';
  END IF;
  IF cardinality(parts) = 3 OR cardinality(parts) = 2 AND parts[1] = current_database() AND to_regnamespace(quote_ident(parts[1])) IS NULL THEN
    parts := parts[2:];
  END IF;
  SELECT to_regclass(string_agg(quote_ident(part), '.' ORDER BY ordinal)) INTO target
    FROM unnest(parts) WITH ORDINALITY AS p(part, ordinal);
  IF target IS NULL THEN
    RAISE EXCEPTION 'failed to resolve targets in the CHANGEFEED stmt: table "%" does not exist', array_to_string(name, '.')
      USING ERRCODE = '42P01';
  END IF;
  RETURN target;
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.check_target(target oid) RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE
  relation record;
  column_name text;
BEGIN
  SELECT c.relname, c.relkind, n.nspname INTO relation
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target;
  IF relation.nspname IN ('pg_catalog', 'information_schema', 'crdb_internal') THEN
    RAISE EXCEPTION 'CHANGEFEED cannot target virtual tables: %', relation.relname USING ERRCODE = '42809';
  ELSIF relation.relkind IN ('v', 'm') THEN
    RAISE EXCEPTION 'CHANGEFEED cannot target views: %', relation.relname USING ERRCODE = '42809';
  ELSIF relation.relkind = 'S' THEN
    RAISE EXCEPTION 'CHANGEFEED cannot target sequences: %', relation.relname USING ERRCODE = '42809';
  ELSIF NOT crdb_internal.is_watched(target) THEN
    RAISE EXCEPTION 'stand-in: not supported: changefeed of table "%", which has no primary key or is partitioned', relation.relname
      USING ERRCODE = '0A000';
  END IF;
  SELECT s.names[i] INTO column_name FROM crdb_internal.current_shape(target) AS s, generate_subscripts(s.kinds, 1) AS i
    WHERE s.kinds[i] LIKE 'unsupported%' LIMIT 1;
  IF column_name IS NOT NULL THEN
    RAISE EXCEPTION 'stand-in: not supported: the type of column "%" of table "%" in a changefeed', column_name, relation.relname
      USING ERRCODE = '0A000';
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.check_privilege(targets oid[]) RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
    RETURN;
  END IF;
  IF EXISTS (SELECT FROM unnest(targets) AS target WHERE NOT EXISTS (
      SELECT FROM crdb_internal.privilege AS p WHERE p.relation = target AND p.role = session_user)) THEN
    RAISE EXCEPTION 'user % requires the CHANGEFEED privilege on all target tables to be able to run an enterprise changefeed',
      session_user USING ERRCODE = '42501';
  END IF;
END
$$;

CREATE OR REPLACE PROCEDURE crdb_internal.grant_changefeed(tables text[], roles text[], is_revoke bool) LANGUAGE plpgsql
SECURITY DEFINER AS $$
BEGIN
  IF is_revoke THEN
    DELETE FROM crdb_internal.privilege WHERE relation = ANY(tables::regclass[]) AND role = ANY(roles);
  ELSE
    INSERT INTO crdb_internal.privilege SELECT relation, role FROM unnest(tables::regclass[]) AS relation, unnest(roles) AS role
      ON CONFLICT DO NOTHING;
  END IF;
  PERFORM crdb_internal.tag(CASE WHEN is_revoke THEN 'REVOKE' ELSE 'GRANT' END);
END
$$;

-- The cursor as a tick, checked. CockroachDB's two errors differ from those of a read.
CREATE OR REPLACE FUNCTION crdb_internal.check_cursor(value text) RETURNS int8 LANGUAGE plpgsql STABLE AS $$
DECLARE
  tick int8 := crdb_internal.parse_tick(value);
  threshold int8 := (SELECT garbage.threshold FROM crdb_internal.garbage);
BEGIN
  IF tick >= crdb_internal.ticks(clock_timestamp()) THEN
    RAISE EXCEPTION 'AS OF SYSTEM TIME: cannot specify timestamp in the future' USING ERRCODE = '22023';
  ELSIF tick < threshold THEN
    RAISE EXCEPTION 'could not create changefeed: cursor % is older than the GC threshold %: batch timestamp % must be after replica GC threshold %',
      value, threshold, crdb_internal.brief(tick), crdb_internal.brief(threshold)
      USING ERRCODE = 'XXUUU', HINT = 'use a more recent cursor';
  END IF;
  RETURN tick;
END
$$;

-- `spec` is what the proxy has parsed; `late_error` in it is what CockroachDB would only find after the targets.
CREATE OR REPLACE FUNCTION crdb_internal.create_changefeed(spec jsonb) RETURNS TABLE (job_id int8) LANGUAGE plpgsql
SECURITY DEFINER SET client_min_messages = notice AS $$
DECLARE
  options jsonb := spec -> 'options';
  targets oid[] := '{}';
  full_names text[] := '{}';
  topics text[] := '{}';
  name text[];
  target oid;
  start int8;
  notice text;
BEGIN
  PERFORM crdb_internal.check_throttle();
  PERFORM crdb_internal.check_license();
  IF NOT crdb_internal.cluster_setting('feature.changefeed.enabled', 'true')::bool THEN
    RAISE EXCEPTION 'feature CHANGEFEED was disabled by the database administrator' USING ERRCODE = '0A000';
  ELSIF NOT crdb_internal.cluster_setting('kv.rangefeed.enabled', 'false')::bool AND spec ->> 'scan' <> 'only' THEN
    RAISE EXCEPTION 'rangefeeds require the kv.rangefeed.enabled setting. See https://www.cockroachlabs.com/docs/v%/create-and-configure-changefeeds.html#enable-rangefeeds',
      spec ->> 'series' USING ERRCODE = 'XXUUU';
  END IF;
  start := crdb_internal.transaction_tick();
  IF options ? 'cursor' THEN
    start := crdb_internal.check_cursor(options ->> 'cursor');
  END IF;
  FOR name IN SELECT ARRAY(SELECT jsonb_array_elements_text(t)) FROM jsonb_array_elements(spec -> 'targets') AS t LOOP
    target := crdb_internal.resolve_target(name);
    IF target = ANY(targets) THEN
      RAISE EXCEPTION 'CHANGEFEED targets % and % are duplicates',
        topics[array_position(targets, target)], array_to_string(name, '.') USING ERRCODE = 'XXUUU';
    END IF;
    PERFORM crdb_internal.check_target(target);
    PERFORM crdb_internal.check_families(target);
    targets := targets || target;
    full_names := full_names || crdb_internal.full_name(target);
    topics := topics || crdb_internal.topic(target, options ? 'full_table_name', (spec ->> 'is_bare')::bool);
  END LOOP;
  IF options ? 'cursor' AND EXISTS (SELECT FROM crdb_internal.shape WHERE relation = ANY(targets)
      GROUP BY relation HAVING min(tick) > start) THEN
    RAISE EXCEPTION 'failed to resolve targets in the CHANGEFEED stmt: table "%" does not exist', topics[1]
      USING ERRCODE = '42P01', HINT = format('do the targets exist at the specified cursor time %s?', options ->> 'cursor');
  END IF;
  PERFORM crdb_internal.check_privilege(targets);
  IF spec ? 'late_error' THEN
    PERFORM crdb_internal.fail(spec #>> '{late_error,code}', spec #>> '{late_error,message}', spec #>> '{late_error,hint}');
  END IF;
  FOR notice IN SELECT jsonb_array_elements_text(spec -> 'notices') LOOP
    RAISE NOTICE '%', notice;
  END LOOP;
  INSERT INTO crdb_internal.job (id, description, sink_uri, spec, relations, full_names, topics, start_tick, scan)
    VALUES (crdb_internal.unique_rowid(), spec ->> 'description', spec ->> 'sink_redacted', spec, targets, full_names, topics,
      start, spec ->> 'scan')
    RETURNING id INTO job_id;
  PERFORM crdb_internal.tag('CREATE CHANGEFEED 1');
  RETURN NEXT;
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.full_name(target oid) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT format('%I.%I.%I', current_database(), n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target
$$;

CREATE OR REPLACE FUNCTION crdb_internal.topic(target oid, is_full bool, is_bare bool) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN is_full AND is_bare THEN format('%s.%s.%s', current_database(), n.nspname, c.relname)
    WHEN is_full THEN format('%I.%I.%I', current_database(), n.nspname, c.relname)
    WHEN is_bare THEN c.relname::text
    ELSE quote_ident(c.relname)
  END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target
$$;

-- One verb on one job. Nothing happens to the feed here; the states with "-requested" ask for it.
CREATE OR REPLACE FUNCTION crdb_internal.control(verb text, job_id int8) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  now_status text;
  next_status text;
BEGIN
  UPDATE crdb_internal.retention SET status = 'canceled' WHERE id = job_id AND verb = 'CANCEL' AND status = 'running';
  IF FOUND THEN
    RETURN;
  END IF;
  SELECT status INTO now_status FROM crdb_internal.job WHERE id = job_id FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'job with ID % does not exist', job_id USING ERRCODE = '22023';
  END IF;
  next_status := CASE
    WHEN verb = 'PAUSE' AND now_status = 'running' THEN 'pause-requested'
    WHEN verb = 'PAUSE' AND now_status IN ('paused', 'pause-requested') THEN now_status
    WHEN verb = 'RESUME' AND now_status IN ('paused', 'running') THEN 'running'
    WHEN verb = 'CANCEL' AND now_status IN ('running', 'paused', 'pause-requested') THEN 'cancel-requested'
    WHEN verb = 'CANCEL' AND now_status IN ('canceled', 'cancel-requested') THEN now_status
  END;
  IF next_status IS NULL AND verb = 'RESUME' THEN
    RAISE EXCEPTION 'job with % % cannot be resumed', crdb_internal.status_word(), now_status USING ERRCODE = 'XXUUU';
  ELSIF next_status IS NULL THEN
    RAISE EXCEPTION 'job with % % cannot be requested to be %', crdb_internal.status_word(), now_status,
      CASE verb WHEN 'PAUSE' THEN 'paused' ELSE 'canceled' END USING ERRCODE = 'XXUUU';
  END IF;
  UPDATE crdb_internal.job SET status = next_status, modified = clock_timestamp(), running_status = NULL
    WHERE id = job_id AND status <> next_status;
END
$$;

-- The feed has met an error that no retry mends, and sends nothing any more.
CREATE OR REPLACE FUNCTION crdb_internal.end_changefeed(job_id int8, message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM crdb_internal.failure WHERE job = job_id;
  UPDATE crdb_internal.job SET status = 'paused', modified = clock_timestamp(),
      running_status = format('job failed (%s) but is being paused because of on_error=pause', message)
    WHERE id = job_id AND status = 'running' AND spec #>> '{options,on_error}' = 'pause';
  IF NOT FOUND THEN
    UPDATE crdb_internal.job SET status = 'failed', running_status = NULL, error = message, finished = clock_timestamp(),
        modified = clock_timestamp() WHERE id = job_id AND status = 'running';
  END IF;
END
$$;

CREATE OR REPLACE PROCEDURE crdb_internal.control_job(verb text, job_id int8) LANGUAGE plpgsql AS $$
BEGIN
  PERFORM crdb_internal.control(verb, job_id);
  PERFORM crdb_internal.tag(format('%s JOBS 1', verb));
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.control_jobs(verb text, jobs int8[], tag text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM crdb_internal.control(verb, job_id) FROM unnest(jobs) AS job_id;
  PERFORM crdb_internal.tag(format('%s %s', tag, cardinality(jobs)));
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.controllable(verb text) RETURNS int8[] LANGUAGE sql STABLE SECURITY DEFINER AS $$
  SELECT coalesce(array_agg(id), '{}') FROM crdb_internal.job WHERE CASE verb
    WHEN 'PAUSE' THEN status = 'running'
    WHEN 'RESUME' THEN status = 'paused'
    ELSE status IN ('running', 'paused', 'pause-requested') END
$$;
