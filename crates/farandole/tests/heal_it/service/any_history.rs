//! Whatever happened to whatever service, and wherever a rebuild of it was broken off: its rows are those that it had.

mod odd_topics;

use std::pin::{Pin, pin};
use std::task::Poll;

use farandole::parking::operate::Which;
use farandole::rebuild::{self, Options, Rebuild, Report};
use farandole::service::By;
use farandole::{Participant as _, partitioner};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::from_nothing::positions;
use super::*;
use crate::till::wild::{self, OPEN, Sown, Wild};
use crate::world::Random;

/// Unless `PROPTEST_CASES` says another number.
const CASES: u32 = 4;
/// Cases that run side by side.
const BESIDE: u32 = 4;
const KEYS: u64 = 9;
const PARTITIONS: i32 = 3;
const ME: By<'static> = By { name: "me", reason: Some("a test") };
const TABLES: [&str; 3] = ["plots", "beds", "stock"];
const VERIFY: Options = Options { verify: true, ignore_space: true, ..Options::DEFAULT };

/// What is drawn: the participant's ways, what happens, and where rebuilds are broken off.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    salt: u64,
    seed: u64,
    inputs: u64,
    held: usize,
    at_once: usize,
    /// A rebuild is broken off the first time after at most so many.
    polls: u64,
    opens_gate: bool,
    is_mute: bool,
    drops: bool,
    swaps: bool,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let sizes = (20..90_u64, 1..40_usize, 1..40_usize, 5..400_u64);
    (any::<(u64, u64)>(), sizes, any::<[bool; 4]>()).prop_map(
        |((salt, seed), (inputs, held, at_once, polls), [opens_gate, is_mute, drops, swaps])| Drawn {
            salt,
            seed,
            inputs,
            held,
            at_once,
            polls,
            opens_gate,
            is_mute,
            drops,
            swaps,
        },
    )
}

/// D13, G29. For random participants and histories (several partitions, shared rows, rows that come and go, deadlines, effects, parked
/// inputs, restarts) the rebuilt state is the live one: tables beside a running service, and everything from the topics alone; with whatever
/// is held and folded at once, and broken off anywhere.
///
/// Guards: a try is taken back as a whole, rows and how far they are folded are one transaction, of two runs one writes. Without any of
/// them, rows are folded twice or not at all.
#[test]
fn whatever_happened_the_rebuilt_state_is_the_live_one() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    // A case is seconds long: what fails is told by its numbers, and tried with few others.
    let config = ProptestConfig {
        cases: cases.div_ceil(BESIDE),
        max_shrink_iters: 4,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let some = || {
        TestRunner::new(config.clone()).run(&drawn(), |drawn| {
            runtime.block_on(Box::pin(history(drawn)));
            Ok(())
        })
    };
    // Mostly they wait.
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..BESIDE).map(|_| scope.spawn(some)).collect();
        running.into_iter().for_each(|some| some.join().unwrap().unwrap());
    });
}

async fn history(drawn: Drawn) {
    let mut garden = Garden::new(drawn).await;
    let till = garden.start(Missing::Make).await.ready().await;
    let pool = garden.shop.pool().await;
    let mut random = Random::new(drawn.seed);
    garden.sow(&till, &mut random, drawn.inputs / 2).await;
    let mut polls = drawn.polls;
    garden.broken_off(&pool, VERIFY, &mut polls, &mut random).await;
    *garden.shop.insurer.mute.lock().unwrap() = drawn.is_mute;
    till.stop().await;
    // What was folded so far is gone on with by another start's service.
    let till = garden.start(Missing::Refuse).await.ready().await;
    garden.sow(&till, &mut random, drawn.inputs / 2).await;
    garden.broken_off(&pool, VERIFY, &mut polls, &mut random).await;
    if drawn.opens_gate {
        garden.command(&till, "keeper", OPEN).await;
    }
    garden.is_still(&pool).await;
    if drawn.drops {
        garden.drop_one(&pool).await;
        garden.is_still(&pool).await;
    }
    garden.checkpointed(&pool).await;

    // Beside the service, which does nothing now.
    let live = rows(&pool, "public").await;
    let options = Options { execute: drawn.swaps, ..VERIFY };
    let report = garden.whole(&pool, options, &mut polls, &mut random).await;
    assert_eq!((report.differences(), report.replaced.is_some()), (0, drawn.swaps), "{report}");
    assert_eq!(rows(&pool, if drawn.swaps { "public" } else { "farandole_rebuild" }).await, live);
    garden.checkpointed(&pool).await;
    till.stop().await;

    let before = All::of(&pool).await;
    assert_eq!(before.rows, live);
    pool.close().await;
    garden.shop.lose().await;
    garden.from_nothing(&mut random).await;
    let pool = garden.shop.pool().await;
    before.is_back(&All::of(&pool).await);
    pool.close().await;
}

