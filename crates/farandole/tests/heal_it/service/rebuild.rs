//! Rebuilding a whole service's tables from its topic, beside it and under its writers.

use farandole::Timestamp;
use farandole::extent::{Client, View};
use farandole::heal::Mode;
use farandole::rebuild::{Options, Rebuild, Report, Until};
use farandole::service;

use super::*;
use crate::till::{Tills, service};

const VERIFY: Options = Options { verify: true, ..Options::DEFAULT };
const EXECUTE: Options = Options { execute: true, ..VERIFY };

impl Shop {
    async fn rebuild(&self, options: Options) -> Result<Report, service::Error> {
        service(self.insurer.clone()).rebuild(&self.config, options).await
    }

    fn own_topic(&self) -> String {
        format!("{}till", self.config.topics.prefix)
    }

    /// The same, writing whatever has changed after every three events.
    async fn in_pieces(&self, pool: &PgPool, options: Options) -> Result<Report, farandole::rebuild::Error> {
        let topic = self.own_topic();
        let mut relay = relay::Config::new("till", &self.config.kafka.bootstrap);
        relay.topics = vec![topic.clone(), format!("{topic}.journal")];
        let codec = Codec::new(&self.config.registry.url, pool.clone());
        codec.add_reader_schema(Event::TYPES).unwrap();
        let rebuild = Rebuild { held: 1, at_once: 3, sessions: 1, ..Rebuild::new(Arc::new(Tills), codec, topic, &relay, pool) };
        rebuild.run(options).await
    }

    /// Some sales over the topic and over HTTP, of articles that several tills sell.
    async fn busy(&mut self, till: &Running, round: i64) {
        for i in 0..40 {
            self.sell(&format!("k{}", i % 7), if i % 2 == 0 { "tea" } else { "cups" }, 20 + i).await;
        }
        assert_eq!(self.ask(till, &format!("asked-{round}"), ("k1", "cups", 7), false).await.0, 201);
    }
}

