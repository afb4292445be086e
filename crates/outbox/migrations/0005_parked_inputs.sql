-- Parked inputs are records, or deadlines and outcomes of effects; each is held by whatever waits under either of its names: its
-- aggregate (`aggregate`), and its record's or task's key (`also`, when it is another). See parking.rs.
alter table farandole.parked
    alter column topic drop not null,
    alter column partition drop not null,
    alter column record_offset drop not null,
    add column also text collate "C",
    -- Counted against the limit of failures a minute: not what only waits behind another, or for something.
    add column failed_at timestamptz,
    -- A task: `cause` is the event that opened it, `task` the rest of it as JSON. Text, since an outcome may hold what jsonb refuses.
    add column task_kind text check (task_kind in ('deadline', 'outcome')),
    add column task_name text collate "C",
    add column task_key text collate "C",
    add column task_cause uuid,
    add column task text,
    add constraint parked_one_input check ((task is null) = (topic is not null));
create index parked_also on farandole.parked (reader, also, seq) where also is not null;
create index parked_failed on farandole.parked (reader, failed_at) where failed_at is not null;
create index parked_task on farandole.parked (reader, task_name, task_key) where task_name is not null;
-- From now on a head is a row that may be first under one of its names.
update farandole.parked set head = true
where not head and seq in (select min(seq) from farandole.parked group by reader, aggregate);

-- Answers go after a time; see tidy.rs.
create index idempotency_at on farandole.idempotency (at);

-- Outbox partitions that earlier builds made: rows are only added, and go with the table; see relay/partitions.rs.
do $$
declare
    part regclass;
begin
    for part in select inhrelid::regclass from pg_inherits where inhparent = 'farandole.outbox'::regclass loop
        execute format('alter table %s set (autovacuum_enabled = false, toast.autovacuum_enabled = false)', part);
    end loop;
end $$;