/// A service of a random participant.
struct Garden {
    shop: Shop,
    client: reqwest::Client,
    drawn: Drawn,
    topic: String,
    /// Inputs sent so far, and the last of each partition.
    sown: i64,
    last: BTreeMap<i32, i64>,
    ends: BTreeMap<i32, i64>,
    asked: u64,
}

impl Garden {
    async fn new(drawn: Drawn) -> Self {
        let mut shop = Shop::new().await;
        shop.config.intake.checkpoint_every = Duration::from_millis(200);
        let topic = format!("{}{}", shop.config.topics.prefix, Sown::TOPIC);
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &shop.config.kafka.bootstrap).create().unwrap();
        let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
        admin.create_topics([&new], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
        let (last, ends) = (BTreeMap::new(), BTreeMap::new());
        Self { shop, client: reqwest::Client::new(), drawn, topic, sown: 0, last, ends, asked: 0 }
    }

    fn wild(&self) -> farandole::Service<Wild, Insurer> {
        wild::service(Wild { salt: self.drawn.salt }, self.shop.insurer.clone())
    }

    async fn start(&self, missing: Missing) -> Running {
        self.shop.start_as(self.wild(), missing).await
    }

    /// So many inputs: most are heard, the others asked for.
    async fn sow(&mut self, till: &Running, random: &mut Random, count: u64) {
        for _ in 0..count {
            let (key, n) = (format!("k{}", random.below(KEYS)), random.below(10_000) as i64);
            if random.below(5) == 0 {
                self.command(till, &key, n).await;
            } else {
                self.hear(key, n).await;
            }
        }
    }

    async fn command(&mut self, till: &Running, key: &str, n: i64) {
        self.asked += 1;
        let post = self.client.post(format!("{}/sow/{key}/{n}", till.url));
        let answer = post.header("Idempotency-Key", format!("asked-{}", self.asked)).send().await.unwrap();
        let (status, said) = (answer.status(), answer.text().await.unwrap());
        assert!(status == 201 || status == 503 && said.contains("earlier event for this aggregate"), "{said}");
    }

