-- Billing's table, as it was before anybody thought of events.
create table invoices (
    id          uuid primary key default gen_random_uuid(),
    customer_id text not null,
    cents       bigint not null check (cents > 0),
    due_on      date not null,
    paid_on     date
);
