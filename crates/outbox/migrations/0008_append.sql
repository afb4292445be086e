-- `append` as in 0007, but that it asks for the payload's type by its number and not its name, which `quote_all_identifiers` changes; for
-- the role that is in force, also after `set role`; and heeds no number of locks that somebody has set to something else.
create or replace function farandole.append(
    topic text, key text, type text, payload anyelement, headers jsonb default null, cause text default null,
    correlation uuid default null, traceparent text default null, id uuid default null, key_is_locked boolean default false
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    what    text := coalesce(nullif(append.type, ''), 'event of no type');
    given   regtype := pg_typeof(payload);
    role    text := coalesce(nullif(current_setting('role', true), 'none'), session_user); -- also after `set role`
    bytes   bytea;
    extra   jsonb := coalesce(append.headers, '{}');
    named   text;
    size    bigint;
    locked  int;
    new_id  uuid := coalesce(append.id, gen_random_uuid());
begin
    if append.topic is null or append.topic !~ '^[A-Za-z0-9._-]{1,249}$' or append.topic in ('.', '..') then
        raise exception '% can''t be published: `topic` is no name of a topic: 1 to 249 letters, digits, `.`, `_` and `-`', what
            using errcode = '22023';
    end if;
    -- One row whose topic isn't there holds up all that come after it. Who may write to the table could do that anyway; others name topics
    -- that somebody has declared.
    if not has_table_privilege(role, 'farandole.outbox', 'insert') and exists (select from farandole.topics)
       and not exists (select from farandole.topics d where d.topic = append.topic) then
        raise exception '% can''t be published to `%`: the relay of this database declares %, and role % may publish to these only', what,
            append.topic, (select string_agg(d.topic, ', ' order by d.topic) from farandole.topics d), role using errcode = '22023';
    end if;
    -- A service's topic is the log of its state, and the journal tells of it: what is in them follows from decisions.
    if exists (select from farandole.owner o where append.topic in (o.topic, o.topic || '.journal')) then
        raise exception '% can''t be published to `%`: that is the service''s own, which only the service writes; publish to a topic of yours',
            what, append.topic using errcode = '22023';
    end if;
    if append.type is null or append.type = '' or octet_length(append.type) > 512 then
        raise exception '% can''t be published: `type` has to be 1 to 512 bytes: the full name of the event''s type', what
            using errcode = '22023';
    end if;
    if append.key is null or append.key = '' then
        raise exception '% without a key: events are ordered by key, so each needs one', what using errcode = '22023';
    end if;
    if jsonb_typeof(extra) <> 'object' or exists (select from jsonb_each(extra) where jsonb_typeof(value) <> 'string') then
        raise exception '% can''t be published: `headers` have to be a JSON object of strings', what using errcode = '22023';
    end if;
    select h.name into named from jsonb_object_keys(extra) as h(name)
    where h.name in ('ce_specversion', 'ce_id', 'ce_source', 'ce_type', 'ce_subject', 'ce_time', 'traceparent', 'farandole') limit 1;
    if named is not null then
        raise exception '% can''t be published: `headers` name `%`, which the relay writes itself; a trace context is `traceparent`, an id `id`',
            what, named using errcode = '22023';
    end if;
    if payload is null then
        raise exception '% can''t be published: `payload` is null; an event has a value', what using errcode = '22023';
    elsif given = 'bytea'::regtype then
        bytes := payload;
        extra := '{"content-type": "application/avro"}'::jsonb || extra;
    elsif given in ('jsonb'::regtype, 'json'::regtype) then
        bytes := convert_to(payload::text, 'UTF8');
        extra := '{"content-type": "application/json"}'::jsonb || extra;
    else
        raise exception '% can''t be published: `payload` is of type %: cast it to jsonb or bytea', what, given using errcode = '22023';
    end if;
    named := extra ->> 'content-type';
    if named = '' or octet_length(named) > 512 then
        raise exception '% can''t be published: `content-type` has to be 1 to 512 bytes: `application/json`, say', what
            using errcode = '22023';
    end if;
    size := (select count(*) from jsonb_object_keys(extra));
    if size > 200 then
        raise exception '%: % additional headers; the limit is 200', what, size using errcode = '22023';
    end if;
    if named = 'application/avro' and (octet_length(bytes) < 5 or get_byte(bytes, 0) <> 0) then
        raise exception '% can''t be published: `payload` is said to be Avro, and doesn''t begin with a zero byte and its schema''s id', what
            using errcode = '22023', hint = 'Another format is named so: headers => ''{"content-type": "application/x-protobuf"}''.';
    end if;
    if octet_length(append.cause) > 1024 then
        raise exception '%: the cause has % bytes; the limit is 1024', what, octet_length(append.cause) using errcode = '22023';
    end if;
    -- What isn't a trace context is left out, as everywhere.
    if append.traceparent !~ '^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$'
       or append.traceparent ~ '^00.{53}.' or octet_length(append.traceparent) > 128 then
        traceparent := null;
    end if;
    select octet_length(bytes)::bigint + 2 * octet_length(append.key) + octet_length(append.type)
           + 3 * coalesce(octet_length(append.cause), 0) + coalesce(octet_length(append.traceparent), 0)
           + sum(octet_length(h.key) + octet_length(h.value) + 6) + 1024
    into size from jsonb_each_text(extra) h;
    if size > 1048576 then
        raise exception '%: the record would have % bytes with key and headers; the limit is 1048576: store the rest elsewhere and publish a reference', what, size
            using errcode = '22023';
    end if;

    perform pg_advisory_xact_lock_shared(7377303427399053164);
    if not coalesce(append.key_is_locked, false) then
        locked := coalesce(substring(current_setting('farandole.locks', true) from '^\d{1,6}$'), '0')::int + 1;
        perform set_config('farandole.locks', locked::text, true);
        if locked > 1000 then
            perform pg_advisory_xact_lock(hashtextextended('outbox/' || append.topic, 0));
        else
            perform pg_advisory_xact_lock_shared(hashtextextended('outbox/' || append.topic, 0));
            perform pg_advisory_xact_lock(hashtextextended('outbox/' || append.topic || '/' || append.key, 0));
        end if;
    end if;
    -- The clock is read with the lock held: of one key no time is before that of the event before it.
    insert into farandole.outbox
        (topic, id, aggregatetype, aggregateid, type, payload, time, cause, correlation, i, n, traceparent, headers)
    values (append.topic, new_id, append.topic, append.key, append.type, bytes, clock_timestamp(),
            coalesce(append.cause, 'transaction/' || new_id), coalesce(append.correlation, new_id), 1, 1, append.traceparent,
            nullif(case when named = 'application/avro' then extra - 'content-type' else extra end, '{}')); -- Avro is what no word means
    return new_id;
end $$;

