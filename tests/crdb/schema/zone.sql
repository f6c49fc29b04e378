-- Zone configurations: of each table only for how long its history is kept.

CREATE TABLE IF NOT EXISTS crdb_internal.zone (relation oid PRIMARY KEY, ttl_seconds int8 NOT NULL);

CREATE OR REPLACE PROCEDURE crdb_internal.configure_zone(target regclass, ttl int8) LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO crdb_internal.zone VALUES (target, ttl) ON CONFLICT (relation) DO UPDATE SET ttl_seconds = EXCLUDED.ttl_seconds;
END
$$;

CREATE OR REPLACE FUNCTION crdb_internal.show_zone_configuration(of_table regclass) RETURNS TABLE (target text, raw_config_sql text)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
  name text := (SELECT format('%I.%I.%I', current_database(), n.nspname, c.relname) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = of_table);
  own int8 := (SELECT z.ttl_seconds FROM crdb_internal.zone AS z WHERE z.relation = of_table);
BEGIN
  PERFORM crdb_internal.check_throttle();
  RETURN QUERY SELECT CASE WHEN own IS NULL THEN 'RANGE default' ELSE 'TABLE ' || name END,
    CASE WHEN own IS NULL THEN 'ALTER RANGE default' ELSE 'ALTER TABLE ' || name END || E' CONFIGURE ZONE USING\n'
      '    range_min_bytes = 134217728,' || E'\n    range_max_bytes = 536870912,\n    gc.ttlseconds = ' || coalesce(own, 14400)
      || E',\n    num_replicas = 3,\n    constraints = ''[]'',\n    lease_preferences = ''[]''';
END
$$;

-- Nothing is partitioned here.
CREATE OR REPLACE FUNCTION crdb_internal.show_partitions(target regclass) RETURNS TABLE (
  database_name text, table_name text, partition_name text, parent_partition text, column_names text, index_name text,
  partition_value text, zone_config text, full_zone_config text
) LANGUAGE sql STABLE AS $$
  SELECT NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text WHERE false
$$;