/// D13. Rebuilt beside a service that runs, the tables are as the live ones; a row that isn't what the events made of it is named, and not
/// swapped in unless told to; what is swapped in is served at once, and the service goes on in it.
///
/// Guards: nobody decides between the fold's end and the comparison, or the swap. Without, what is sold meanwhile differs or is lost.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_rebuilt_beside_their_service() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    let pool = shop.pool().await;
    pool.execute("create index articles_by_sold on articles (sold); alter table articles add check (sold >= 0)").await.unwrap();
    shop.busy(&till, 0).await;

    // Under its writers: what is sold while it is compared isn't taken for a difference.
    let (stop, url) = (CancellationToken::new(), till.url.clone());
    let selling = tokio::spawn({
        let stop = stop.clone();
        async move {
            let (client, mut sold) = (reqwest::Client::new(), 0);
            while !stop.is_cancelled() {
                let answer = client.post(format!("{url}/sell/hot/tea/1")).header("Idempotency-Key", format!("hot-{sold}")).send();
                assert_eq!(answer.await.unwrap().status(), 201);
                sold += 1;
            }
            sold
        }
    });
    let first = shop.rebuild(VERIFY).await.unwrap();
    let swapped = shop.rebuild(EXECUTE).await.unwrap();
    stop.cancel();
    let sold = selling.await.unwrap();
    assert!(sold > 0);
    *shop.tills.entry("hot".to_owned()).or_default() += 2 * sold;
    for article in ["tea", "all"] {
        *shop.articles.entry(article.to_owned()).or_default() += sold;
    }
    assert_eq!((first.differences(), first.replaced.is_some(), first.tables.len()), (0, false, 2), "{first}");
    assert!(first.tables.iter().all(|table| table.live == table.rebuilt && table.live > 1), "{first}");
    assert_eq!((swapped.differences(), swapped.replaced.is_some()), (0, true), "{swapped}");
    assert!(swapped.resumed, "it goes on from what was compared");
    shop.busy(&till, 1).await;
    shop.all_counted().await;

    // Indexes, constraints and rights came along.
    let made: i64 = sqlx::query_scalar("select count(*) from pg_indexes where tablename = 'articles' and schemaname = 'public'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(made, 2);
    let refused = pool.execute("update articles set sold = -1").await.unwrap_err();
    assert!(refused.to_string().contains("check"), "{refused}");

    // Somebody has changed rows by hand.
    let sql = "update tills set total = total + 1 where key = 'k3'; delete from articles where article = 'cups';
               insert into tills values ('nobody', 1, 0)";
    pool.execute(sql).await.unwrap();
    let found = shop.rebuild(EXECUTE).await.unwrap();
    let keys: Vec<&str> = found.tables.iter().flat_map(|table| table.examples.iter().map(|e| e.key.as_str())).collect();
    assert_eq!((found.differences(), found.replaced.is_some(), &keys[..]), (3, false, &["k3", "nobody", "cups"][..]), "{found}");
    let said = found.to_string();
    assert!(said.contains("tills nobody\n  live    {") && said.contains("rebuilt none"), "{said}");
    // Beside a row that an aggregate has stands what happened to it last; one that all aggregates share belongs to none.
    let last =
        shop.own().await.into_iter().filter(|record| record.key == "k3").max_by_key(|record| record.link.place.number).unwrap();
    let named: Vec<Option<i64>> =
        found.tables.iter().flat_map(|table| table.examples.iter().map(|e| e.last.as_ref().map(|last| last.number))).collect();
    assert_eq!(named, [Some(last.link.place.number), None, None], "{found}");
    let words = format!("last event of its aggregate: test.Counted, number {}, 20", last.link.place.number);
    assert!(said.contains(&words) && said.contains(&format!("{}till/{}@", shop.config.topics.prefix, last.partition)), "{said}");
    let accepted = shop.rebuild(Options { accept_differences: true, ..EXECUTE }).await.unwrap();
    // Back, while nothing was decided since; and forth again.
    let till_service = || service(shop.insurer.clone());
    let back = till_service().roll_back(&shop.config, true, false, None).await.unwrap();
    assert_eq!((Some(&back.schema), back.written, back.done), (accepted.replaced.as_ref(), 0, true));
    assert_eq!(state(&pool).await.0.get("nobody"), Some(&(1, 0)));
    shop.rebuild(Options { accept_differences: true, ..EXECUTE }).await.unwrap();
    assert_eq!(state(&pool).await.0.get("nobody"), None);
    shop.busy(&till, 2).await;
    let till_service = || service(shop.insurer.clone());
    let refused = till_service().roll_back(&shop.config, true, false, None).await.unwrap_err();
    assert!(farandole::engine::chain_of(&refused).contains("--lose"), "{refused:?}");
    shop.all_counted().await;
    assert_eq!(shop.rebuild(VERIFY).await.unwrap().differences(), 0);
    assert!(shop.heal(Mode::DryRun).await.unwrap().is_whole());
    let till_service = || service(shop.insurer.clone());
    let cleaned = till_service().clean_rebuilds(&shop.config, true, None).await.unwrap();
    assert_eq!((cleaned.schemas.len(), cleaned.dropped), (2, true), "one that was replaced, one that was compared: {cleaned}");
    assert!(till_service().clean_rebuilds(&shop.config, false, None).await.unwrap().schemas.is_empty());
    till.stop().await;
    pool.close().await;
}

/// As the tables were at some number, in a schema of their own; and whatever is held between two writes, the rows are the same.
/// Guards: what a try changed is taken back when a row is missing, and what isn't held is looked for. Without, sums are too high or begin
/// anew.
#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_rebuilt_and_memory_changes_nothing() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    shop.busy(&till, 0).await;
    shop.all_counted().await;
    let pool = shop.pool().await;
    let (past, number) = (state(&pool).await, last(&shop).await);
    shop.busy(&till, 1).await;
    shop.all_counted().await;
    let now = state(&pool).await;

    let report = shop.rebuild(Options { until: Some(Until::Number(number)), ..Options::default() }).await.unwrap();
    assert_eq!((report.until, report.schema.as_str()), (Some(number), format!("farandole_until_{number}").as_str()));
    assert_eq!(in_schema(&shop, &report.schema).await, past);
    assert_eq!(state(&pool).await, now, "the live ones are untouched");

    // By a time: the last event that had happened by then, whatever its partition.
    let (kafka, topic) = (ClientConfig::new().set("bootstrap.servers", &shop.config.kafka.bootstrap).clone(), shop.own_topic());
    let read = move || Client::new(&kafka, View::Everything).unwrap().records(&topic).unwrap();
    let records = tokio::task::spawn_blocking(read).await.unwrap();
    let times: BTreeMap<i64, Timestamp> = records
        .iter()
        .filter_map(|record| Some((record.link().unwrap()?.1.place.number, Timestamp::parse(record.header("ce_time")?)?)))
        .collect();
    let by = *times.range(..number - 20).next_back().unwrap().1;
    let expected = times.iter().filter(|(_, time)| **time <= by).map(|(number, _)| *number).max();
    let report = shop.rebuild(Options { until: Some(Until::Time(by)), ..Options::default() }).await.unwrap();
    assert_eq!(report.until, expected);
    assert!(
        report.to_string().contains(&format!("as of {by}: number {} was the last event by then, a test.", expected.unwrap())),
        "{report}"
    );
    let before_all = Until::Time(Timestamp::from_micros(0));
    let refused = shop.rebuild(Options { until: Some(before_all), ..Options::default() }).await.unwrap_err();
    assert!(farandole::engine::chain_of(&refused).contains("had happened by 1970-01-01"), "{refused:?}");

    // A row is let go of as soon as may be, and read back when it is needed again.
    let report = shop.in_pieces(&pool, VERIFY).await.unwrap();
    assert_eq!(report.differences(), 0, "{report}");
    assert_eq!(in_schema(&shop, &report.schema).await, now);
    till.stop().await;
    pool.close().await;
}

