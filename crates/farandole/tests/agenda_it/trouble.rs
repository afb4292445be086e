//! What becomes of a batch, by what the database says: each class of trouble, raised where a user's table raises it.

use farandole::agenda::Poke;
use farandole::commands::Commands;
use farandole::intake::Intake;
use sqlx::AssertSqlSafe;
use tokio_util::sync::CancellationToken;

use crate::parked::{Topic, until};
use crate::world::{Happened, World};

/// A user's table that raises what `faults` says: by key, always, the first times, or for as long as it is the same session. A sequence
/// remembers, since a rollback doesn't take it back.
const FAULTS: &str = r#"
    create table faults (key text primary key, code text not null, times int, same_session boolean not null);
    create function raise() returns trigger language plpgsql as $$
    declare fault faults; n bigint;
    begin
      select * into fault from faults where key in (new.key, 'all');
      if not found then return new; end if;
      n := nextval('tries_' || new.key);
      if fault.same_session then
        if n = 1 then perform setval('session_' || new.key, pg_backend_pid()); end if;
        execute format('select last_value from %I', 'session_' || new.key) into n;
        if n <> pg_backend_pid() then return new; end if;
      elsif n > fault.times then return new;
      end if;
      raise exception 'made up for %', new.key using errcode = fault.code;
    end $$;
    create trigger raise before insert or update on stories for each row execute function raise();"#;
/// A server that has room for no more than seven rows at once.
const NARROW: &str = r#"
    create function too_many() returns trigger language plpgsql as $$
    begin
      if (select count(*) from fresh) > 7 then raise exception 'out of shared memory' using errcode = '53200'; end if;
      return null;
    end $$;
    create trigger too_many after insert on stories referencing new table as fresh for each statement execute function too_many();"#;

struct Faulty(World);

impl Faulty {
    async fn new() -> Self {
        let world = World::new().await;
        sqlx::raw_sql(FAULTS).execute(&world.pool).await.unwrap();
        Self(world)
    }

    async fn set(&self, key: usize, code: &str, times: Option<i32>, same_session: bool) {
        let sequences = format!("create sequence tries_k{key}; create sequence session_k{key}");
        sqlx::raw_sql(AssertSqlSafe(sequences)).execute(&self.0.pool).await.unwrap();
        let fault = sqlx::query("insert into faults values ($1, $2, $3, $4)").bind(format!("k{key}")).bind(code).bind(times);
        fault.bind(same_session).execute(&self.0.pool).await.unwrap();
    }

    async fn reason(&self, key: usize) -> Option<String> {
        let reason = sqlx::query_scalar("select reason from farandole.parked where aggregate = $1").bind(format!("k{key}"));
        reason.fetch_optional(&self.0.pool).await.unwrap()
    }
}

/// What is to become of an input that meets this.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It parks, whatever is tried.
    Parks,
    /// It takes effect after some tries.
    Passes { times: i32 },
    /// It takes effect on another session.
    OnAnother,
}

