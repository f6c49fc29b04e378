-- What a key has at CockroachDB and not at PostgreSQL: hidden columns, shards of USING HASH, regions of REGIONAL BY ROW, and
-- ALTER PRIMARY KEY, which changes the shape of `key` from one commit on.

CREATE OR REPLACE FUNCTION crdb_internal.is_shard(name text) RETURNS bool LANGUAGE sql IMMUTABLE AS $$
  SELECT name ~ '^crdb_internal_.+_shard_[0-9]+$'
$$;

-- NOT VISIBLE is kept as a constraint of this name, which checks nothing. A shard is always hidden.
CREATE OR REPLACE FUNCTION crdb_internal.is_hidden(target oid, name text) RETURNS bool LANGUAGE sql STABLE
SET search_path = pg_catalog AS $$
  SELECT crdb_internal.is_shard(name)
    OR EXISTS (SELECT FROM pg_constraint WHERE conrelid = target AND conname = 'crdb_not_visible:' || name)
$$;

-- Which of the buckets a row is in. CockroachDB hashes by another function; what matters is that nobody can foretell it.
CREATE OR REPLACE FUNCTION crdb_internal.bucket(parts text[], buckets int4) RETURNS int4 LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT ((pg_catalog.hashtext(parts::text)::int8 & 2147483647) % buckets)::int4
$$;

-- The text of a value is not the same under all settings; that of a key's types is stable enough for a shard.
CREATE OR REPLACE FUNCTION crdb_internal.part(value anyelement) RETURNS text LANGUAGE plpgsql IMMUTABLE
SET datestyle = 'ISO, YMD' SET timezone = 'UTC' SET intervalstyle = postgres SET bytea_output = hex AS $$
BEGIN
  RETURN value::text;
END
$$;

-- The primary key moves onto these columns; the old one stays unique, as CockroachDB leaves it. `additions` are columns
-- that the table gets in the same step, so that the capture sees one change only.
CREATE OR REPLACE FUNCTION crdb_internal.move_primary_key(target regclass, additions text[], columns text[], keeps text[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  old record;
  list text := (SELECT string_agg(quote_ident(c), ', ' ORDER BY n) FROM unnest(columns) WITH ORDINALITY AS u(c, n));
  kept text := (SELECT string_agg(quote_ident(c), ', ' ORDER BY n) FROM unnest(keeps) WITH ORDINALITY AS u(c, n));
  changes text[] := ARRAY(SELECT 'ADD COLUMN ' || a FROM unnest(additions) AS a);
BEGIN
  SELECT conname, oid, conindid INTO old FROM pg_constraint WHERE conrelid = target AND contype = 'p';
  IF EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND conindid = old.conindid) THEN
    RAISE EXCEPTION 'stand-in: not supported: a new primary key of %, which other tables refer to', target USING ERRCODE = '0A000';
  END IF;
  changes := changes || format('DROP CONSTRAINT %I', old.conname) || format('ADD CONSTRAINT %I PRIMARY KEY (%s)', old.conname, list);
  IF kept IS NOT NULL THEN
    changes := changes || format('ADD CONSTRAINT %I UNIQUE (%s)', 'crdb_internal_key_' || old.oid, kept);
  END IF;
  EXECUTE format('ALTER TABLE %s %s', target, array_to_string(changes, ', '));
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.key_columns(target oid) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog AS $$
  SELECT array_agg(a.attname::text ORDER BY k.n) FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attribute, n)
    JOIN pg_attribute a ON a.attnum = k.attribute
    WHERE i.indrelid = target AND i.indisprimary AND a.attrelid = target
$$;

-- 0 buckets is a key that is not sharded.
CREATE OR REPLACE PROCEDURE crdb_internal.alter_primary_key(target regclass, columns text[], buckets int4) LANGUAGE plpgsql AS $$
DECLARE
  old text[] := ARRAY(SELECT c FROM unnest(crdb_internal.key_columns(target)) WITH ORDINALITY AS u(c, n)
    WHERE NOT crdb_internal.is_shard(c) ORDER BY n);
  shard text := 'crdb_internal_' || array_to_string(columns, '_') || '_shard_' || buckets;
  parts text := (SELECT string_agg(format('crdb_internal.part(%I)', c), ', ' ORDER BY n)
    FROM unnest(columns) WITH ORDINALITY AS u(c, n));
  is_permuted bool := old @> columns AND columns @> old;
