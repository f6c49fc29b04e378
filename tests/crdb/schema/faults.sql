-- What a test may inject: faults of the feed, missing licences, terminal errors, column families; and the rights that an
-- administrator gives.

-- As it was in earlier versions of this file.
DROP FUNCTION IF EXISTS crdb_internal.fault(text, int4, int4);
DROP PROCEDURE IF EXISTS crdb_internal.license(text);
DROP TABLE IF EXISTS crdb_internal.system_privilege;

-- Feeds take the rows from here, before they ask the clock.
CREATE TABLE IF NOT EXISTS crdb_internal.fault (
  id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL,
  count int4 NOT NULL,
  amount int4
);

CREATE OR REPLACE FUNCTION crdb_internal.inject_fault(kind text, count int4 DEFAULT 1, amount int4 DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF kind <> ALL(crdb_internal.fault_kinds()) THEN
    RAISE EXCEPTION 'unknown fault %, known are %', kind, array_to_string(crdb_internal.fault_kinds(), ', ')
      USING ERRCODE = '22023';
  END IF;
  INSERT INTO crdb_internal.fault (kind, count, amount) VALUES (kind, count, amount);
END
$$;

-- 'valid', 'none' or 'expired'; kept where settings of the cluster are.
CREATE OR REPLACE FUNCTION crdb_internal.license(state text, is_throttled bool DEFAULT false) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER AS $$
BEGIN
  IF state IS NULL OR state NOT IN ('valid', 'none', 'expired') THEN
    RAISE EXCEPTION 'a licence is valid, none or expired, not %', state USING ERRCODE = '22023';
  END IF;
  PERFORM crdb_internal.keep_setting('crdb_internal.license', state);
  PERFORM crdb_internal.keep_setting('crdb_internal.throttle', (is_throttled AND state <> 'valid')::text);
END
$$;

-- A cluster without a licence that has used up its grace period, and has more open transactions than it may have then.
CREATE OR REPLACE FUNCTION crdb_internal.throttle(is_throttled bool) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF is_throttled AND NOT crdb_internal.is_throttled_without_license() THEN
    RAISE EXCEPTION 'releases before 24.3 do not throttle: they refuse changefeeds' USING ERRCODE = '22023';
  ELSIF is_throttled AND crdb_internal.cluster_setting('crdb_internal.license', 'valid') = 'valid' THEN
    RAISE EXCEPTION 'a cluster with a valid licence is not throttled: run crdb_internal.license(''none'') first'
      USING ERRCODE = '22023';
  END IF;
  PERFORM crdb_internal.keep_setting('crdb_internal.throttle', is_throttled::text);
END
$$;

-- Real throttling hits any transaction beyond the fifth; here it hits CREATE CHANGEFEED, and SHOW as CockroachDB has it.
CREATE OR REPLACE FUNCTION crdb_internal.check_throttle() RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF NOT crdb_internal.is_throttled_without_license()
      OR NOT crdb_internal.cluster_setting('crdb_internal.throttle', 'false')::bool THEN
    RETURN;
  ELSIF crdb_internal.cluster_setting('crdb_internal.license', 'valid') = 'none' THEN
    RAISE EXCEPTION 'No license installed. The maximum number of concurrently open transactions has been reached.'
      USING ERRCODE = 'XXC02', HINT = 'Obtain and install a valid license to continue.';
  END IF;
  RAISE EXCEPTION 'License expired on January 1, 1970. The maximum number of concurrently open transactions has been reached.'
    USING ERRCODE = 'XXC02', HINT = 'Obtain and install a new license to continue.';
END
$$;

-- Up to 24.2 a changefeed into a sink needs a licence.
CREATE OR REPLACE FUNCTION crdb_internal.check_license() RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE
  state text := crdb_internal.cluster_setting('crdb_internal.license', 'valid');
BEGIN
  IF state = 'valid' OR crdb_internal.is_throttled_without_license() THEN
    RETURN;
  ELSIF state = 'none' THEN
    RAISE EXCEPTION 'use of CHANGEFEED requires an enterprise license. see https://cockroachlabs.com/pricing?cluster=% for details on how to enable enterprise features',
      '5d5e5ab1-0000-4000-8000-000000000001' USING ERRCODE = 'XXC02';
  END IF;
  RAISE EXCEPTION 'Use of CHANGEFEED requires an enterprise license. Your evaluation license expired on January 1, 1970. If you''re interested in getting a new license, please contact subscriptions@cockroachlabs.com and we can help you out.'
    USING ERRCODE = 'XXC02';
END
$$;

-- The running job ends as if its feed had met this error: it fails, or is paused where on_error says so.
CREATE OR REPLACE FUNCTION crdb_internal.fail_changefeed(job_id int8, message text) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER AS $$
DECLARE
  now_status text := (SELECT status FROM crdb_internal.job WHERE id = job_id);
BEGIN
  IF now_status IS NULL THEN
    RAISE EXCEPTION 'job with ID % does not exist', job_id USING ERRCODE = '22023';
  ELSIF now_status <> 'running' THEN
    RAISE EXCEPTION 'only a running job can meet an error, and job % is %', job_id, now_status USING ERRCODE = '22023';
  END IF;
  INSERT INTO crdb_internal.failure VALUES (job_id, message) ON CONFLICT (job) DO UPDATE SET message = excluded.message;
END
$$;

CREATE TABLE IF NOT EXISTS crdb_internal.families (relation oid PRIMARY KEY);

-- The table has two column families from now on, which ends every feed of it, also one that is paused now, when it is
-- resumed. Between the braces CockroachDB prints structures of its own.
CREATE OR REPLACE FUNCTION crdb_internal.add_family(target regclass) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO crdb_internal.families VALUES (target) ON CONFLICT DO NOTHING;
  IF FOUND THEN
    INSERT INTO crdb_internal.ending SELECT target, crdb_internal.transaction_tick(), format(
        'CHANGEFEED created on a table with a single column family (%s) cannot now target a table with 2 families. targets: {}, tableDesc: {}',
        relname) FROM pg_class WHERE oid = target;
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.check_families(target oid) RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF EXISTS (SELECT FROM crdb_internal.families WHERE relation = target) THEN
    RAISE EXCEPTION 'CHANGEFEED targeting a table (%) with multiple column families requires WITH split_column_families and will emit multiple events per row.',
      (SELECT relname FROM pg_class WHERE oid = target) USING ERRCODE = 'XXUUU';
  END IF;
END
$$;

-- Privileges on the whole cluster are memberships in roles, which all databases share; `schema.rs` makes the roles.
-- Superusers are members of everything.
CREATE OR REPLACE FUNCTION crdb_internal.has_system_privilege(privilege text) RETURNS bool LANGUAGE sql STABLE AS $$
  SELECT pg_has_role(session_user, 'crdb_internal.' || privilege, 'MEMBER')
$$;

-- The wording of the error is from memory.
CREATE OR REPLACE PROCEDURE crdb_internal.grant_system(privileges text[], roles text[], is_revoke bool) LANGUAGE plpgsql
SECURITY DEFINER AS $$
DECLARE
  privilege text;
  role text;
BEGIN
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
    RAISE EXCEPTION 'user % missing WITH GRANT OPTION privilege on %', session_user, privileges[1] USING ERRCODE = '42501';
  END IF;
  FOREACH role IN ARRAY roles LOOP
    FOREACH privilege IN ARRAY privileges LOOP
      EXECUTE format(CASE WHEN is_revoke THEN 'REVOKE %I FROM %I' ELSE 'GRANT %I TO %I' END,
        'crdb_internal.' || privilege, role);
    END LOOP;
  END LOOP;
  PERFORM crdb_internal.tag(CASE WHEN is_revoke THEN 'REVOKE' ELSE 'GRANT' END);
END
$$;

-- The wording of the error is that of present releases.
CREATE OR REPLACE FUNCTION crdb_internal.show_cluster_setting(name text, fallback text) RETURNS text LANGUAGE plpgsql STABLE
SECURITY DEFINER AS $$
BEGIN
  PERFORM crdb_internal.check_throttle();
  IF NOT crdb_internal.has_system_privilege('VIEWCLUSTERSETTING')
      AND NOT crdb_internal.has_system_privilege('MODIFYCLUSTERSETTING') THEN
    RAISE EXCEPTION 'only users with MODIFYCLUSTERSETTING or VIEWCLUSTERSETTING privileges are allowed to show cluster setting ''%''', name
      USING ERRCODE = '42501';
  END IF;
  RETURN crdb_internal.cluster_setting(name, fallback);
END
$$;
