-- The statements' tables, which other programs fill and read as well. Nothing in them would stop a line from being there twice.
create table accounts (
    customer_id   text primary key,
    balance_cents bigint not null default 0
);
create table lines (
    id          bigint generated always as identity primary key,
    customer_id text not null references accounts,
    booked_on   date not null,
    words       text not null,
    cents       bigint not null
);
