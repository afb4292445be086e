create table accounts (
    customer text collate "C" primary key,
    points   bigint not null check (points >= 0)
);
-- Orders that have earned, so that one heard twice earns once.
create table earnings (
    order_id uuid primary key,
    points   bigint not null
);
