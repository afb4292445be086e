-- Counts that were put right, and what has left the house: received + adjusted = available + reserved + shipped, and none but
-- `adjusted` is negative.
alter table stock add column adjusted bigint not null default 0;
alter table stock add column shipped bigint not null default 0 check (shipped >= 0);
alter table stock drop constraint stock_check;
alter table stock add constraint stock_check check (reserved + shipped <= received + adjusted);
