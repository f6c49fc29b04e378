-- The clock: every commit gets its own tick, ticks follow the order of commits, and a tick that has been taken is
-- a promise that no later commit will be at or below it.
--
-- A tick is the microseconds of the wall clock times 1,000 plus a logical count, so that one bigint orders them.
-- CockroachDB's decimal form is wall nanoseconds, a point, and ten digits of logical count.

CREATE SCHEMA IF NOT EXISTS crdb_internal;
GRANT USAGE ON SCHEMA crdb_internal TO PUBLIC;

CREATE SEQUENCE IF NOT EXISTS crdb_internal.last_tick;

CREATE TABLE IF NOT EXISTS crdb_internal.garbage (threshold int8 NOT NULL);
INSERT INTO crdb_internal.garbage SELECT 0 WHERE NOT EXISTS (SELECT FROM crdb_internal.garbage);

CREATE OR REPLACE FUNCTION crdb_internal.ticks(moment timestamptz) RETURNS int8 LANGUAGE sql IMMUTABLE AS $$
  SELECT (extract(epoch FROM moment) * 1000000)::int8 * 1000
$$;

CREATE OR REPLACE FUNCTION crdb_internal.moment(tick int8) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT timestamptz 'epoch' + tick / 1000 * interval '1 microsecond'
$$;

-- The lock is released by PostgreSQL only after the commit has become visible: whoever gets the lock next sees
-- everything that has a smaller tick. A sequence is not transactional, which is what serializable sessions need here.
CREATE OR REPLACE FUNCTION crdb_internal.take_tick() RETURNS int8 LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  last int8;
  tick int8;
BEGIN
  PERFORM pg_advisory_xact_lock(1668441186);
  SELECT last_value INTO last FROM crdb_internal.last_tick;
  IF current_setting('transaction_read_only')::bool THEN
    -- The sequence cannot be moved here; a tick just below the present moment needs no trace to stay unique.
    RETURN greatest(crdb_internal.ticks(clock_timestamp()) - 1, last);
  END IF;
  tick := greatest(crdb_internal.ticks(clock_timestamp()), last + 1);
  PERFORM setval('crdb_internal.last_tick', tick);
  RETURN tick;
END
$$;

-- One tick per transaction, whether it is first asked for by a statement or by the commit itself.
CREATE OR REPLACE FUNCTION crdb_internal.transaction_tick() RETURNS int8 LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  known text := current_setting('crdb.tick', true);
BEGIN
  IF known <> '' THEN
    RETURN known::int8;
  END IF;
  RETURN set_config('crdb.tick', crdb_internal.take_tick()::text, true)::int8;
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.hlc(tick int8) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT format('%s.%s', tick / 1000 * 1000, lpad((tick % 1000)::text, 10, '0'))::numeric
$$;

-- PostgreSQL's own default plays as SERIALIZABLE, CockroachDB's; READ COMMITTED is what a session, user or database has
-- set. The wording of the error is from memory.
CREATE OR REPLACE FUNCTION crdb_internal.cluster_logical_timestamp() RETURNS numeric LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF current_setting('transaction_isolation') = 'read committed' AND EXISTS (
      SELECT FROM pg_catalog.pg_settings WHERE name = 'default_transaction_isolation' AND setting = 'read committed'
        AND source NOT IN ('default', 'configuration file')) THEN
    RAISE EXCEPTION 'cluster_logical_timestamp() is not supported in READ COMMITTED transactions' USING ERRCODE = '0A000';
  END IF;
  RETURN crdb_internal.hlc(crdb_internal.transaction_tick());
END
$$;

-- The largest tick that is not above the given time, which may be a decimal, a timestamp or a negative interval.
CREATE OR REPLACE FUNCTION crdb_internal.parse_tick(value text) RETURNS int8 LANGUAGE plpgsql STABLE
SET timezone = 'UTC' AS $$
DECLARE
  wall int8;
BEGIN
  IF value ~ '^\d+(\.\d{1,10})?$' THEN
    wall := split_part(value, '.', 1)::int8;
    IF wall % 1000 <> 0 THEN
      RETURN wall / 1000 * 1000 + 999;
    END IF;
    RETURN wall + least(rpad(split_part(value, '.', 2), 10, '0')::int8, 999);
  ELSIF value LIKE '-%' THEN
    RETURN crdb_internal.ticks(clock_timestamp() + value::interval);
  END IF;
  RETURN crdb_internal.ticks(value::timestamptz);
END
$$;

-- Whether a statement may read at the tick, which it does under a snapshot of its own.
CREATE OR REPLACE FUNCTION crdb_internal.check_tick(tick int8) RETURNS void LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
  threshold int8 := (SELECT garbage.threshold FROM crdb_internal.garbage);
BEGIN
  IF tick >= crdb_internal.ticks(clock_timestamp()) THEN
    RAISE EXCEPTION 'AS OF SYSTEM TIME: cannot specify timestamp in the future' USING ERRCODE = '22023';
  END IF;
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE EXCEPTION 'stand-in: not supported: AS OF SYSTEM TIME in a transaction that is not READ COMMITTED'
      USING ERRCODE = '0A000';
  END IF;
  IF tick <= threshold THEN
    RAISE EXCEPTION 'batch timestamp % must be after replica GC threshold %',
      crdb_internal.brief(tick), crdb_internal.brief(threshold) USING ERRCODE = 'XXUUU';
  END IF;
END
$$;

-- Returns when every commit at or below the tick is visible to the next statement.
CREATE OR REPLACE FUNCTION crdb_internal.await_tick(tick int8) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  PERFORM crdb_internal.check_tick(tick);
  PERFORM pg_advisory_lock_shared(1668441186);
  PERFORM pg_advisory_unlock_shared(1668441186);
END
$$;

-- As CockroachDB prints a time in errors and in the state of a job: seconds, nine digits, a comma, the logical count.
CREATE OR REPLACE FUNCTION crdb_internal.brief(tick int8) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT format('%s.%s,%s', tick / 1000000000, lpad((tick / 1000 * 1000 % 1000000000)::text, 9, '0'), tick % 1000)
$$;
