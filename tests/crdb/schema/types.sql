-- Which types CockroachDB has too, how it spells them, and how their text becomes JSON.

CREATE TABLE IF NOT EXISTS crdb_internal.scalar (type oid PRIMARY KEY, kind text NOT NULL, spelling text NOT NULL);
TRUNCATE crdb_internal.scalar;
-- Views that every user may read ask for it.
GRANT SELECT ON crdb_internal.scalar TO PUBLIC;
INSERT INTO crdb_internal.scalar VALUES
  ('bool'::regtype, 'bool', 'BOOL'),
  ('int2'::regtype, 'integer', 'INT2'),
  ('int4'::regtype, 'integer', 'INT4'),
  ('int8'::regtype, 'integer', 'INT8'),
  ('float4'::regtype, 'float', 'FLOAT4'),
  ('float8'::regtype, 'float', 'FLOAT8'),
  ('numeric'::regtype, 'decimal', 'DECIMAL'),
  ('text'::regtype, 'string', 'STRING'),
  ('varchar'::regtype, 'string', 'VARCHAR'),
  ('bpchar'::regtype, 'string', 'CHAR'),
  ('"char"'::regtype, 'string', '"char"'),
  ('name'::regtype, 'string', 'NAME'),
  ('bytea'::regtype, 'string', 'BYTES'),
  ('date'::regtype, 'string', 'DATE'),
  ('time'::regtype, 'string', 'TIME'),
  ('timetz'::regtype, 'string', 'TIMETZ'),
  ('timestamp'::regtype, 'timestamp', 'TIMESTAMP'),
  ('timestamptz'::regtype, 'timestamptz', 'TIMESTAMPTZ'),
  ('interval'::regtype, 'string', 'INTERVAL'),
  ('uuid'::regtype, 'string', 'UUID'),
  ('inet'::regtype, 'inet', 'INET'),
  ('json'::regtype, 'json', 'JSONB'),
  ('jsonb'::regtype, 'json', 'JSONB'),
  ('bit'::regtype, 'string', 'BIT'),
  ('varbit'::regtype, 'string', 'VARBIT'),
  ('tsvector'::regtype, 'string', 'TSVECTOR'),
  ('tsquery'::regtype, 'string', 'TSQUERY'),
  ('oid'::regtype, 'string', 'OID'),
  ('pg_lsn'::regtype, 'string', 'PG_LSN');

-- 'unsupported' where a changefeed of CockroachDB could not hold the type, or where its text there is not known.
CREATE OR REPLACE FUNCTION crdb_internal.kind(type oid) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN t.typtype = 'd' THEN crdb_internal.kind(t.typbasetype)
    WHEN t.typtype = 'e' THEN 'string'
    WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN crdb_internal.kind(t.typelem) || '[]'
    WHEN t.typname = 'citext' THEN 'string'
    ELSE coalesce((SELECT s.kind FROM crdb_internal.scalar AS s WHERE s.type = t.oid), 'unsupported')
  END
  FROM pg_catalog.pg_type AS t WHERE t.oid = $1
$$;

CREATE OR REPLACE FUNCTION crdb_internal.spelling(type oid, modifier int4) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN t.typtype = 'e' THEN format('%s.%s', n.nspname, t.typname)
    WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN crdb_internal.spelling(t.typelem, $2) || '[]'
    ELSE coalesce(
      (SELECT s.spelling FROM crdb_internal.scalar AS s WHERE s.type = t.oid)
        || coalesce(substring(format_type($1, $2) FROM '\([0-9, ]+\)'), ''),
      upper(format_type($1, $2)))
  END
  FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace WHERE t.oid = $1
$$;
