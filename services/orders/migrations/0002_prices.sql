-- What articles cost and since when: a list that the price list's owner fills, and no event. Instants are microseconds since 1970 UTC.
create table prices (
    sku        text collate "C" not null,
    currency   text collate "C" not null,
    valid_from bigint not null,
    unit_price bigint not null check (unit_price >= 0),
    primary key (sku, currency, valid_from)
);
