-- Instants are microseconds since 1970, as in the events.
create table items (
    item_id    uuid primary key,
    label      text not null,
    added_at   bigint not null,
    expires_at bigint not null,
    expired    boolean not null
);
