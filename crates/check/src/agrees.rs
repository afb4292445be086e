//! The checker and the engine agree: random histories are run by both, step by step, and rows, events, tasks, parked inputs and answers are
//! the same after each. The engine is the one that runs in production, on a real database.

#![allow(clippy::unwrap_used, reason = "a test that can't go on says where")]

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use farandole::engine::{Engine, Error, Source, Verdict, Work};
use farandole::parking::input::{Answered, Task as ParkedTask, What};
use farandole::parking::{self, Limits, Parked, Why};
use farandole::table::Row;
use farandole::task::Effect as _;
use farandole::{Body, Codec, Participant, Record};
use futures_util::future::BoxFuture;
use inventory::tables::{Reservation, Stock};
use inventory::{Id, Inventory};
use orders::basket::Basket;
use orders::tables::Order;
use orders::{Command, Orders};
use payments::tables::Payment;
use payments::{Effect, Outcome, Payments};
use schemas::orders::OrderLine;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row as _};
use uuid::Uuid;

use crate::actor::Ground;
use crate::ask::Ask;
use crate::state::{Given, Local, State};
use crate::step::Step;
use crate::typed::Typed;
use crate::world::World;

/// Histories, and steps of each.
const HISTORIES: u64 = 16;
const STEPS: usize = 120;
const PAYMENTS: Payments = Payments { hold_for: Duration::from_secs(60), write_off_after: Duration::ZERO };
const ORDERS: [Uuid; 2] = [Uuid::from_u128(1), Uuid::from_u128(2)];

/// As a database or a state has it, to be compared.
type Held = BTreeMap<String, String>;

/// A participant's real engine.
trait Real: Sync {
    /// Runs the input that the step hands over; gives when it was decided.
    fn run<'a>(&'a self, world: &'a World, state: &'a State, of: usize, step: &'a Step, given: &'a Given) -> BoxFuture<'a, i64>;
    /// All that the database holds.
    fn held(&self) -> BoxFuture<'_, Held>;
    /// An effect was started.
    fn start<'a>(&'a self, name: &'a str, key: &'a str, nth: i64) -> BoxFuture<'a, ()>;
}

struct One<P: Participant> {
    engine: Engine<P>,
    pool: PgPool,
    rows: for<'a> fn(&'a PgPool) -> BoxFuture<'a, Held>,
}

/// What the intake, the agenda and a release do around a decision, as they do it.
struct Around<'a> {
    given: &'a Given,
    releases: bool,
    reader: &'static str,
    record: Record,
    task: Option<ParkedTask>,
    /// The task that ends, the nth of its name and key.
    ends: Option<(String, String, i64)>,
}

impl<P: Participant> Source<Work<P>> for Around<'_> {
    fn claim<'a>(&'a mut self, _: &'a mut PgConnection, works: &'a [Work<P>]) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        Box::pin(ready(Ok(vec![true; works.len()])))
    }
    fn releases(&self) -> bool {
        self.releases
    }
    fn settle<'a>(
        &'a mut self,
        conn: &'a mut PgConnection,
        works: &'a [Work<P>],
        verdicts: &'a [Verdict],
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if let Some((name, key, nth)) = &self.ends {
                let gone = "delete from farandole.tasks where (name, key, cause) in
                            (select name, key, cause from farandole.tasks where name = $1 and key = $2 order by cause offset $3 limit 1)";
                sqlx::query(gone).bind(name).bind(key).bind(nth).execute(&mut *conn).await.unwrap();
            }
            let why = match &verdicts[0] {
                Verdict::Done(_) if self.releases => {
                    let first =
                        "delete from farandole.parked where seq = (select min(seq) from farandole.parked where aggregate = $1)";
                    sqlx::query(first).bind(works[0].id.to_string()).execute(&mut *conn).await.unwrap();
                    return Ok(());
                }
                Verdict::Parked(fault) if !self.releases => Why::Fault(fault),
                Verdict::Held { behind } if !self.releases => Why::Behind(behind),
                _ => return Ok(()),
            };
            if matches!(self.given, Given::Command { .. }) {
                return Ok(());
            }
            let what = self.task.as_ref().map_or(What::Record(&self.record), What::Task);
            let key = works[0].origin.key.clone().unwrap_or_default();
            let parked = [Parked { aggregate: works[0].id.to_string(), key, what, why }];
            parking::park(conn, self.reader, None, &parked, Limits::DEFAULT).await?;
            Ok(())
        })
    }
}

