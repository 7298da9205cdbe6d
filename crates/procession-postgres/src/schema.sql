-- Version 1. The conditions of the partial indices are those in names.rs.

create table {s}.meta (
    one boolean primary key default true check (one),
    -- The version of the schema, and the oldest version that may use it.
    version integer not null,
    oldest integer not null,
    -- Grows with each new timeline.
    epoch bigint not null default 0,
    -- All later tokens are greater.
    floor bigint not null default 0,
    timeline bigint
);
insert into {s}.meta (version, oldest) values (1, 1);

-- The ids of managers, and the numbers of their requests.
create sequence {s}.manager_ids;
-- Grows with each change that others should know of.
create sequence {s}.changes;

create table {s}.managers (
    id bigint primary key,
    -- The number of its last request, and what it asks for: how many units, and whether it has joined.
    request bigint not null default 0,
    wanted bigint not null default 0,
    is_joining boolean not null default false,
    name text not null,
    kinds text[] collate "C" not null,
    ttl_ms bigint not null,
    expires_at timestamptz not null,
    is_draining boolean not null default false,
    -- Null until somebody ends the lease: then, which of the units are to blame.
    blamed text collate "C" check (blamed in ('nobody', 'suspects', 'all'))
) with (fillfactor = 50);

create table {s}.units (
    key text collate "C" primary key,
    kind text collate "C" not null,
    spec text not null,
    generation bigint not null default 1,
    -- The generation that the owner runs.
    running bigint not null default 0,
    desired text collate "C" not null default 'run' check (desired in ('run', 'stop', 'remove')),
    is_done boolean not null default false,
    is_quarantined boolean not null default false,
    owner bigint,
    token bigint not null default 0,
    -- The greatest number of a record of the current claim.
    recorded bigint not null default 0,
    is_ready boolean not null default false,
    is_steady boolean not null default false,
    starts bigint not null default 0,
    failures bigint not null default 0,
    crashes bigint not null default 0,
    -- The manager whose end was its last crash.
    crashed_with bigint,
    last_error text
) with (fillfactor = 80);

create index units_free on {s}.units (kind)
    where owner is null and desired = 'run' and not is_quarantined and not is_done and crashes < 2;
create index units_crashed on {s}.units (kind)
    where owner is null and desired = 'run' and not is_quarantined and not is_done and crashes >= 2;
create index units_owned on {s}.units (owner) where owner is not null;
create index units_ordered on {s}.units (owner)
    where owner is not null and (desired <> 'run' or is_quarantined or generation <> running);
create index units_crashed_with on {s}.units (crashed_with) where crashed_with is not null;
-- A manager owns at most one unit on probation.
create unique index units_probation on {s}.units (owner)
    where owner is not null and crashes >= 2 and not is_steady;

-- The number of units of each kind that should run.
create table {s}.kinds (
    kind text collate "C" primary key,
    wanted bigint not null
) with (fillfactor = 50);

create function {s}.changed() returns void language plpgsql as {q}
begin
    perform pg_catalog.pg_notify({channel}, '');
    perform pg_catalog.nextval({changes}::pg_catalog.regclass);
end
{q};

create function {s}.count_units() returns trigger language plpgsql as {q}
begin
    if tg_op = 'INSERT' then
        insert into {s}.kinds as k (kind, wanted)
            select kind, count(*) from new_rows
            where desired = 'run' and not is_quarantined and not is_done
            group by kind order by kind
            on conflict (kind) do update set wanted = k.wanted + excluded.wanted;
    elsif tg_op = 'UPDATE' then
        insert into {s}.kinds as k (kind, wanted)
            select kind, sum(one) from (
                select kind, 1 as one from new_rows
                where desired = 'run' and not is_quarantined and not is_done
                union all
                select kind, -1 from old_rows
                where desired = 'run' and not is_quarantined and not is_done
            ) as counted
            group by kind having sum(one) <> 0 order by kind
            on conflict (kind) do update set wanted = k.wanted + excluded.wanted;
    else
        insert into {s}.kinds as k (kind, wanted)
            select kind, -count(*) from old_rows
            where desired = 'run' and not is_quarantined and not is_done
            group by kind order by kind
            on conflict (kind) do update set wanted = k.wanted + excluded.wanted;
        update {s}.meta set floor = gone.token
            from (select max(token) as token from old_rows) as gone where floor < gone.token;
    end if;
    return null;
end
{q};

create trigger inserted after insert on {s}.units
    referencing new table as new_rows for each statement execute function {s}.count_units();
create trigger updated after update on {s}.units
    referencing old table as old_rows new table as new_rows
    for each statement execute function {s}.count_units();
create trigger deleted after delete on {s}.units
    referencing old table as old_rows for each statement execute function {s}.count_units();