BEGIN
  IF buckets = 0 THEN
    PERFORM crdb_internal.move_primary_key(target, '{}', columns, CASE WHEN NOT is_permuted THEN old END);
  ELSE
    PERFORM crdb_internal.move_primary_key(target,
      ARRAY[format('%I int4 NOT NULL GENERATED ALWAYS AS (crdb_internal.bucket(ARRAY[%s], %s)) STORED', shard, parts, buckets)],
      shard || columns, CASE WHEN is_permuted THEN columns ELSE old END);
  END IF;
  PERFORM crdb_internal.tag('ALTER TABLE');
END
$$;

-- The database is taken for one of several regions, of which these are the first three.
CREATE OR REPLACE PROCEDURE crdb_internal.regional_by_row(target regclass) LANGUAGE plpgsql AS $$
DECLARE
  old text[] := crdb_internal.key_columns(target);
BEGIN
  IF to_regtype('public.crdb_internal_region') IS NULL THEN
    CREATE TYPE public.crdb_internal_region AS ENUM ('europe-west1', 'us-east1', 'us-west1');
  END IF;
  IF NOT 'crdb_region' = ANY(old) THEN
    PERFORM crdb_internal.move_primary_key(target,
      ARRAY['crdb_region public.crdb_internal_region NOT NULL DEFAULT ''us-east1'' '
        || 'CONSTRAINT "crdb_not_visible:crdb_region" CHECK (true)'],
      'crdb_region'::text || old, old);
  END IF;
  PERFORM crdb_internal.tag('ALTER TABLE');
END
$$;

-- PostgreSQL stores what CockroachDB computes when it is read.
CREATE OR REPLACE VIEW crdb_internal.pg_attribute AS
  SELECT attrelid, attname, atttypid, attstattarget, attlen, attnum, attndims, attcacheoff, atttypmod, attbyval, attalign,
    attstorage, attcompression, attnotnull, atthasdef, atthasmissing, attidentity,
    CASE WHEN crdb_internal.is_shard(attname) THEN 'v'::"char" ELSE attgenerated END AS attgenerated,
    attisdropped, attislocal, attinhcount, attcollation, attacl, attoptions, attfdwoptions
  FROM pg_catalog.pg_attribute;
GRANT SELECT ON crdb_internal.pg_attribute TO PUBLIC;

-- `information_schema.key_column_usage` of primary keys, as it was at a time.
CREATE OR REPLACE FUNCTION crdb_internal.key_columns_as_of(moment text) RETURNS TABLE (constraint_schema text,
  constraint_name text, table_schema text, table_name text, column_name text, ordinal_position int4)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  until int8 := crdb_internal.parse_tick(moment);
BEGIN
  PERFORM crdb_internal.await_tick(until);
  RETURN QUERY SELECT n.nspname::text, c.conname::text, n.nspname::text, t.relname::text,
      s.names[array_position(s.columns, k.attribute)], k.n::int4
    FROM (SELECT DISTINCT ON (shape.relation) shape.* FROM crdb_internal.shape WHERE shape.tick <= until
        ORDER BY shape.relation, shape.id DESC) AS s
      JOIN pg_class t ON t.oid = s.relation JOIN pg_namespace n ON n.oid = t.relnamespace
      JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype = 'p',
      unnest(s.key) WITH ORDINALITY AS k(attribute, n);
END
$$;

-- `pg_index` of primary keys and unique indexes, as it was at a time. CockroachDB makes another primary index for a new key, and
-- for many other changes of a table; here every change of a table does.
DROP FUNCTION IF EXISTS crdb_internal.primary_indexes_as_of;
CREATE OR REPLACE FUNCTION crdb_internal.indexes_as_of(moment text) RETURNS TABLE (indexrelid int8, indrelid oid,
  indisprimary bool, indisunique bool, indisvalid bool, indkey int2vector, indnkeyatts int2, indpred text, indexprs text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  until int8 := crdb_internal.parse_tick(moment);
BEGIN
  PERFORM crdb_internal.await_tick(until);
  RETURN QUERY SELECT i.id::int8, i.relation, i.is_primary, true, true, array_to_string(i.columns, ' ')::int2vector,
      cardinality(i.columns)::int2, NULL::text, NULL::text
    FROM (
      (SELECT DISTINCT ON (s.relation) s.id, s.relation, true, s.key FROM crdb_internal.shape AS s WHERE s.tick <= until
        ORDER BY s.relation, s.id DESC)
      UNION ALL SELECT u.index::int8, u.relation, false, u.columns FROM crdb_internal.unique_index AS u
        WHERE u.tick <= until AND coalesce(u.dropped > until, true)
    ) AS i (id, relation, is_primary, columns);
END
$$;