/// D14. A disk that runs full leaves the live tables as they are, and is named; with room again, the rebuild continues.
///
/// Guard: rows and how far they are folded are one transaction; without, what was written is folded twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_the_rebuild_continues() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    shop.busy(&till, 0).await;
    shop.all_counted().await;
    let pool = shop.pool().await;
    let live = state(&pool).await;
    // As PostgreSQL says it, once some rows are there. The rebuilt table has the column as well.
    let sql = "create table disk (is_small bool); insert into disk values (false);
               create function fill(text) returns text immutable language plpgsql as $$ begin
                 if (select is_small from public.disk) then
                   if (select count(*) from farandole_rebuild.tills) > 4 then
                     raise exception 'could not extend file: No space left on device' using errcode = '53100';
                   end if;
                 end if;
                 return $1;
               end $$;
               alter table articles add column filled text generated always as (fill(article)) stored;
               update disk set is_small = true";
    pool.execute(sql).await.unwrap();
    let refused = shop.in_pieces(&pool, VERIFY).await.unwrap_err();
    let said = farandole::engine::chain_of(&refused);
    assert!(
        said.contains("53100") && said.contains("The live tables are as they were") && said.contains("No space left"),
        "{said}"
    );
    assert_eq!(state(&pool).await, live);

    pool.execute("update disk set is_small = false").await.unwrap();
    let report = shop.in_pieces(&pool, VERIFY).await.unwrap();
    assert!(report.resumed && report.differences() == 0, "{report}");
    let all = shop.own().await.len() as u64;
    assert!((1..all).contains(&report.events), "{} of {all}: {report}", report.events);
    assert_eq!(in_schema(&shop, &report.schema).await, live);
    till.stop().await;
    pool.close().await;
}

async fn in_schema(shop: &Shop, schema: &str) -> (super::Tills, BTreeMap<String, i64>) {
    let mut url = reqwest::Url::parse(&shop.database.url).unwrap();
    url.query_pairs_mut().append_pair("options", &format!("-c search_path={schema}"));
    let pool = crate::world::pool(url.as_str(), 1).await;
    let found = state(&pool).await;
    pool.close().await;
    found
}

/// The number of the last event.
async fn last(shop: &Shop) -> i64 {
    shop.own().await.iter().map(|record| record.link.place.number).max().unwrap()
}