    async fn hear(&mut self, key: String, n: i64) {
        if self.sown == 0 {
            self.shop.codec.register(&self.topic, wild::Heard::TYPES).await.unwrap();
        }
        self.sown += 1;
        let partition = partitioner::partition(key.as_bytes(), PARTITIONS);
        let number = self.sown;
        let previous = self.last.insert(partition, number).map_or_else(|| "-".to_owned(), |last| format!("1:{last}"));
        let payload = wild::Heard::from(Sown { key: key.clone(), article: String::new(), n }).encode(&self.shop.codec).unwrap();
        let id = Uuid::now_v7().to_string();
        let link = format!("l=1;n={number};p={previous};c=command/x;k={id};i=1/1");
        let mut headers = OwnedHeaders::new();
        for (key, value) in
            [("ce_id", id.as_str()), ("ce_source", "/farandole/seeds"), ("ce_type", Sown::NAME), ("farandole", &link)]
        {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let record = FutureRecord::to(&self.topic).partition(partition).key(&key).payload(&payload).headers(headers);
        let sent = self.shop.producer.send(record, PATIENCE).await.unwrap();
        self.ends.insert(partition, sent.offset + 1);
    }

    /// Waits until all is read and out, and nothing is to be done but what waits for somebody.
    async fn is_still(&self, pool: &PgPool) {
        let ends: Vec<(String, i64)> = self.ends.iter().map(|(at, end)| (format!("{}/{at}", self.topic), *end)).collect();
        let sql = "select array_agg(distinct p.aggregate) filter (where not (p.reason like '%of no use%' or p.reason like '%gate%' and not $1)),
                     (select count(*) from farandole.tasks t where t.kind = 'deadline' and t.due < clock_timestamp() + interval '1 s'
                        or t.kind = 'effect' and not ($2 and (t.effect->>'n')::bigint % 3 = 0))
                   from farandole.parked p where p.head";
        let still = async || {
            let read = positions(pool).await == ends;
            let row = sqlx::query_as(sql).bind(self.drawn.opens_gate).bind(self.drawn.is_mute).fetch_one(pool).await.unwrap();
            let (waiting, tasks): (Option<Vec<String>>, i64) = row;
            for aggregate in waiting.iter().flatten() {
                // It may have been retried meanwhile.
                let _ = self.wild().retry_parked(&self.shop.config, aggregate, ME).await;
            }
            read && waiting.is_none() && tasks == 0 && unsent(pool).await == 0
        };
        eventually("the till to have nothing to do", PATIENCE, still).await;
    }

    /// Drops an input that is of no use, if one is parked.
    async fn drop_one(&self, pool: &PgPool) {
        let sql = "select aggregate from farandole.parked where head and reason like '%of no use%' order by 1 limit 1";
        let useless: Option<String> = sqlx::query_scalar(sql).fetch_optional(pool).await.unwrap();
        if let Some(aggregate) = useless {
            self.wild().drop_parked(&self.shop.config, &aggregate, Which::First, "a test", "me").await.unwrap();
        }
    }

    async fn checkpointed(&self, pool: &PgPool) {
        self.shop.checkpointed(pool).await;
    }

    /// A rebuild in pieces as they were drawn; none if it was broken off after so many polls.
    async fn rebuild(&self, pool: &PgPool, options: Options, polls: u64) -> Option<Result<Report, rebuild::Error>> {
        let topic = format!("{}till", self.shop.config.topics.prefix);
        let mut relay = relay::Config::new(Wild::NAME, &self.shop.config.kafka.bootstrap);
        relay.topics = vec![topic.clone(), format!("{topic}.journal")];
        let codec = Codec::new(&self.shop.config.registry.url, pool.clone());
        codec.add_reader_schema(wild::Event::TYPES).unwrap();
        let participant = Arc::new(Wild { salt: self.drawn.salt });
        let Drawn { held, at_once, .. } = self.drawn;
        let rebuild = Rebuild {
            held,
            at_once,
            sessions: 1 + u32::from(held % 2 == 0) * 2,
            ..Rebuild::new(participant, codec, topic, &relay, pool)
        };
        let mut run: Pin<Box<_>> = Box::pin(rebuild.run(options));
        broken_off(polls, run.as_mut()).await
    }

    /// Begins a rebuild, or goes on with one, and breaks it off; where it gets to its end before that, it has to be right.
    async fn broken_off(&self, pool: &PgPool, options: Options, polls: &mut u64, random: &mut Random) {
        match self.rebuild(pool, options, 1 + random.below(*polls)).await {
            None => *polls += *polls / 2,
            Some(Ok(report)) => assert_eq!(report.differences(), 0, "{report}"),
            Some(Err(error)) => assert!(is_still_there(&error), "{}", farandole::engine::chain_of(&error)),
        }
    }

    /// Breaks rebuilds off until one gets to its end.
    async fn whole(&self, pool: &PgPool, options: Options, polls: &mut u64, random: &mut Random) -> Report {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            // Longer each time, so that it ends.
            *polls *= 2;
            match self.rebuild(pool, options, 1 + random.below(*polls)).await {
                None => {}
                Some(Ok(report)) => return report,
                Some(Err(error)) => assert!(is_still_there(&error), "{}", farandole::engine::chain_of(&error)),
            }
        }
        panic!("no rebuild got to its end");
    }

