-- Every order that was ever placed, as the fold of its events. Instants are microseconds since 1970 UTC, as on the wire.
create table orders (
    order_id  uuid primary key,
    customer  text collate "C" not null,
    currency  text not null,
    total     bigint not null check (total > 0),
    lines     jsonb not null,
    placed_at bigint not null,
    state     jsonb not null,
    history   jsonb not null
);
-- A customer's orders, newest first: ids are UUIDv7.
create index orders_of_customer on orders (customer, order_id desc);
