-- Points by the order that earned them, so that an order heard twice earns once.
create table earnings (
    order_id uuid primary key,
    customer text collate "C" not null,
    points   bigint not null check (points >= 0)
);
create index earnings_of_customer on earnings (customer) include (points);
