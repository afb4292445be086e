-- What every order's customer was told of it, as the fold of its events. Instants are microseconds since 1970 UTC, as on the wire.
create table notifications (
    order_id uuid primary key,
    details  jsonb not null,
    mails    jsonb not null,
    failed   boolean not null
);
-- What an operator looks for, newest first: ids are UUIDv7.
create index notifications_failed on notifications (order_id desc) where failed;
