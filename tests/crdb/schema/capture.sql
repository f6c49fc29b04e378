-- Change capture: which keys a transaction has touched is noted while it runs; what their rows have become is read
-- once, at its commit. So a transaction leaves one version per key, whatever statements, cascades and triggers did.

-- The columns of a table at some time. The newest row of a table describes its present columns.
CREATE TABLE IF NOT EXISTS crdb_internal.shape (
  id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  relation oid NOT NULL,
  tick int8 NOT NULL,
  columns int2[] NOT NULL,
  names text[] NOT NULL,
  types text[] NOT NULL,
  kinds text[] NOT NULL,
  -- Attribute numbers of the primary key, in the order of its index.
  key int2[] NOT NULL
);
CREATE INDEX IF NOT EXISTS shape_relation ON crdb_internal.shape (relation, id);

CREATE UNLOGGED TABLE IF NOT EXISTS crdb_internal.touched (
  transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
  relation oid NOT NULL,
  key text[] NOT NULL,
  -- Counts within one statement: the commit trigger is queued once per statement, for the first.
  ordinal int8 NOT NULL
);
CREATE INDEX IF NOT EXISTS touched_transaction ON crdb_internal.touched (transaction, relation);

CREATE TABLE IF NOT EXISTS crdb_internal.history (
  relation oid NOT NULL,
  key text[] NOT NULL,
  tick int8 NOT NULL,
  shape int4 NOT NULL,
  -- NULL is a deleted row. Values stand in the order of the shape's columns.
  after text[],
  -- Known to reads of the past, and told to no feed: rows that have a key of another shape from now on.
  silent bool NOT NULL DEFAULT false,
  PRIMARY KEY (relation, key, tick)
);
CREATE INDEX IF NOT EXISTS history_tick ON crdb_internal.history (tick, relation, key);

-- Where the key has another shape from that time on: changefeeds restart there.
CREATE TABLE IF NOT EXISTS crdb_internal.rekeyed (relation oid NOT NULL, tick int8 NOT NULL);

-- What ends a changefeed for good.
CREATE TABLE IF NOT EXISTS crdb_internal.ending (
  relation oid NOT NULL,
  tick int8 NOT NULL,
  reason text NOT NULL
);

CREATE OR REPLACE FUNCTION crdb_internal.record_transaction() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
DECLARE
  relations oid[];
  target oid;
  tick int8;
BEGIN
  SELECT array_agg(DISTINCT relation) INTO relations FROM crdb_internal.touched
    WHERE transaction = pg_current_xact_id();
  IF relations IS NULL THEN
    RETURN NULL;
  END IF;
  tick := crdb_internal.transaction_tick();
  FOREACH target IN ARRAY relations LOOP
    EXECUTE format('SELECT crdb_internal.record_%s($1)', target) USING tick;
  END LOOP;
  DELETE FROM crdb_internal.touched WHERE transaction = pg_current_xact_id();
  RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS record_transaction ON crdb_internal.touched;
CREATE CONSTRAINT TRIGGER record_transaction AFTER INSERT ON crdb_internal.touched DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (NEW.ordinal = 1) EXECUTE FUNCTION crdb_internal.record_transaction();

-- A value as text in the one form that no setting of a session changes. The cast of inet would add the mask.
CREATE OR REPLACE FUNCTION crdb_internal.text_expression(kind text, reference text) RETURNS text LANGUAGE sql IMMUTABLE
AS $$
  SELECT CASE kind WHEN 'inet' THEN format('textin(inet_out(%s))', reference) ELSE reference || '::text' END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.current_shape(target oid) RETURNS crdb_internal.shape LANGUAGE sql STABLE AS $$
  SELECT * FROM crdb_internal.shape WHERE relation = target ORDER BY id DESC LIMIT 1
$$;

CREATE OR REPLACE FUNCTION crdb_internal.is_watched(target oid) RETURNS bool LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = target AND tgname = 'crdb_internal_insert')
$$;

