-- Billing as it was before anybody thought of events.
create table invoices (
    id        bigint generated always as identity primary key,
    customer  text not null,
    cents     bigint not null check (cents > 0),
    issued_at timestamptz not null default now()
);
