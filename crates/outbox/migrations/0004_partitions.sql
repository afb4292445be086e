-- What only the tables' owner may do and has to be done while services run, whose role may have rights on rows only: partitions of
-- the outbox are made ahead and dropped when they are out; see relay/partitions.rs. Each function works as who migrates, sees
-- nothing but PostgreSQL's own names, and takes no name from its caller. 1,000,000 is `ROWS`, 2 is `AHEAD` there.

-- Makes what is missing of the partition being filled and two more, and says how far seq has come.
create function farandole.make_outbox_partitions() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '5s' as $$
declare
    last  bigint := coalesce(pg_sequence_last_value(pg_get_serial_sequence('farandole.outbox', 'seq')::regclass), 0);
    first bigint;
    part  text;
begin
    for k in 0..2 loop
        first := (last / 1000000 + k) * 1000000 + 1;
        part := 'farandole.outbox_' || first;
        continue when to_regclass(part) is not null;
        -- Replicas take turns; the second finds the table there.
        perform pg_advisory_xact_lock(hashtextextended('farandole.outbox', 0));
        continue when to_regclass(part) is not null;
        -- A table made apart and attached takes only a lock that writers don't notice. `create table … partition of` would wait for
        -- every open transaction that wrote, and hold up those that come after. The check constraints spare the scan at attaching.
        -- Rows are only added, and go with the table: a vacuum would find nothing to clean up, and under an old snapshot read
        -- everything again each time. One against wraparound comes all the same.
        execute format('create table %s (like farandole.outbox including defaults including constraints including storage)
                        with (autovacuum_enabled = false, toast.autovacuum_enabled = false)', part);
        execute format('alter table farandole.outbox attach partition %s for values from (%s) to (%s)', part, first, first + 1000000);
    end loop;
    return last;
end $$;

-- Cuts a partition off that seq has left. It waits for who writes, and who comes to write waits behind it, so it gives up soon. The
-- owner does the same without anybody's waiting, by `detach partition … concurrently`, which no function can; a mark that this has
-- left is finished here.
create function farandole.detach_outbox_partition(first bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' as $$
declare
    part    text := 'farandole.outbox_' || first;
    pending boolean := (select inhdetachpending from pg_inherits where inhrelid = to_regclass(part));
begin
    if first + 1000000 > coalesce(pg_sequence_last_value(pg_get_serial_sequence('farandole.outbox', 'seq')::regclass), 0) then
        raise exception 'seq hasn''t left %', part;
    end if;
    if pending is not null then
        execute format('alter table farandole.outbox detach partition %s %s', part, case when pending then 'finalize' else '' end);
    end if;
end $$;

-- Drops a partition that was cut off, if it holds as many rows as were published of it and all of them are visible in a snapshot.
create function farandole.drop_outbox_partition(first bigint, published bigint, out_at pg_snapshot) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' as $$
declare
    part   text := 'farandole.outbox_' || first;
    is_out boolean;
begin
    if exists (select from pg_inherits where inhrelid = to_regclass(part)) then
        raise exception '% is attached', part;
    end if;
    execute format('select count(*) = $1 and coalesce(bool_and(pg_visible_in_snapshot(xid, $2)), true) from %s', part)
        into is_out using published, out_at;
    if is_out then
        execute 'drop table ' || part;
    end if;
    return is_out;
end $$;

revoke execute on function farandole.make_outbox_partitions(), farandole.detach_outbox_partition(bigint),
    farandole.drop_outbox_partition(bigint, bigint, pg_snapshot) from public;