CREATE OR REPLACE FUNCTION crdb_internal.read_shape(target oid) RETURNS crdb_internal.shape LANGUAGE sql STABLE
SET search_path = pg_catalog AS $$
  SELECT NULL::int4, target, 0::int8, array_agg(a.attnum ORDER BY a.attnum), array_agg(a.attname::text ORDER BY a.attnum),
    array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum),
    array_agg(crdb_internal.kind(a.atttypid) ORDER BY a.attnum),
    (SELECT i.indkey::int2[] FROM pg_index i WHERE i.indrelid = target AND i.indisprimary)
  FROM pg_attribute a WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
$$;

-- Starts or renews the capture of one table. Its rows are recorded again when the capture is new, and where
-- CockroachDB would send the whole table again: a column dropped, retyped, or added with a value.
CREATE OR REPLACE FUNCTION crdb_internal.watch(target oid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
DECLARE
  old crdb_internal.shape := crdb_internal.current_shape(target);
  new crdb_internal.shape := crdb_internal.read_shape(target);
  is_new bool := NOT crdb_internal.is_watched(target);
BEGIN
  IF new.key IS NULL THEN
    PERFORM crdb_internal.unwatch(target);
    RETURN;
  END IF;
  -- Indexes count from 0 in an int2vector; arrays from 1.
  new.key := ARRAY(SELECT unnest(new.key));
  IF is_new OR (old.names, old.types, old.kinds, old.key) IS DISTINCT FROM (new.names, new.types, new.kinds, new.key) THEN
    INSERT INTO crdb_internal.shape (relation, tick, columns, names, types, kinds, key)
      VALUES (target, crdb_internal.transaction_tick(), new.columns, new.names, new.types, new.kinds, new.key)
      RETURNING * INTO new;
  ELSE
    new.id := old.id;
  END IF;
  PERFORM crdb_internal.write_capture(new);
  IF is_new THEN
    PERFORM crdb_internal.create_triggers(target);
  END IF;
  IF NOT is_new AND old.key <> new.key THEN
    PERFORM crdb_internal.rekey(new);
  END IF;
  IF is_new OR crdb_internal.is_rewrite(old, new) THEN
    EXECUTE format('SELECT crdb_internal.touch_all_%s()', target);
  END IF;
END
$$;

-- The rows go on under their new keys, and no message says so.
CREATE OR REPLACE FUNCTION crdb_internal.rekey(new crdb_internal.shape) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO crdb_internal.history (relation, key, tick, shape, after, silent)
    SELECT old.relation, old.key, new.tick, new.id, NULL, true FROM (
      SELECT DISTINCT ON (h.key) h.* FROM crdb_internal.history AS h WHERE h.relation = new.relation
        ORDER BY h.key, h.tick DESC
    ) AS old WHERE old.after IS NOT NULL
    ON CONFLICT DO NOTHING;
  EXECUTE format('SELECT crdb_internal.touch_all_%s()', new.relation);
  EXECUTE format('SELECT crdb_internal.record_%s($1)', new.relation) USING new.tick;
  UPDATE crdb_internal.history SET silent = true WHERE relation = new.relation AND tick = new.tick;
  DELETE FROM crdb_internal.touched WHERE transaction = pg_current_xact_id() AND relation = new.relation;
  INSERT INTO crdb_internal.rekeyed VALUES (new.relation, new.tick);
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.is_rewrite(old crdb_internal.shape, new crdb_internal.shape) RETURNS bool
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  SELECT NOT (new.columns @> old.columns)
    OR EXISTS (
      SELECT FROM pg_attribute a WHERE a.attrelid = new.relation AND a.attnum = ANY(new.columns)
        AND a.attnum <> ALL(old.columns) AND (a.atthasdef OR a.attnotnull) AND NOT crdb_internal.is_shard(a.attname))
    OR EXISTS (
      SELECT FROM unnest(old.columns, old.types) AS o(attribute, type)
        JOIN unnest(new.columns, new.types) AS n(attribute, type) USING (attribute) WHERE o.type <> n.type)
$$;

CREATE OR REPLACE FUNCTION crdb_internal.unwatch(target oid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
DECLARE
  operation text;
BEGIN
  IF crdb_internal.is_watched(target) THEN
    FOREACH operation IN ARRAY ARRAY['insert', 'update', 'delete', 'truncate'] LOOP
      EXECUTE format('DROP TRIGGER crdb_internal_%s ON %s', operation, target::regclass);
    END LOOP;
  END IF;
  EXECUTE format('DROP FUNCTION IF EXISTS crdb_internal.touch_%s(), crdb_internal.touch_all_%1$s(), '
    'crdb_internal.record_%1$s(int8)', target);
  DELETE FROM crdb_internal.touched WHERE transaction = pg_current_xact_id() AND relation = target;
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.create_triggers(target oid) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
DECLARE
  name text := target::regclass;
BEGIN
  EXECUTE format('CREATE TRIGGER crdb_internal_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS written '
    'FOR EACH STATEMENT EXECUTE FUNCTION crdb_internal.touch_%s()', name, target);
  EXECUTE format('CREATE TRIGGER crdb_internal_update AFTER UPDATE ON %s '
    'REFERENCING OLD TABLE AS removed NEW TABLE AS written '
    'FOR EACH STATEMENT EXECUTE FUNCTION crdb_internal.touch_%s()', name, target);
  EXECUTE format('CREATE TRIGGER crdb_internal_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS removed '
    'FOR EACH STATEMENT EXECUTE FUNCTION crdb_internal.touch_%s()', name, target);
  EXECUTE format('CREATE TRIGGER crdb_internal_truncate BEFORE TRUNCATE ON %s '
    'FOR EACH STATEMENT EXECUTE FUNCTION crdb_internal.touch_%s()', name, target);
END
$$;

-- Three functions per table, so that their statements are planned once per session and name the columns.
CREATE OR REPLACE FUNCTION crdb_internal.write_capture(shape crdb_internal.shape) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
DECLARE
  name text := shape.relation::regclass;
  settings text := 'SECURITY DEFINER SET search_path = pg_catalog SET datestyle = ''ISO, YMD'' SET timezone = ''UTC'' '
    'SET intervalstyle = postgres SET bytea_output = hex SET extra_float_digits = 1 '
    'SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off ';
  key text;
  key_match text;
  key_column text;
  row_values text;
  note text;
BEGIN
  SELECT format('ARRAY[%s]', string_agg(crdb_internal.text_expression(c.kind, format('source.%I', c.name)), ', ' ORDER BY k.ordinal)),
      string_agg(format('source.%I = note.key[%s]::%s', c.name, k.ordinal, c.type), ' AND ' ORDER BY k.ordinal),
      min(format('source.%I', c.name))
    INTO key, key_match, key_column
    FROM unnest(shape.key) WITH ORDINALITY AS k(attribute, ordinal)
    JOIN unnest(shape.columns, shape.names, shape.types, shape.kinds) AS c(attribute, name, type, kind) USING (attribute);
  SELECT string_agg(crdb_internal.text_expression(c.kind, format('source.%I', c.name)), ', ' ORDER BY c.attribute)
    INTO row_values
    FROM unnest(shape.columns, shape.names, shape.kinds) AS c(attribute, name, kind);
  note := format('INSERT INTO crdb_internal.touched (relation, key, ordinal) SELECT %s, key, row_number() OVER () FROM ',
    shape.relation);
  EXECUTE format('CREATE OR REPLACE FUNCTION crdb_internal.touch_all_%s() RETURNS void LANGUAGE plpgsql %s AS $body$ '
    'BEGIN %s (SELECT %s AS key FROM ONLY %s AS source) AS note; END $body$',
    shape.relation, settings, note, key, name);
  EXECUTE format($function$
    CREATE OR REPLACE FUNCTION crdb_internal.touch_%1$s() RETURNS trigger LANGUAGE plpgsql %2$s AS $body$
    BEGIN
      IF TG_OP = 'INSERT' THEN
        %3$s (SELECT %4$s AS key FROM written AS source) AS note;
      ELSIF TG_OP = 'DELETE' THEN
        %3$s (SELECT %4$s AS key FROM removed AS source) AS note;
      ELSIF TG_OP = 'UPDATE' THEN
        %3$s (SELECT %4$s AS key FROM removed AS source UNION SELECT %4$s FROM written AS source) AS note;
      ELSE
        PERFORM crdb_internal.touch_all_%1$s();
        INSERT INTO crdb_internal.ending VALUES (%1$s, crdb_internal.transaction_tick(),
          format('"%%s" was truncated', TG_TABLE_NAME));
      END IF;
      RETURN NULL;
    END
    $body$ $function$, shape.relation, settings, note, key);
  EXECUTE format($function$
    CREATE OR REPLACE FUNCTION crdb_internal.record_%1$s(tick int8) RETURNS void LANGUAGE plpgsql %2$s AS $body$
    BEGIN
      INSERT INTO crdb_internal.history (relation, key, tick, shape, after)
        SELECT %1$s, note.key, $1, %3$s, CASE WHEN %4$s IS NOT NULL THEN ARRAY[%5$s]::text[] END
        FROM (SELECT DISTINCT key FROM crdb_internal.touched
              WHERE transaction = pg_current_xact_id() AND relation = %1$s) AS note
          LEFT JOIN ONLY %6$s AS source ON %7$s
        ON CONFLICT ON CONSTRAINT history_pkey DO UPDATE SET shape = excluded.shape, after = excluded.after, silent = false;
    END
    $body$ $function$, shape.relation, settings, shape.id, key_column, row_values, name, key_match);
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.is_ordinary(target oid) RETURNS bool LANGUAGE sql STABLE
SET search_path = pg_catalog AS $$
  SELECT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = target AND c.relkind = 'r' AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('crdb_internal', 'information_schema'))
$$;

CREATE OR REPLACE FUNCTION crdb_internal.after_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF TG_TAG IN ('ALTER SCHEMA', 'ALTER TYPE', 'ALTER DOMAIN') THEN
    PERFORM crdb_internal.watch(oid) FROM pg_catalog.pg_class WHERE crdb_internal.is_watched(oid);
    RETURN;
  END IF;
  PERFORM crdb_internal.watch(objid) FROM (
    SELECT DISTINCT objid FROM pg_catalog.pg_event_trigger_ddl_commands() WHERE classid = 'pg_class'::regclass
  ) AS altered WHERE crdb_internal.is_ordinary(objid);
  PERFORM crdb_internal.note_unique_indexes();
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.after_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  dropped record;
BEGIN
  FOR dropped IN
    SELECT objid, object_name FROM pg_catalog.pg_event_trigger_dropped_objects()
      WHERE object_type = 'table' AND EXISTS (SELECT FROM crdb_internal.shape WHERE relation = objid)
  LOOP
    INSERT INTO crdb_internal.ending
      VALUES (dropped.objid, crdb_internal.transaction_tick(), format('"%s" was dropped', dropped.object_name));
    PERFORM crdb_internal.unwatch(dropped.objid);
  END LOOP;
  PERFORM crdb_internal.note_unique_indexes();
END
$$;

-- Which unique indexes on columns alone, other than primary keys, hold for every row, and since when.
CREATE TABLE IF NOT EXISTS crdb_internal.unique_index (
  index oid NOT NULL,
  relation oid NOT NULL,
  columns int2[] NOT NULL,
  tick int8 NOT NULL,
  -- NULL while it is there.
  dropped int8
);

CREATE OR REPLACE FUNCTION crdb_internal.note_unique_indexes() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
DECLARE
  found record;
BEGIN
  FOR found IN
    SELECT k.index, i.indexrelid, i.indrelid, ARRAY(SELECT unnest((i.indkey::int2[])[0:i.indnkeyatts - 1])) AS columns
      FROM (SELECT * FROM crdb_internal.unique_index WHERE dropped IS NULL) AS k
      FULL JOIN (SELECT * FROM pg_index WHERE indisunique AND indisvalid AND NOT indisprimary AND indpred IS NULL
        AND indexprs IS NULL AND crdb_internal.is_watched(indrelid)) AS i ON i.indexrelid = k.index
      WHERE k.index IS NULL OR i.indexrelid IS NULL
  LOOP
    IF found.index IS NULL THEN
      INSERT INTO crdb_internal.unique_index
        VALUES (found.indexrelid, found.indrelid, found.columns, crdb_internal.transaction_tick(), NULL);
    ELSE
      UPDATE crdb_internal.unique_index SET dropped = crdb_internal.transaction_tick() WHERE index = found.index AND dropped IS NULL;
    END IF;
  END LOOP;
END
$$;

DROP EVENT TRIGGER IF EXISTS crdb_internal_after_ddl;
CREATE EVENT TRIGGER crdb_internal_after_ddl ON ddl_command_end
  WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE', 'CREATE INDEX', 'ALTER SCHEMA', 'ALTER TYPE',
    'ALTER DOMAIN')
  EXECUTE FUNCTION crdb_internal.after_ddl();
