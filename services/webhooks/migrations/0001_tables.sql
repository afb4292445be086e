-- The live subscriptions, in one row: who publishes an order's events finds them by one look-up.
create table directory (
    id   text primary key,
    live jsonb not null
);
-- All that were ever registered. Instants are microseconds since 1970 UTC, as on the wire. Secrets are sealed, and gone with the removal.
create table subscriptions (
    subscription_id uuid primary key,
    url             text not null,
    types           jsonb not null,
    secret          text not null,
    slot            integer not null,
    registered_at   bigint not null,
    removed_at      bigint
);
-- What of an order goes to one subscriber, in order.
create table queues (
    order_id        uuid not null,
    subscription_id uuid not null,
    deliveries      jsonb not null,
    pending         boolean not null,
    dead            boolean not null,
    primary key (order_id, subscription_id)
);
-- A subscriber's deliveries, newest order first: ids are UUIDv7. The last two are what an operator looks for.
create index queues_of_subscription on queues (subscription_id, order_id desc);
create index queues_pending on queues (subscription_id, order_id desc) where pending;
create index queues_dead on queues (subscription_id, order_id desc) where dead;
