-- Tables as they were at a time, in a form that PostgreSQL can plan: the present rows by the table's own indexes,
-- without those that have changed since, and the old versions of these. `as_of` in capture.sql stays for what cannot be
-- read so.

-- Keys with a version after the tick, some more than once. A function of its own, so that the number of rows is
-- estimated as small, and ordered, so that they are found by the index of ticks, whatever the statistics say.
CREATE OR REPLACE FUNCTION crdb_internal.changed_since(target oid, tick int8) RETURNS TABLE (key text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = pg_catalog SET enable_seqscan = off
SET enable_sort = off AS $$
BEGIN
  RETURN QUERY SELECT h.key FROM crdb_internal.history AS h WHERE h.tick > $2 AND h.relation = $1 ORDER BY h.tick;
END
$$;

-- What the rows of these keys were at the tick, without those that were not there.
CREATE OR REPLACE FUNCTION crdb_internal.versions_before(target oid, tick int8) RETURNS TABLE (shape int4, after text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1000 SET search_path = pg_catalog SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY SELECT v.shape, v.after
    FROM (SELECT DISTINCT c.key FROM crdb_internal.changed_since($1, $2) AS c) AS changed CROSS JOIN LATERAL (
      SELECT h.shape, h.after FROM crdb_internal.history AS h
        WHERE h.relation = $1 AND h.key = changed.key AND h.tick <= $2 ORDER BY h.tick DESC LIMIT 1) AS v
    WHERE v.after IS NOT NULL;
END
$$;

-- Whether what `past_table` has found still holds in the snapshot of the statement.
CREATE OR REPLACE FUNCTION crdb_internal.check_past(target oid, tick int8, shape int4) RETURNS bool
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  PERFORM crdb_internal.check_tick(tick);
  IF (crdb_internal.current_shape(target)).id <> shape THEN
    RAISE EXCEPTION 'stand-in: not supported: AS OF SYSTEM TIME of %, which has changed since the statement was '
      'prepared', target::regclass USING ERRCODE = '0A000';
  ELSIF EXISTS (SELECT FROM crdb_internal.touched AS t
      WHERE t.transaction = pg_current_xact_id_if_assigned() AND t.relation = target) THEN
    RAISE EXCEPTION 'stand-in: not supported: AS OF SYSTEM TIME of %, to which the transaction has written',
      target::regclass USING ERRCODE = '0A000';
  END IF;
  RETURN true;
END
$$;

-- What may stand in a FROM for the table of this name; NULL where `as_of` must do, with its errors. The caller is the
-- proxy: the statement that gets this text takes its snapshot after every commit up to the tick has become visible.
-- `process` is the client's: while it holds the commit lock itself, nobody else can wait for it.
CREATE OR REPLACE FUNCTION crdb_internal.past_table(name text, moment text, role text, process int4) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog AS $$
DECLARE
  target oid := to_regclass(name);
  tick int8;
  shape crdb_internal.shape;
BEGIN
  IF target IS NULL OR moment !~ '^\d+(\.\d{1,10})?$' OR NOT crdb_internal.is_watched(target)
      OR NOT has_table_privilege(role, target, 'SELECT') THEN
    RETURN NULL;
  END IF;
  tick := crdb_internal.parse_tick(moment);
  shape := crdb_internal.current_shape(target);
  IF shape.tick > tick OR tick >= crdb_internal.ticks(clock_timestamp())
      OR EXISTS (SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND objid = 1668441186 AND pid = process AND granted) THEN
    RETURN NULL;
  END IF;
  PERFORM pg_advisory_lock_shared(1668441186);
  PERFORM pg_advisory_unlock_shared(1668441186);
  RETURN crdb_internal.past_query(shape, tick);
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.past_query(shape crdb_internal.shape, tick int8) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
  names text;
  old_values text;
  key text;
  old_key text;
BEGIN
  SELECT string_agg(quote_ident(c.name), ', ' ORDER BY c.attribute),
      string_agg(format('(CASE v.shape %s END)::%s%s', c.cases, c.type, c.collation), ', ' ORDER BY c.attribute)
    INTO names, old_values FROM (
      SELECT a.attnum AS attribute, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
        CASE WHEN a.attcollation NOT IN (0, 'default'::regcollation)
          THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END AS collation,
        (SELECT string_agg(format('WHEN %s THEN v.after[%s]', s.id,
            coalesce(array_position(s.columns, a.attnum)::text, 'NULL')), ' ')
          FROM crdb_internal.shape AS s WHERE s.relation = a.attrelid) AS cases
      FROM pg_attribute AS a WHERE a.attrelid = shape.relation AND a.attnum > 0 AND NOT a.attisdropped) AS c;
  SELECT string_agg(format('u.%I', a.attname), ', ' ORDER BY k.ordinal),
      string_agg(format('(c.key[%s])::%s', k.ordinal, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY k.ordinal)
    INTO key, old_key FROM unnest(shape.key) WITH ORDINALITY AS k(attribute, ordinal)
    JOIN pg_attribute AS a ON a.attrelid = shape.relation AND a.attnum = k.attribute;
  -- The members of the union have no conditions of their own: only so does the planner see through it.
  RETURN format('(SELECT %1$s FROM (SELECT %1$s, tableoid AS "crdb_internal.present" FROM ONLY %2$s '
    'UNION ALL SELECT %3$s, NULL FROM crdb_internal.versions_before(%4$s, %5$s) AS v) AS u '
    'WHERE (SELECT crdb_internal.check_past(%4$s, %5$s, %6$s)) AND (u."crdb_internal.present" IS NULL '
    'OR (%7$s) NOT IN (SELECT %8$s FROM crdb_internal.changed_since(%4$s, %5$s) AS c)))',
    names, shape.relation::regclass, old_values, shape.relation, tick, shape.id, key, old_key);
END
$$;

-- The text of a value as the capture keeps it. The cast of inet would add the mask.
CREATE OR REPLACE FUNCTION crdb_internal.text_of(value anyelement) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT value::text
$$;
CREATE OR REPLACE FUNCTION crdb_internal.text_of(value inet) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT textin(inet_out(value))
$$;

-- The first of the rows of a query that the proxy turns into JSON: it says how, and makes the texts of floats exact.
CREATE OR REPLACE FUNCTION crdb_internal.row_to_json_head(target regclass, moment text, columns text[]) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
  until int8 := crdb_internal.parse_tick(moment);
  setting record;
  old crdb_internal.shape;
  new crdb_internal.shape := crdb_internal.current_shape(target);
  column_name text;
  at int4;
  kinds text[] := '{}';
BEGIN
  FOR setting IN SELECT name, current_setting(name) AS value
      FROM unnest(ARRAY['TimeZone', 'bytea_output', 'IntervalStyle', 'DateStyle']) AS name LOOP
    IF NOT setting.value = ANY (ARRAY['UTC', 'Etc/UTC', 'hex', 'postgres', 'ISO, MDY', 'ISO, YMD', 'ISO, DMY']) THEN
      RAISE EXCEPTION 'stand-in: not supported: row_to_json with the setting % = %', setting.name, setting.value
        USING ERRCODE = '0A000';
    END IF;
  END LOOP;
  SELECT * INTO old FROM crdb_internal.shape AS s WHERE s.relation = target AND (moment IS NULL OR s.tick <= until)
    ORDER BY s.id DESC LIMIT 1;
  IF NOT crdb_internal.is_watched(target) THEN
    RAISE EXCEPTION 'stand-in: not supported: row_to_json of %, which is not a table with a primary key', target
      USING ERRCODE = '0A000';
  ELSIF old.id IS NULL THEN
    RAISE EXCEPTION 'relation "%" does not exist', target USING ERRCODE = '42P01';
  END IF;
  FOREACH column_name IN ARRAY columns LOOP
    at := array_position(old.names, column_name);
    IF at IS NULL THEN
      RAISE EXCEPTION 'column "%" does not exist', column_name USING ERRCODE = '42703';
    ELSIF (old.types[at], old.columns[at]) IS DISTINCT FROM (new.types[array_position(new.names, column_name)],
        new.columns[array_position(new.names, column_name)]) THEN
      RAISE EXCEPTION 'stand-in: not supported: column "%" of % at a time when it was another', column_name, target
        USING ERRCODE = '0A000';
    ELSIF old.kinds[at] LIKE 'unsupported%' THEN
      RAISE EXCEPTION 'stand-in: not supported: the type of column "%" of % as JSON', column_name, target
        USING ERRCODE = '0A000';
    END IF;
    kinds := kinds || old.kinds[at];
  END LOOP;
  PERFORM set_config('crdb.extra_float_digits', current_setting('extra_float_digits'), true);
  PERFORM set_config('extra_float_digits', '1', true);
  RETURN E'\x01crdb.row_to_json' || json_build_object('names', columns, 'kinds', kinds);
END
$$;

-- The last of these rows.
CREATE OR REPLACE FUNCTION crdb_internal.row_to_json_tail() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM set_config('extra_float_digits', current_setting('crdb.extra_float_digits'), true);
  RETURN E'\x01crdb.end';
END
$$;
