-- What each day has brought, as it was told last, and how often it was told.
create table revenue (
    day         date not null,
    currency    text not null,
    orders      bigint not null,
    revenue     bigint not null,
    reported_at timestamptz not null,
    reports     bigint not null,
    primary key (day, currency)
);
