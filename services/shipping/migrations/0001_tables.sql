-- How far each order's parcel has come.
create table shipments (
    order_id  uuid primary key,
    recipient text not null,
    state     jsonb not null
);