impl<P: Participant> Real for One<P> {
    fn run<'a>(&'a self, world: &'a World, state: &'a State, of: usize, step: &'a Step, given: &'a Given) -> BoxFuture<'a, i64> {
        Box::pin(async move {
            let typed = world.actors[of].as_any().downcast_ref::<Typed<P>>().unwrap();
            let cause = world.cause(given);
            let id = world.id(state, step, given, &cause);
            let ground = Ground {
                state,
                commands: &world.commands,
                codec: &world.codec,
                me: of,
                releases: matches!(step, Step::Release { .. }),
                cause: cause.clone(),
                id,
                cases: false,
            };
            let Ok(work) = typed.work(&ground, given) else { panic!("{step:?} gives no input") };
            let nth = |name: &str, key: &str, cause: Uuid| {
                let same = state.locals[of].tasks.iter().filter(|task| task.name == name && task.key == key);
                i64::try_from(same.take_while(|task| task.cause != cause).count()).unwrap()
            };
            let ends = match step {
                Step::Due { task, .. } | Step::Answer { task, .. } => {
                    Some((task.name.clone(), task.key.clone(), nth(&task.name, &task.key, task.cause)))
                }
                _ => None,
            };
            let task = match (given, &work.input.body) {
                (Given::Deadline { task }, _) => Some((task, None)),
                (Given::Outcome { task, .. }, Body::Outcome { effect, outcome }) => {
                    let answered =
                        Answered { effect: effect.to_json().unwrap(), outcome: serde_json::to_value(outcome).unwrap() };
                    Some((task, Some(answered)))
                }
                _ => None,
            };
            let task = task.map(|(task, answered)| ParkedTask {
                name: task.name.clone(),
                key: task.key.clone(),
                cause: task.cause,
                correlation: Uuid::nil(),
                traceparent: None,
                answered,
            });
            let mut places = cause.rsplitn(2, '/');
            let offset = places.next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let record = Record { topic: places.next().unwrap_or_default().to_owned(), offset, ..Record::default() };
            let releases = ground.releases;
            let mut around = Around { given, releases, reader: P::NAME, record, task, ends };
            let mut works = [work];
            self.engine.run(&mut works, &mut around).await.unwrap();
            works[0].input.at.micros()
        })
    }

    fn held(&self) -> BoxFuture<'_, Held> {
        Box::pin(async move {
            let mut held = (self.rows)(&self.pool).await;
            let read = |sql: &'static str| async move { sqlx::query(sql).fetch_all(&self.pool).await.unwrap() };
            let mut numbers = BTreeMap::<String, usize>::new();
            for row in read("select aggregateid, type, payload from farandole.outbox order by seq").await {
                let (key, kind, payload): (String, String, Vec<u8>) = (row.get(0), row.get(1), row.get(2));
                let n = numbers.entry(key.clone()).or_default();
                let value = value(&payload);
                held.insert(format!("event {key} {n}"), format!("{kind} {value}"));
                *n += 1;
            }
            let tasks =
                "select name, key, kind, closed, row_number() over (partition by name, key order by cause) from farandole.tasks";
            for row in read(tasks).await {
                let (name, key, kind, closed, n): (String, String, String, bool, i64) =
                    (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
                held.insert(format!("task {name} {key} {n}"), format!("{kind} closed {closed}"));
            }
            let parked = "select aggregate, row_number() over (order by seq) from farandole.parked";
            for row in read(parked).await {
                held.insert(format!("parked {}", row.get::<i64, _>(1)), row.get(0));
            }
            for row in read("select key, answer::text from farandole.idempotency").await {
                let answer: farandole::Answer = serde_json::from_str(row.get(1)).unwrap();
                held.insert(format!("answer {}", row.get::<String, _>(0)), told(&answer));
            }
            held
        })
    }

    fn start<'a>(&'a self, name: &'a str, key: &'a str, nth: i64) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let claim = r#"insert into farandole.steps (scope, step, state)
                           select farandole.claim(name, key, cause), 1, '{"idle": false, "maybe": true}' from farandole.tasks
                           where name = $1 and key = $2 order by cause offset $3 limit 1"#;
            sqlx::query(claim).bind(name).bind(key).bind(nth).execute(&self.pool).await.unwrap();
        })
    }
}

/// An event's value.
fn value(payload: &[u8]) -> serde_json::Value {
    of_no_time(serde_json::from_slice(payload).unwrap())
}

/// An answer.
fn told(answer: &farandole::Answer) -> String {
    let mut answer = answer.clone();
    answer.body = of_no_time(answer.body);
    format!("{answer:?}")
}

