create table claims (
    invoice_id  uuid primary key,
    customer_id text collate "C" not null,
    cents       bigint not null,
    settled     boolean not null,
    reminders   bigint not null
);
create index claims_of_customer on claims (customer_id) where not settled;