/// Guards: a row of the table each. Without the class, the partition waits for ever (what is of one input, one batch or one session), or
/// good inputs park (what is of a dependency). Beside all that a server on which nobody may write: there nothing parks.
#[tokio::test(flavor = "multi_thread")]
async fn each_class_has_its_own_end() {
    let (locked, locked_topic) = (Faulty::new().await, Topic::new(2).await);
    let nobody = "insert into faults values ('all', '42501', null, false); create sequence tries_k0; create sequence tries_k1";
    sqlx::raw_sql(nobody).execute(&locked.0.pool).await.unwrap();
    let intake = Intake::new(locked.0.engine(&Poke::default()), locked_topic.config(50));
    let (troubles, stop_locked) = (intake.troubles(), CancellationToken::new());
    let locked_intake = tokio::spawn(intake.run(stop_locked.clone()));
    locked_topic.send(&[(0, "a".to_owned()), (1, "b".to_owned())]).await;

    let (faulty, topic) = (Faulty::new().await, Topic::new(2).await);
    let (intake, stop) = topic.read(&faulty.0, 50);
    let table = [
        ("22012", Fate::Parks),
        ("23503", Fate::Parks),
        ("54000", Fate::Parks),
        ("P0001", Fate::Parks),
        ("MY001", Fate::Parks),
        ("40001", Fate::Passes { times: 4 }),
        ("40P01", Fate::Passes { times: 4 }),
        ("0A000", Fate::OnAnother),
        ("25006", Fate::OnAnother),
        ("26000", Fate::OnAnother),
        ("42P05", Fate::OnAnother),
        ("57P05", Fate::OnAnother),
        ("53300", Fate::Passes { times: 4 }),
        ("53100", Fate::Passes { times: 4 }),
        ("57P03", Fate::Passes { times: 4 }),
        ("08006", Fate::Passes { times: 4 }),
        // Tried for a while, since it may pass; alone where others pass, it is the input's.
        ("53200", Fate::Passes { times: 4 }),
        ("57014", Fate::Passes { times: 4 }),
        ("XX000", Fate::Passes { times: 4 }),
        ("53200", Fate::Parks),
        ("42501", Fate::Parks),
    ];
    for (n, (code, fate)) in table.into_iter().enumerate() {
        let (good, bad, late) = (10 * n, 10 * n + 2, 10 * n + 4);
        let times = if let Fate::Passes { times } = fate { Some(times) } else { Some(i32::MAX) };
        faulty.set(bad, code, times, matches!(fate, Fate::OnAnother)).await;
        topic.send(&[(good, format!("good {n}")), (bad, format!("bad {n}")), (late, format!("late {n}"))]).await;
        let mut beside = 0;
        until(&format!("the input behind {code} {fate:?}"), async || {
            if code == "42501" {
                // Elsewhere others pass all the while: then it isn't everybody's trouble.
                beside += 1;
                topic.send(&[(1, format!("beside {beside}"))]).await;
            }
            faulty.0.story(&format!("k{late}")).await == format!("late {n}")
        })
        .await;
        assert_eq!(faulty.0.story(&format!("k{good}")).await, format!("good {n}"), "{code}");
        let (story, reason) = (faulty.0.story(&format!("k{bad}")).await, faulty.reason(bad).await);
        match fate {
            Fate::Parks => assert!(story.is_empty() && reason.is_some_and(|r| r.contains("made up for")), "{code}: {story}"),
            Fate::Passes { .. } | Fate::OnAnother => assert_eq!((story, reason), (format!("bad {n}"), None), "{code}"),
        }
    }
    stop.cancel();
    intake.await.unwrap();

    // All that time nobody could write there.
    assert!(troubles.list().join(" ").contains("made up for"), "{:?}", troubles.list());
    assert_eq!(locked.0.count("select count(*) from farandole.parked").await, 0, "a system's trouble parked something");
    sqlx::query("delete from faults").execute(&locked.0.pool).await.unwrap();
    until("what waited for rights", async || locked.0.story("k0").await == "a" && locked.0.story("k1").await == "b").await;
    stop_locked.cancel();
    locked_intake.await.unwrap().unwrap();
}

/// Guard: what a batch is too large for, it is halved for. Without, five partitions stand for as long as one waits, and no command goes
/// through.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_is_halved_until_it_passes() {
    let (world, topic) = (World::new().await, Topic::new(2).await);
    sqlx::raw_sql(NARROW).execute(&world.pool).await.unwrap();
    topic.send(&(0..60).map(|n| (n, format!("n{n}"))).collect::<Vec<_>>()).await;
    let (intake, stop) = topic.read(&world, 50);
    until("all inputs", async || world.count("select count(*) from stories").await == 60).await;
    assert_eq!(world.count("select count(*) from farandole.parked").await, 0);
    stop.cancel();
    intake.await.unwrap();

    let (commands, runner) = Commands::new(world.engine(&Poke::default()));
    let stop = CancellationToken::new();
    // All of them wait before the first batch begins.
    let waiting: Vec<_> = (100..160)
        .map(|n| {
            let (commands, command) = (commands.clone(), Happened { key: format!("k{n}"), what: "c".to_owned() });
            tokio::spawn(async move { commands.submit(command.key.clone(), command, None, None).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let running = tokio::spawn(runner.run(stop.clone()));
    for answer in waiting {
        answer.await.unwrap().expect("a smaller batch passes");
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(world.count("select count(*) from stories").await, 120);
}

/// Guards: a session of which a migration has changed the plans is replaced, and the commands that met it are run again. Without, their
/// callers are told 503 for as long as the session is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_beside_a_running_service_costs_no_caller_anything() {
    let world = World::new().await;
    let (commands, runner) = Commands::new(world.engine(&Poke::default()));
    let stop = CancellationToken::new();
    let running = tokio::spawn(runner.run(stop.clone()));
    let tell = async |what: &str| {
        commands.submit("k".to_owned(), Happened { key: "k".to_owned(), what: what.to_owned() }, None, None).await
    };
    tell("before").await.unwrap();
    tell("again").await.unwrap();
    let migration = "alter table stories alter column story type varchar(200)";
    sqlx::raw_sql(migration).execute(&world.pool).await.unwrap();
    tell("after").await.unwrap();
    assert_eq!(world.story("k").await, "before, again, after");
    stop.cancel();
    running.await.unwrap();
}