/// D13. Guards: what belongs to a table is looked for before a swap, and how the tables are made when an earlier rebuild is continued. Without, a
/// view goes on at the replaced table, a default takes from a sequence that is dropped, and a migration made since is swapped away.
#[tokio::test(flavor = "multi_thread")]
async fn a_swap_takes_nothing_away() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    let pool = shop.pool().await;
    shop.busy(&till, 0).await;
    shop.all_counted().await;
    shop.rebuild(VERIFY).await.unwrap();
    for (made, named, dropped) in [
        ("create view rich as select * from tills", "view rich on tills", "drop view rich"),
        ("create table notes (key text references tills)", "foreign key notes_key_fkey of notes on tills", "drop table notes"),
        (
            "alter table tills enable row level security",
            "row-level security of tills",
            "alter table tills disable row level security",
        ),
        (
            "alter table articles add column n bigserial",
            "column articles.n, which takes its default from sequence articles_n_seq",
            "alter table articles drop column n",
        ),
        ("grant select (key) on tills to public", "rights on columns of tills (key)", "revoke select (key) on tills from public"),
    ] {
        pool.execute(made).await.unwrap();
        let refused = farandole::engine::chain_of(&shop.rebuild(EXECUTE).await.unwrap_err());
        assert!(refused.contains(named) && refused.contains("nothing was swapped"), "{made}: {refused}");
        pool.execute(dropped).await.unwrap();
    }
    // What was migrated since the rebuild that is continued is in the tables that are swapped in.
    shop.rebuild(VERIFY).await.unwrap();
    pool.execute("alter table articles add column note text default 'dear'; create index tills_by_total on tills (total)")
        .await
        .unwrap();
    let swapped = shop.rebuild(EXECUTE).await.unwrap();
    assert!(!swapped.resumed && swapped.replaced.is_some(), "{swapped}");
    let notes: i64 = sqlx::query_scalar("select count(*) from articles where note = 'dear'").fetch_one(&pool).await.unwrap();
    let index: bool =
        sqlx::query_scalar("select to_regclass('public.tills_by_total') is not null").fetch_one(&pool).await.unwrap();
    assert!(notes > 1 && index, "{notes}");
    // Nor is anything swept away that was made upon the tables since.
    pool.execute("create view rich as select * from tills").await.unwrap();
    let refused = service(shop.insurer.clone()).roll_back(&shop.config, true, true, None).await.unwrap_err();
    assert!(farandole::engine::chain_of(&refused).contains("view rich on tills"), "{refused:?}");
    shop.busy(&till, 1).await;
    shop.all_counted().await;
    till.stop().await;
    pool.close().await;
}

/// D13, D17. An earlier run's tables are gone on with only where they are whole, and where the topic still holds the record that they end with.
///
/// Guards: each table is looked for. Without, one that is gone is found in the live schema, which comes next, and its sums are doubled. The
/// record is met. Without, what expired meanwhile is left out, and the rest swapped in as all of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_run_left_is_gone_on_with_only_if_it_fits() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    shop.busy(&till, 0).await;
    shop.all_counted().await;
    let pool = shop.pool().await;
    let live = state(&pool).await;
    assert_eq!(shop.rebuild(VERIFY).await.unwrap().differences(), 0);
    pool.execute("drop table farandole_rebuild.articles").await.unwrap();
    shop.busy(&till, 1).await;
    shop.all_counted().await;
    let again = shop.rebuild(Options { verify: false, ..VERIFY }).await.unwrap();
    assert!(!again.resumed, "{again}");
    assert_ne!(state(&pool).await, live);
    assert_eq!(shop.rebuild(VERIFY).await.unwrap().differences(), 0, "the live tables are what was counted");

    // What is behind the place where it ended expires, that place included.
    let live = state(&pool).await;
    shop.busy(&till, 2).await;
    shop.all_counted().await;
    shop.expire(&shop.own_topic(), 1).await;
    for options in [VERIFY, Options { verify: false, ..EXECUTE }, EXECUTE] {
        let refused = shop.rebuild(options).await.unwrap_err();
        let said = farandole::engine::chain_of(&refused);
        assert!(said.contains("`till rebuild --clean --execute`"), "{said}");
    }
    assert_ne!(state(&pool).await, live);
    till.stop().await;
    pool.close().await;
}

