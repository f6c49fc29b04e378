-- The answers to SHOW statements, as functions that stand in a FROM clause as well as alone.

CREATE OR REPLACE FUNCTION crdb_internal.show_changefeed_jobs() RETURNS TABLE (
  job_id int8, description text, user_name text, status text, running_status text, created timestamptz, started timestamptz,
  finished timestamptz, modified timestamptz, high_water_timestamp numeric, readable_high_water_timestamptz timestamptz,
  error text, sink_uri text, full_table_names text[], topics text, format text
) LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
  PERFORM crdb_internal.check_throttle();
  RETURN QUERY SELECT j.id, j.description, j.user_name, j.status,
      CASE WHEN j.status IN ('running', 'pause-requested', 'paused')
        THEN coalesce(j.running_status, 'running: resolved=' || coalesce(crdb_internal.brief(j.high_water), '0,0'))
        ELSE j.running_status END,
      j.created, j.created, j.finished, j.modified, crdb_internal.hlc(j.high_water), crdb_internal.moment(j.high_water),
      j.error, j.sink_uri, j.full_names, NULL::text, 'json'
    FROM crdb_internal.job AS j
    WHERE j.finished IS NULL OR j.finished > clock_timestamp() - interval '12 hours'
    ORDER BY j.created;
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.show_changefeed_job(id int8) RETURNS TABLE (
  job_id int8, description text, user_name text, status text, running_status text, created timestamptz, started timestamptz,
  finished timestamptz, modified timestamptz, high_water_timestamp numeric, readable_high_water_timestamptz timestamptz,
  error text, sink_uri text, full_table_names text[], topics text, format text
) LANGUAGE sql STABLE SECURITY DEFINER AS $$
  SELECT * FROM crdb_internal.show_changefeed_jobs() AS jobs WHERE jobs.job_id = $1
$$;

-- Releases before 25.1 have no time that a person can read.
CREATE OR REPLACE FUNCTION crdb_internal.show_changefeed_jobs_before_25_1() RETURNS TABLE (
  job_id int8, description text, user_name text, status text, running_status text, created timestamptz, started timestamptz,
  finished timestamptz, modified timestamptz, high_water_timestamp numeric,
  error text, sink_uri text, full_table_names text[], topics text, format text
) LANGUAGE sql STABLE SECURITY DEFINER AS $$
  SELECT jobs.job_id, jobs.description, jobs.user_name, jobs.status, jobs.running_status, jobs.created, jobs.started, jobs.finished,
    jobs.modified, jobs.high_water_timestamp, jobs.error, jobs.sink_uri, jobs.full_table_names, jobs.topics, jobs.format
  FROM crdb_internal.show_changefeed_jobs() AS jobs
$$;

CREATE OR REPLACE FUNCTION crdb_internal.show_changefeed_job_before_25_1(id int8) RETURNS TABLE (
  job_id int8, description text, user_name text, status text, running_status text, created timestamptz, started timestamptz,
  finished timestamptz, modified timestamptz, high_water_timestamp numeric,
  error text, sink_uri text, full_table_names text[], topics text, format text
) LANGUAGE sql STABLE SECURITY DEFINER AS $$
  SELECT * FROM crdb_internal.show_changefeed_jobs_before_25_1() AS jobs WHERE jobs.job_id = $1
$$;

CREATE OR REPLACE FUNCTION crdb_internal.show_version() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  PERFORM crdb_internal.check_throttle();
  RETURN crdb_internal.version();
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.show_columns(target regclass) RETURNS TABLE (
  column_name text, data_type text, is_nullable bool, column_default text, generation_expression text, indices text[],
  is_hidden bool
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
  PERFORM crdb_internal.check_throttle();
  RETURN QUERY SELECT a.attname::text, crdb_internal.spelling(a.atttypid, a.atttypmod), NOT a.attnotnull,
      CASE WHEN a.attgenerated = '' THEN replace(pg_get_expr(d.adbin, d.adrelid), 'crdb_internal.', '') END,
      CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) ELSE '' END,
      ARRAY(SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid = a.attrelid AND (i.indisprimary OR a.attnum = ANY(i.indkey)) ORDER BY c.relname),
      crdb_internal.is_hidden(a.attrelid, a.attname)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum;
END
$$;

-- The primary index stores the columns that are not in its key.
CREATE OR REPLACE FUNCTION crdb_internal.show_indexes(target regclass) RETURNS TABLE (
  table_name text, index_name text, non_unique bool, seq_in_index int8, column_name text, definition text, direction text,
  storing bool, implicit bool, visible bool
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
  PERFORM crdb_internal.check_throttle();
  RETURN QUERY SELECT t.relname::text, c.relname::text, NOT i.indisunique, k.ordinal, a.attname::text, a.attname::text,
      CASE WHEN i.indoption[k.ordinal - 1] & 1 = 1 THEN 'DESC' ELSE 'ASC' END, false,
      crdb_internal.is_shard(a.attname) OR a.attname = 'crdb_region' AND crdb_internal.is_hidden(target, a.attname), true
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
      CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attribute, ordinal)
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attribute
    WHERE i.indrelid = target AND k.ordinal <= i.indnkeyatts AND c.relname NOT LIKE 'crdb\_internal\_key\_%'
    UNION ALL
    SELECT t.relname, c.relname, false, i.indnkeyatts + row_number() OVER (ORDER BY a.attnum), a.attname, a.attname, 'N/A',
      true, false, true
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE i.indrelid = target AND i.indisprimary AND a.attnum <> ALL(i.indkey)
    ORDER BY 2, 4;
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.show_tables() RETURNS TABLE (
  schema_name text, table_name text, type text, owner text, estimated_row_count int8, locality text
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
  PERFORM crdb_internal.check_throttle();
  RETURN QUERY SELECT n.nspname::text, c.relname::text, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END,
      pg_get_userbyid(c.relowner)::text, greatest(c.reltuples, 0)::int8, NULL::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'S') AND n.nspname NOT LIKE 'pg\_%'
      AND n.nspname NOT IN ('crdb_internal', 'information_schema')
    ORDER BY 1, 2;
END
$$;

-- CockroachDB adds its own spelling and whether the column is hidden.
CREATE OR REPLACE VIEW crdb_internal.information_schema_columns AS
  SELECT c.*, crdb_internal.spelling(a.atttypid, a.atttypmod) AS crdb_sql_type,
    CASE WHEN crdb_internal.is_hidden(a.attrelid, a.attname) THEN 'YES' ELSE 'NO' END AS is_hidden
  FROM information_schema.columns c
    JOIN pg_attribute a ON a.attrelid = format('%I.%I', c.table_schema, c.table_name)::regclass AND a.attname = c.column_name
  WHERE c.table_schema <> 'crdb_internal';
GRANT SELECT ON crdb_internal.information_schema_columns TO PUBLIC;