/// A receipt's id is its input's, which begins with a time that only the database tells.
fn of_no_time(mut value: serde_json::Value) -> serde_json::Value {
    if let Some(id) = value.get_mut("receipt_id") {
        *id = id.as_str().unwrap()[14..].into();
    }
    value
}

/// The same of a state.
fn held(local: &Local) -> Held {
    let mut held = Held::new();
    for row in &local.rows {
        held.insert(format!("row {} {}", row.table, row.key), format!("{:?}", row.row));
    }
    for log in &local.logs {
        for (n, entry) in log.entries.iter().enumerate() {
            let value = value(&entry.payload);
            held.insert(format!("event {} {n}", log.key), format!("{} {value}", entry.kind));
        }
    }
    let mut numbers = BTreeMap::<(&str, &str), usize>::new();
    for task in &local.tasks {
        let n = numbers.entry((&task.name, &task.key)).or_default();
        *n += 1;
        let (kind, closed) = task.effect.as_ref().map_or(("deadline", false), |asking| ("effect", asking.closed));
        held.insert(format!("task {} {} {n}", task.name, task.key), format!("{kind} closed {closed}"));
    }
    for (n, parked) in local.parked.iter().enumerate() {
        held.insert(format!("parked {}", n + 1), parked.aggregate.clone());
    }
    for known in &local.known {
        held.insert(format!("answer {}", known.at.1), told(&known.answer));
    }
    held
}

async fn read<R: Row>(pool: &PgPool, held: &mut Held) {
    let sql = format!("select {} from {}", R::COLUMNS.join(", "), R::TABLE);
    for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap() {
        let row = R::from_row(&row).unwrap();
        held.insert(format!("row {} {}", R::TABLE, row.key()), format!("{row:?}"));
    }
}

