create table payments (
    id      bigint generated always as identity primary key,
    invoice bigint not null references invoices,
    cents   bigint not null check (cents > 0),
    paid_at timestamptz not null default now()
);