    /// The same from the topics alone.
    async fn from_nothing(&self, random: &mut Random) {
        let (until, mut polls) = (Instant::now() + PATIENCE, 2_000);
        while Instant::now() < until {
            polls *= 2;
            let (service, config) = (self.wild(), &self.shop.config);
            let mut run: Pin<Box<_>> = Box::pin(service.rebuild_from_nothing(config, true, None));
            match broken_off(1 + random.below(polls), run.as_mut()).await {
                None => {}
                Some(Ok(done)) => return assert!(done.done, "{done}"),
                // The run before had just ended when it was broken off.
                Some(Err(service::Error::NotEmpty { .. })) => return,
                Some(Err(error)) => panic!("{}", farandole::engine::chain_of(&error)),
            }
        }
        panic!("no rebuild got to its end");
    }
}

/// The one before was broken off, and its session isn't gone yet, or what it had begun to write isn't.
fn is_still_there(error: &rebuild::Error) -> bool {
    matches!(error, rebuild::Error::Running { .. })
}

/// What `run` comes to; nothing if it takes more polls.
async fn broken_off<T>(polls: u64, run: impl Future<Output = T>) -> Option<T> {
    let (mut run, mut left) = (pin!(run), polls);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        run.as_mut().poll(context).map(Some)
    })
    .await
}

type Rows = Vec<Vec<String>>;

async fn rows(pool: &PgPool, schema: &str) -> Rows {
    let mut found = Vec::new();
    for table in TABLES {
        let sql = format!("select to_jsonb(t)::text from {schema}.{table} t order by 1");
        found.push(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap());
    }
    found
}

/// All that a database holds of the service, but for what is of this database alone: numbers and times of rows.
#[derive(Debug)]
struct All {
    rows: Rows,
    /// Those that are open, whole.
    open: Vec<String>,
    /// Those that are open, closed, or parked with what came of them.
    tasks: Vec<String>,
    answers: Vec<String>,
    parked: Vec<String>,
    positions: Vec<(String, i64)>,
}

impl All {
    async fn of(pool: &PgPool) -> Self {
        let texts = async |sql: &'static str| sqlx::query_scalar(sql).fetch_all(pool).await.unwrap();
        Self {
            rows: rows(pool, "public").await,
            open: texts(
                "select concat_ws('|', name, key, cause, kind, due, target, effect, correlation, idempotency_key) from farandole.tasks
                 where not closed order by 1",
            )
            .await,
            tasks: texts(
                "select concat_ws('|', name, key, cause) from farandole.tasks union
                 select concat_ws('|', task_name, task_key, task_cause) from farandole.parked where task_name is not null order by 1",
            )
            .await,
            answers: texts("select concat_ws('|', scope, key, body_hash, status, answer) from farandole.idempotency order by 1").await,
            // The reason is that of the last try.
            parked: texts(
                "select concat_ws('|', reader, aggregate, also, topic, partition, record_offset, key, value, headers, head)
                 from farandole.parked where task_name is null order by aggregate, seq",
            )
            .await,
            positions: positions(pool).await,
        }
    }

    /// Whether `now` is the same. An effect that was closed before it began may have begun, as far as a topic tells, and is run again; what came
    /// of a task and is parked comes again with the task.
    fn is_back(&self, now: &Self) {
        assert_eq!((&now.rows, &now.answers, &now.positions), (&self.rows, &self.answers, &self.positions));
        assert_eq!(now.parked, self.parked);
        assert!(self.open.iter().all(|task| now.open.contains(task)), "{:?} of {:?}", now.open, self.open);
        let place = |task: &String| task.split('|').take(3).collect::<Vec<_>>().join("|");
        assert!(now.open.iter().all(|task| self.tasks.contains(&place(task))), "{:?} of {:?}", now.open, self.tasks);
        assert!(self.tasks.iter().all(|task| now.tasks.contains(task)), "{:?} of {:?}", now.tasks, self.tasks);
    }
}
