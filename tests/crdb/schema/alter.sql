-- ALTER CHANGEFEED: what a paused changefeed is from now on, and how it is described then.

-- Not quote_literal, which has a form of its own for backslashes.
CREATE OR REPLACE FUNCTION crdb_internal.quoted(value text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT '''' || replace(value, '''', '''''') || ''''
$$;

-- As CockroachDB writes the statement after a change: the tables in full, the options as stated or set, secrets hidden,
-- and nothing of the initial scan.
CREATE OR REPLACE FUNCTION crdb_internal.altered_description(full_names text[], sink text, options jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT format('CREATE CHANGEFEED FOR TABLE %s INTO %s', array_to_string(full_names, ', '), crdb_internal.quoted(sink))
    || coalesce((
      SELECT format(' WITH OPTIONS (%s)', string_agg(CASE
          WHEN value IS NULL THEN name
          WHEN name = 'webhook_auth_header' THEN name || ' = ''redacted'''
          ELSE format('%s = %s', name, crdb_internal.quoted(value)) END, ', ' ORDER BY name COLLATE "C"))
        FROM jsonb_each_text(options - ARRAY['initial_scan', 'initial_scan_only', 'no_initial_scan']) AS o(name, value)
        HAVING count(*) > 0), '')
$$;

-- `changes` is what the proxy has parsed; `late_error` in it is what CockroachDB finds after it has looked at the job.
CREATE OR REPLACE FUNCTION crdb_internal.alter_changefeed(id int8, changes jsonb) RETURNS TABLE (job_id int8, job_description text)
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  job crdb_internal.job;
BEGIN
  SELECT * INTO job FROM crdb_internal.job AS j WHERE j.id = $1 FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'could not load job with job id %: job with ID % does not exist', id, id USING ERRCODE = '22023';
  ELSIF job.status <> 'paused' THEN
    RAISE EXCEPTION 'job % is not paused', id USING ERRCODE = 'XXUUU';
  ELSIF job.scan = 'only' THEN
    RAISE EXCEPTION 'stand-in: not supported: ALTER CHANGEFEED of one with initial_scan=''only''' USING ERRCODE = '0A000';
  ELSIF changes ? 'late_error' THEN
    PERFORM crdb_internal.fail(changes #>> '{late_error,code}', changes #>> '{late_error,message}', changes #>> '{late_error,hint}');
  END IF;
  job.spec := jsonb_set(job.spec || (changes -> 'sink'), '{options}', ((job.spec -> 'options') || (changes -> 'set'))
    - ARRAY(SELECT jsonb_array_elements_text(changes -> 'unset')));
  job.sink_uri := job.spec ->> 'sink_redacted';
  job.description := crdb_internal.altered_description(job.full_names, job.sink_uri, job.spec -> 'options');
  UPDATE crdb_internal.job AS j SET spec = job.spec, sink_uri = job.sink_uri, description = job.description,
      modified = clock_timestamp() WHERE j.id = $1;
  PERFORM crdb_internal.tag('ALTER CHANGEFEED 1');
  RETURN QUERY SELECT job.id, job.description;
END
$$;
