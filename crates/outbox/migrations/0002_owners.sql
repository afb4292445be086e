-- Whose a row is. A database belongs to one service; in it, each reader of topics has positions, parked inputs and memories of
-- its own. Before this, rows didn't say; those have reader '', and go to the first reader of their topic that starts.
-- Stop builds from before this migration: they stand still on a database that has it, and go on nowhere that others were since.

-- The service whose outbox, relay, tasks and answers these are: one row.
create table farandole.owner (
    one     boolean primary key default true check (one),
    service text not null,
    -- The service's own topic, if it has one: the log of its state.
    topic   text,
    since   timestamptz not null default clock_timestamp()
);

-- Who reads topics here: a service under its name, others under their consumer group or the name that they give.
create table farandole.readers (
    reader  text collate "C" primary key,
    -- It goes on from rows that didn't say whose they were.
    adopted boolean not null default false,
    since   timestamptz not null default clock_timestamp()
);

alter table farandole.parked add column reader text collate "C" not null default '';
drop index farandole.parked_aggregate;
drop index farandole.parked_retry;
create index parked_aggregate on farandole.parked (reader, aggregate, seq);
create index parked_retry on farandole.parked (reader, retry_at) where head;

alter table farandole.strangers add column reader text collate "C" not null default '';
alter table farandole.strangers drop constraint strangers_pkey, add primary key (reader, source, id);

alter table farandole.applied add column reader text collate "C" not null default '';
alter table farandole.applied drop constraint applied_pkey, add primary key (reader, topic, partition, record_offset);

-- Tasks are told apart by the event that opened them: what has the same name and key is several tasks.
drop index farandole.tasks_open;
-- Under what an effect is asked for. Null in rows of builds that used the event's id.
alter table farandole.tasks add column idempotency_key uuid;

-- The scope of a task's claims. `/` ends a part, so that no two tasks share a scope.
create function farandole.claim(name text, key text, cause uuid) returns text immutable parallel safe
    return 'claim/' || replace(replace(name, '%', '%25'), '/', '%2F') || '/' || key || '/' || cause;

-- Names under which inputs are parked say which bytes they are made from; see `name` in parking.rs. What was parked under a
-- name that said less gets its own, so that what comes later for it still queues behind it.
with named as (
    select seq, case
        when aggregate like 'sha256:%' and octet_length(key) > 512 then ':sha256:' || encode(sha256(key), 'hex')
        when strpos(aggregate, chr(65533)) > 0 and key <> convert_to(aggregate, 'UTF8') then
            case when octet_length(key) > 250 then ':sha256:' || encode(sha256(key), 'hex') else ':hex:' || encode(key, 'hex') end
        when aggregate like ':%' then
            case when octet_length(aggregate) > 250 then ':sha256:' || encode(sha256(convert_to(aggregate, 'UTF8')), 'hex')
                 else ':hex:' || encode(convert_to(aggregate, 'UTF8'), 'hex') end
        else aggregate end as name
    from farandole.parked
)
update farandole.parked p set aggregate = n.name from named n where n.seq = p.seq and n.name <> p.aggregate;
