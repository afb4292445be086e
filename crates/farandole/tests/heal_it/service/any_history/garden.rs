//! A service of a random participant, what happens to it, and rebuilds of it that are broken off.

use std::pin::{Pin, pin};
use std::task::Poll;

use farandole::parking::operate::Which;
use farandole::rebuild::{self, Options, Rebuild, Report};
use farandole::service::By;
use farandole::{Participant as _, partitioner};

use super::super::from_nothing::positions;
use super::{Drawn, PARTITIONS};
use crate::service::*;
use crate::till::wild::{self, Sown, Wild};
use crate::world::Random;

const KEYS: u64 = 9;
const ME: By<'static> = By { name: "me", reason: Some("a test") };

/// A service of a random participant.
pub(super) struct Garden {
    pub(super) shop: Shop,
    pub(super) client: reqwest::Client,
    drawn: Drawn,
    topic: String,
    /// Inputs sent so far, and the last of each partition.
    sown: i64,
    last: BTreeMap<i32, i64>,
    ends: BTreeMap<i32, i64>,
    asked: u64,
}

impl Garden {
    pub(super) async fn new(drawn: Drawn) -> Self {
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

    pub(super) fn wild(&self) -> farandole::Service<Wild, Insurer> {
        wild::service(Wild { salt: self.drawn.salt }, self.shop.insurer.clone())
    }

    pub(super) async fn start(&self, missing: Missing) -> Running {
        self.shop.start_as(self.wild(), missing).await
    }

    /// So many inputs: most are heard, the others asked for.
    pub(super) async fn sow(&mut self, till: &Running, random: &mut Random, count: u64) {
        for _ in 0..count {
            let (key, n) = (format!("k{}", random.below(KEYS)), random.below(10_000) as i64);
            if random.below(5) == 0 {
                self.command(till, &key, n).await;
            } else {
                self.hear(key, n).await;
            }
        }
    }

    pub(super) async fn command(&mut self, till: &Running, key: &str, n: i64) {
        self.asked += 1;
        let post = self.client.post(format!("{}/sow/{key}/{n}", till.url));
        let answer = post.header("Idempotency-Key", format!("asked-{}", self.asked)).send().await.unwrap();
        let (status, said) = (answer.status(), answer.text().await.unwrap());
        assert!(status == 201 || status == 503 && said.contains("earlier event for this aggregate"), "{said}");
    }

    pub(super) async fn hear(&mut self, key: String, n: i64) {
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
    pub(super) async fn is_still(&self, pool: &PgPool) {
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
    pub(super) async fn drop_one(&self, pool: &PgPool) {
        let sql = "select aggregate from farandole.parked where head and reason like '%of no use%' order by 1 limit 1";
        let useless: Option<String> = sqlx::query_scalar(sql).fetch_optional(pool).await.unwrap();
        if let Some(aggregate) = useless {
            self.wild().drop_parked(&self.shop.config, &aggregate, Which::First, "a test", "me").await.unwrap();
        }
    }

    /// A rebuild in pieces as they were drawn; none if it was broken off after so many polls.
    pub(super) async fn rebuild(&self, pool: &PgPool, options: Options, polls: u64) -> Option<Result<Report, rebuild::Error>> {
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
            sessions: if held % 2 == 0 { 3 } else { 1 },
            ..Rebuild::new(participant, codec, topic, &relay, pool)
        };
        let mut run: Pin<Box<_>> = Box::pin(rebuild.run(options));
        broken_off(polls, run.as_mut()).await
    }

    /// Begins a rebuild, or goes on with one, and breaks it off; where it gets to its end before that, it has to be right.
    pub(super) async fn broken_off(&self, pool: &PgPool, options: Options, polls: &mut u64, random: &mut Random) {
        match self.rebuild(pool, options, 1 + random.below(*polls)).await {
            None => *polls += *polls / 2,
            Some(Ok(report)) => assert_eq!(report.differences(), 0, "{report}"),
            Some(Err(error)) => assert!(is_still_there(&error), "{}", farandole::engine::chain_of(&error)),
        }
    }

    /// Breaks rebuilds off until one gets to its end.
    pub(super) async fn whole(&self, pool: &PgPool, options: Options, polls: &mut u64, random: &mut Random) -> Report {
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
    pub(super) async fn made_anew(&self, random: &mut Random) {
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
    matches!(error, rebuild::Error::Running { .. }) || farandole::engine::chain_of(error).contains("another rebuild has gone on")
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