DROP EVENT TRIGGER IF EXISTS crdb_internal_after_drop;
CREATE EVENT TRIGGER crdb_internal_after_drop ON sql_drop EXECUTE FUNCTION crdb_internal.after_drop();

-- What the tables held before the stand-in came.
SELECT crdb_internal.watch(oid) FROM pg_class WHERE crdb_internal.is_ordinary(oid);
SELECT crdb_internal.note_unique_indexes();

-- The rows of a table as they were at a time. The first argument, NULL of the table's row type, names the table.
CREATE OR REPLACE FUNCTION crdb_internal.as_of(example anyelement, moment text) RETURNS SETOF anyelement
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET datestyle = 'ISO, YMD' SET timezone = 'UTC' SET intervalstyle = postgres AS $$
DECLARE
  target oid := (SELECT typrelid FROM pg_type WHERE oid = pg_typeof(example));
  tick int8 := crdb_internal.parse_tick(moment);
  column_list text;
BEGIN
  IF NOT crdb_internal.is_watched(target) THEN
    RAISE EXCEPTION 'stand-in: not supported: AS OF SYSTEM TIME of %, which is not a table with a primary key',
      target::regclass USING ERRCODE = '0A000';
  END IF;
  IF NOT has_table_privilege(session_user, target, 'SELECT') THEN
    RAISE EXCEPTION 'user % does not have SELECT privilege on relation %', session_user, target::regclass
      USING ERRCODE = '42501';
  END IF;
  IF tick < (SELECT min(s.tick) FROM crdb_internal.shape s WHERE s.relation = target) THEN
    RAISE EXCEPTION 'relation "%" does not exist', target::regclass USING ERRCODE = '42P01';
  END IF;
  PERFORM crdb_internal.await_tick(tick);
  SELECT string_agg(format('(CASE shape %s END)::%s', c.cases, c.type), ', ' ORDER BY c.attribute) INTO column_list
    FROM (
      SELECT a.attnum AS attribute, format_type(a.atttypid, a.atttypmod) AS type,
        string_agg(format('WHEN %s THEN after[%s]', s.id, coalesce(array_position(s.columns, a.attnum)::text, 'NULL')), ' ') AS cases
      FROM pg_attribute a, crdb_internal.shape s
      WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND s.relation = target
      GROUP BY a.attnum, a.atttypid, a.atttypmod
    ) AS c;
  RETURN QUERY EXECUTE format('SELECT %s FROM (SELECT DISTINCT ON (key) shape, after FROM crdb_internal.history '
    'WHERE relation = $1 AND tick <= $2 ORDER BY key, tick DESC) AS version WHERE after IS NOT NULL', column_list)
    USING target, tick;
END
$$;
