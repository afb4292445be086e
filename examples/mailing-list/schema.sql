-- A mailing list that was there before.
create table subscribers (
    email    text primary key,
    customer text not null
);
create index subscribers_customer on subscribers (customer);
create table mails (
    id      bigint generated always as identity primary key,
    email   text not null references subscribers,
    subject varchar(60) not null
);
