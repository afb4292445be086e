-- The table of the example on the crate's first page, `doc/loyalty.rs`. The kit's own tables are made by `farandole_outbox::migrate`.
create table accounts (customer text primary key, points bigint not null);