/// Two orders, of which one may find too little; every command is asked again, with its key and without.
fn world() -> World {
    let basket = || Basket {
        customer: "anna".to_owned(),
        card_token: "tok_1".to_owned(),
        currency: "EUR".to_owned(),
        lines: vec![OrderLine { sku: "tea".to_owned(), quantity: 2, unit_price: 250 }],
        stale: Vec::new(),
    };
    let receive = || inventory::Command::Receive { quantity: 1 };
    let world = World::new("both")
        .participant(Orders { confirm_within: Duration::ZERO })
        .participant(Inventory)
        .participant(PAYMENTS)
        .command::<Inventory>(Ask::once("receive", Id::Article("tea".to_owned()), receive).times(4))
        .outside::<Payments>(|effect| match effect {
            Effect::Authorise(asked) => vec![
                Outcome::Authorised { authorisation_id: asked.order_id.to_string() },
                Outcome::Declined { reason: "lost_card".to_owned() },
            ],
            Effect::Void(_) => {
                // The second leads to a refund. The third payments doesn't expect of a hold that it knows: it parks, and what follows waits.
                let refused = ["captured", "declined"].map(|reason| Outcome::VoidRefused { reason: reason.to_owned() });
                [vec![Outcome::Voided], refused.to_vec()].concat()
            }
            Effect::Refund(_) => vec![Outcome::Refunded],
            Effect::Capture(_) => Vec::new(), // no parcel leaves here
        })
        .losses(40, 3);
    ORDERS.into_iter().fold(world, |world, order| {
        let place = Ask::once("place", order, move || Command::Place(basket())).repeated(2);
        world.command::<Orders>(place).command::<Orders>(Ask::once("cancel", order, || Command::Cancel).times(2))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_come_to_the_same() {
    let sandbox = stage::Stage::shared().sandbox().await.unwrap();
    let mut seen = BTreeMap::<&str, usize>::new();
    for history in 0..HISTORIES {
        let world = world();
        let mut pools = Vec::new();
        for (i, sql) in [
            include_str!("../../../services/orders/migrations/0001_tables.sql"),
            concat!(
                include_str!("../../../services/inventory/migrations/0001_tables.sql"),
                include_str!("../../../services/inventory/migrations/0002_shipped.sql")
            ),
            include_str!("../../../services/payments/migrations/0001_tables.sql"),
        ]
        .into_iter()
        .enumerate()
        {
            let database = sandbox.database(&format!("agrees{history}of{i}")).await.unwrap();
            let pool = PgPool::connect(&database.url).await.unwrap();
            farandole::migrate(&pool).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&pool).await.unwrap();
            pools.push(pool);
        }
        let [orders, inventory, payments] = <[PgPool; 3]>::try_from(pools).unwrap();
        fn engine<P: Participant>(participant: P, pool: &PgPool) -> Engine<P> {
            Engine::new(Arc::new(participant), Codec::json(), pool.clone(), P::NAME.to_owned(), Box::new(|| {}), Box::new(|_| {}))
        }
        let real: [Box<dyn Real>; 3] = [
            Box::new(One {
                engine: engine(Orders { confirm_within: Duration::ZERO }, &orders),
                pool: orders,
                rows: |pool| {
                    Box::pin(async move {
                        let mut held = Held::new();
                        read::<Order>(pool, &mut held).await;
                        held
                    })
                },
            }),
            Box::new(One {
                engine: engine(Inventory, &inventory),
                pool: inventory,
                rows: |pool| {
                    Box::pin(async move {
                        let mut held = Held::new();
                        read::<Reservation>(pool, &mut held).await;
                        read::<Stock>(pool, &mut held).await;
                        held
                    })
                },
            }),
            Box::new(One {
                engine: engine(PAYMENTS, &payments),
                pool: payments,
                rows: |pool| {
                    Box::pin(async move {
                        let mut held = Held::new();
                        read::<Payment>(pool, &mut held).await;
                        held
                    })
                },
            }),
        ];
        walk(&world, &real, history, &mut seen).await;
    }
    println!("{seen:?}");
    for what in ["deliver", "ask", "repeat", "due", "answer", "answer again", "start", "parked", "release"] {
        assert!(seen.get(what).is_some_and(|n| *n > 0), "no history has a step of this kind: {what}: {seen:?}");
    }
}

async fn walk(world: &World, real: &[Box<dyn Real>; 3], history: u64, seen: &mut BTreeMap<&'static str, usize>) {
    let mut random = crate::walk::SplitMix(history);
    let mut state = world.begin();
    let mut story = Vec::new();
    for _ in 0..STEPS {
        // Deadlines are due at the moment at which they are set, by the real clock.
        state.at = i64::MAX / 2;
        let mut steps = Vec::new();
        world.steps(&state, &mut steps);
        steps.retain(|step| !matches!(step, Step::Clock { .. }));
        // First of which kind, then which: of some kinds there are many, of others one now and then.
        let mut kinds: Vec<_> = steps.iter().map(std::mem::discriminant).collect();
        kinds.dedup();
        if kinds.is_empty() {
            break;
        }
        let kind = kinds[random.below(kinds.len())];
        steps.retain(|step| std::mem::discriminant(step) == kind);
        let step = steps.swap_remove(random.below(steps.len()));
        // An answer is booked before it is handed over.
        let given = match &step {
            Step::Answer { of, task, outcome } => {
                let booked = world.book(*of, &state.locals[*of], task, *outcome, true).unwrap().unwrap();
                let task = Arc::clone(task.find(&state.locals[*of].tasks).unwrap());
                Some((*of, Given::Outcome { task, booked: Arc::new(booked) }))
            }
            step => world.input(&state, step),
        };
        story.push(world.tell(&state, &step));
        let (kind, of) = match &step {
            Step::Deliver { to, .. } => ("deliver", *to),
            Step::Ask { which } => ("ask", world.commands[*which].of),
            Step::Repeat { which } => ("repeat", world.commands[*which].of),
            Step::Due { of, .. } => ("due", *of),
            Step::Answer { of, .. } => ("answer", *of),
            Step::AnswerAgain { of, .. } => ("answer again", *of),
            Step::Release { of, .. } => ("release", *of),
            Step::Start { of, task } => {
                let same = state.locals[*of].tasks.iter().filter(|other| other.name == task.name && other.key == task.key);
                let nth = i64::try_from(same.take_while(|other| other.cause != task.cause).count()).unwrap();
                real[*of].start(&task.name, &task.key, nth).await;
                ("start", *of)
            }
            Step::Lost { of, .. } => ("lost", *of),
            Step::Again { to, .. } | Step::AgainAll { to, .. } => ("again", *to),
            Step::Drop { of, .. } => ("drop", *of),
            Step::Clock { .. } => continue,
        };
        *seen.entry(kind).or_default() += 1;
        if let Some((of, given)) = &given {
            state.at = real[*of].run(world, &state, *of, &step, given).await;
        }
        if let Some((next, _)) = world.next(&state, &step, 2, false) {
            state = next;
        }
        assert!(state.fault.is_none(), "{:?} after {story:#?}", state.fault);
        if !state.locals[of].parked.is_empty() {
            *seen.entry("parked").or_default() += 1;
        }
        let (real, ours) = (real[of].held().await, held(&state.locals[of]));
        assert_eq!(real, ours, "history {history}, the engine and the checker, after {story:#?}");
    }
}
