-- What came in and what of it is set aside; available = received - reserved.
create table stock (
    sku      text collate "C" primary key,
    received bigint not null check (received >= 0),
    reserved bigint not null check (reserved >= 0),
    check (reserved <= received)
);
-- What became of each order's request for stock.
create table reservations (
    order_id uuid primary key,
    state    jsonb not null
);
