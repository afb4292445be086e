-- The transaction that opened a task, and wrote its event: an effect is called once the relay's snapshot of what is acknowledged shows
-- it, so that no database can be set back to before a call that its topic doesn't tell of. Null in rows of builds that didn't wait, and in
-- those that a heal read from the topic.
alter table farandole.tasks add column xid xid8;
alter table farandole.tasks alter column xid set default pg_current_xact_id();

-- Of which topic a foreign record was: a position that is set back has them come again. Null in rows of earlier builds, which go in time.
alter table farandole.strangers add column topic text collate "C";
