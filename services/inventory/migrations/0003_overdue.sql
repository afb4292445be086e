-- Goods that are set aside, oldest first: few of all that ever were.
create index reservations_open on reservations (((state ->> 'since')::bigint)) where state ->> 'state' = 'reserved';
