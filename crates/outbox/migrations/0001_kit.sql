-- The kit's own tables. They live in schema `farandole` and are migrated apart from the service's own.
create schema if not exists farandole;

-- The step log: relay state, positions and claims. Appended, never updated; see step.rs.
create table farandole.steps (
    scope    text collate "C" not null,
    step     bigint not null,
    state    jsonb not null,
    taken_at timestamptz not null default clock_timestamp(),
    primary key (scope, step)
);

-- Column names are those that Debezium's outbox router expects where it has one for the purpose.
-- Partitions are made ahead by the relay; there is no default partition, so that none fills unseen.
create table farandole.outbox (
    seq           bigint generated always as identity,
    xid           xid8 not null default pg_current_xact_id(),
    topic         text not null,
    id            uuid not null,
    aggregatetype text not null,
    aggregateid   text not null check (aggregateid <> ''),
    type          text not null,
    payload       bytea not null,
    time          timestamptz not null,
    cause         text not null,
    correlation   uuid not null,
    i             smallint not null,
    n             smallint not null,
    traceparent   text,
    command       text,
    headers       jsonb
) partition by range (seq);
create index outbox_xid on farandole.outbox (xid);
create index outbox_seq on farandole.outbox (seq);

-- Answers already given, by who asked and under which key. The answer follows from the events that were written with it.
create table farandole.idempotency (
    scope     text collate "C" not null,
    key       text collate "C" not null,
    body_hash bytea not null,
    status    smallint not null,
    answer    jsonb not null,
    at        timestamptz not null default clock_timestamp(),
    primary key (scope, key)
);

-- Inputs that can't be processed, and everything later for the same aggregate, in order.
create table farandole.parked (
    seq          bigint generated always as identity primary key,
    aggregate    text collate "C" not null,
    topic        text not null,
    partition    int not null,
    record_offset bigint not null,
    key          bytea,
    value        bytea,
    headers      jsonb not null,
    reason       text not null,
    -- A head is what failed; what queues behind it only waits.
    head         boolean not null,
    attempts     int not null default 0,
    retry_at     timestamptz not null default clock_timestamp(),
    parked_at    timestamptz not null default clock_timestamp()
);
create index parked_aggregate on farandole.parked (aggregate, seq);
create index parked_retry on farandole.parked (retry_at) where head;

-- Deadlines and effects to run. Of one name and key one is open; a started effect that was closed stays, `closed`, until its
-- outcome is in, since that is still wanted. `cause` (the event that opened it) tells apart what has the same name and key.
-- Attempts and leases are steps of scope `claim/<name>/<key>/<cause>`; see agenda.rs.
create table farandole.tasks (
    name        text collate "C" not null,
    key         text collate "C" not null,
    cause       uuid not null,
    kind        text not null check (kind in ('deadline', 'effect')),
    due         timestamptz not null,
    target      text,
    effect      jsonb,
    closed      boolean not null default false,
    correlation uuid not null,
    traceparent text,
    opened_at   timestamptz not null default clock_timestamp(),
    primary key (name, key, cause)
);
create unique index tasks_open on farandole.tasks (name, key) where not closed;
create index tasks_due on farandole.tasks (kind, due, name, key, cause);

-- Schemas seen, by their registry id: a registry that is down stops nobody who has started before.
create table farandole.schemas (
    id      int primary key,
    schema  text not null
);
-- What was registered from here, every version: the old and the new build of a service both start without the registry.
create table farandole.subjects (
    subject     text collate "C" not null,
    fingerprint bytea not null,
    id          int not null,
    primary key (subject, fingerprint)
);

-- Records of foreign producers (without a `farandole` header) that were applied, for as long as one may come again.
create table farandole.strangers (
    source  text collate "C" not null,
    id      text collate "C" not null,
    seen_at timestamptz not null default clock_timestamp(),
    primary key (source, id)
);
create index strangers_seen on farandole.strangers (seen_at);

-- Inputs that a heal found to be applied although the position is older, until that is behind them; see intake/applied.rs.
create table farandole.applied (
    topic         text collate "C" not null,
    partition     int not null,
    record_offset bigint not null,
    primary key (topic, partition, record_offset)
);