/// D17. A rollback loses nothing in silence: neither what a heal has folded since, which is in no outbox, nor a migration that was made; and it
/// can be taken back itself.
///
/// Guards: the lineage of the relay at the swap; how the tables were made then; what was live is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_loses_nothing_in_silence() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    shop.busy(&till, 0).await;
    shop.all_counted().await;
    let till_service = |shop: &Shop| service(shop.insurer.clone());
    shop.rebuild(EXECUTE).await.unwrap();
    till.stop().await;
    shop.copy(&shop.database.name, &shop.backup()).await;
    let till = shop.start(Missing::Refuse).await.ready().await;
    shop.busy(&till, 1).await;
    shop.all_counted().await;
    till.stop().await;
    shop.copy(&shop.backup(), &shop.database.name).await;
    assert!(shop.heal(Mode::Execute).await.unwrap().done);
    let pool = shop.pool().await;
    let healed = state(&pool).await;
    let refused = till_service(&shop).roll_back(&shop.config, true, false, None).await.unwrap_err();
    let said = farandole::engine::chain_of(&refused);
    assert!(said.contains("event(s) since these tables were replaced"), "{said}");
    assert_eq!(state(&pool).await, healed);

    pool.execute("alter table articles add note text").await.unwrap();
    let refused = till_service(&shop).roll_back(&shop.config, true, true, None).await.unwrap_err();
    let said = farandole::engine::chain_of(&refused);
    assert!(said.contains("the live tables were changed") && said.contains("rebuild instead"), "{said}");
    pool.execute("alter table articles drop note").await.unwrap();
    let back = till_service(&shop).roll_back(&shop.config, true, true, None).await.unwrap();
    assert!(back.done && back.written > 0 && back.to_string().contains("`till rebuild --execute` brings that back"), "{back}");
    assert_ne!(state(&pool).await, healed);
    let forth = till_service(&shop).roll_back(&shop.config, true, true, None).await.unwrap();
    assert_eq!(Some(&forth.schema), back.kept.as_ref(), "{forth}");
    assert_eq!(state(&pool).await, healed);
    pool.close().await;
}

/// D17. Somebody who uses a live table for long keeps nobody waiting for long, and is named; so is what a swap would leave behind.
///
/// Guards: how long a table is waited for, with everybody waiting; what is made for a table is looked for. Without, a service stands still for as
/// long as somebody's report takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_swap_keeps_nobody_waiting_for_long() {
    let mut shop = Shop::new().await;
    let till = shop.start(Missing::Make).await.ready().await;
    shop.busy(&till, 0).await;
    shop.all_counted().await;
    let mut reads = PgConnection::connect(&shop.database.url).await.unwrap();
    reads.execute("set application_name = 'a long report'; begin; select * from articles").await.unwrap();
    let refused = shop.rebuild(EXECUTE).await.unwrap_err();
    let said = farandole::engine::chain_of(&refused);
    assert!(said.contains("a long report (pid ") && said.contains("which uses articles"), "{said}");
    assert_eq!(shop.ask(&till, "meanwhile", ("k1", "cups", 7), false).await.0, 201);
    reads.execute("rollback").await.unwrap();
    let swapped = shop.rebuild(EXECUTE).await.unwrap();
    assert!(swapped.resumed && swapped.replaced.is_some(), "{swapped}");

    // A function and a rule that are made for a table would go on at the replaced one, or go with it.
    let pool = shop.pool().await;
    let made =
        "create function sold(a text) returns bigint language sql begin atomic select sold from articles where article = a; end;
                create function twice(a articles) returns bigint language sql as 'select 2 * a.sold';
                create rule quiet as on delete to articles where old.sold > 1000000 do instead nothing;
                alter table tills set (fillfactor = 70); alter table tills alter total set statistics 200;
                create statistics both_of_tills on total, insured from tills";
    pool.execute(made).await.unwrap();
    let said = farandole::engine::chain_of(&shop.rebuild(EXECUTE).await.unwrap_err());
    for words in [
        "function sold(text)",
        "function twice(articles)",
        "rule quiet of articles",
        "extended statistics both_of_tills on tills",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    pool.execute(
        "drop function sold(text); drop function twice(articles); drop rule quiet on articles; drop statistics both_of_tills",
    )
    .await
    .unwrap();
    shop.rebuild(EXECUTE).await.unwrap();
    let kept = "select coalesce(array_to_string(reloptions, ','), '') || ' ' || (select attstattarget from pg_attribute where attrelid = c.oid and attname = 'total') from pg_class c where oid = 'tills'::regclass";
    assert_eq!(sqlx::query_scalar::<_, String>(kept).fetch_one(&pool).await.unwrap(), "fillfactor=70 200");
    // What a trigger alone fills can't be written beside; rights are looked at before the work.
    pool.execute("alter table tills add column c int; update tills set c = 1; alter table tills alter c set not null")
        .await
        .unwrap();
    let said = farandole::engine::chain_of(&shop.rebuild(VERIFY).await.unwrap_err());
    assert!(said.contains("column c is `not null`, has no default, and no event fills it"), "{said}");
    pool.execute("alter table tills drop c").await.unwrap();
    till.stop().await;
    pool.close().await;
}
