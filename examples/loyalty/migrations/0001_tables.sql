create table accounts (
    customer text collate "C" primary key,
    points   bigint not null check (points >= 0)
);
