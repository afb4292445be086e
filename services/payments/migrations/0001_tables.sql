-- How far each order's payment has come.
create table payments (
    order_id uuid primary key,
    state    jsonb not null
);
