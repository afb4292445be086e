//! The step log against a list: random histories of several owners, some of whom are behind, paused or about to roll back.

use std::time::Duration;

use farandole::step::{self, Append, Error};
use sqlx::{Connection, Executor, PgConnection};

use crate::world::{Random, World, eventually};

const OWNERS: usize = 4;
const SCOPES: [&str; 3] = ["a", "b", "position/t/0"];
const PATIENCE: Duration = Duration::from_secs(20);

/// What a transaction took and hasn't committed: scopes, and the state written to each.
#[derive(Default)]
struct Taken(Vec<usize>, i64);

#[derive(Default)]
struct Tx {
    /// The newest steps in the snapshot that it keeps; none when each statement has its own.
    seen: Option<[i64; 3]>,
    taken: Taken,
}

struct Owner {
    conn: PgConnection,
    pid: i32,
    tx: Option<Tx>,
}

struct History {
    random: Random,
    owners: Vec<Owner>,
    watcher: PgConnection,
    /// The states of each scope's steps, from the first.
    log: [Vec<i64>; 3],
    next: i64,
    fenced: usize,
    waited: usize,
}

async fn append(conn: &mut PgConnection, wanted: &[(usize, i64)], state: i64) -> Result<(), Error> {
    let expected = |newest: i64| (newest > 0).then_some(newest);
    if let [(scope, newest)] = wanted {
        let step = step::append(conn, SCOPES[*scope], expected(*newest), &state).await?;
        assert_eq!(step, newest + 1);
        return Ok(());
    }
    let appends: Vec<_> = wanted
        .iter()
        .map(|(scope, newest)| Append { scope: SCOPES[*scope], expected: expected(*newest), state: &state })
        .collect();
    step::append_many(conn, &appends).await
}

impl History {
    async fn new(world: &World, seed: u64) -> Self {
        let mut owners = Vec::new();
        for _ in 0..OWNERS {
            let mut conn = PgConnection::connect(&world.url).await.unwrap();
            let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut conn).await.unwrap();
            owners.push(Owner { conn, pid, tx: None });
        }
        let watcher = PgConnection::connect(&world.url).await.unwrap();
        Self { random: Random::new(seed), owners, watcher, log: Default::default(), next: 1, fenced: 0, waited: 0 }
    }

    fn newest(&self) -> [i64; 3] {
        self.log.each_ref().map(|steps| steps.len() as i64)
    }

    async fn act(&mut self) {
        let owner = self.random.below(OWNERS as u64) as usize;
        match (&self.owners[owner].tx, self.random.below(8)) {
            (None, 0..3) => self.trim(owner).await,
            (None, _) => self.begin(owner).await,
            // It is slow; and one that keeps its snapshot is paused for long.
            (Some(_), 7) => {}
            (Some(tx), 2..=5) if tx.taken.0.is_empty() && tx.seen.is_some() => {}
            (Some(tx), 0..=5) if tx.taken.0.is_empty() => self.take(owner).await,
            (Some(_), _) => self.end(owner).await,
        }
        self.look().await;
    }

    async fn begin(&mut self, owner: usize) {
        let keeps = self.random.below(3) == 0;
        let newest = self.newest();
        let Owner { conn, tx, .. } = &mut self.owners[owner];
        *tx = Some(Tx { seen: keeps.then_some(newest), taken: Taken::default() });
        if keeps {
            // As a statement that was paused after its look at the log.
            conn.execute("begin isolation level repeatable read").await.unwrap();
            conn.execute("select count(*) from farandole.steps").await.unwrap();
        } else {
            conn.execute("begin").await.unwrap();
        }
    }

    /// Takes a step in one scope or several, from where it is or from where this owner was once.
    async fn take(&mut self, owner: usize) {
        let newest = self.newest();
        let seen = self.owners[owner].tx.as_ref().and_then(|tx| tx.seen).unwrap_or(newest);
        let mut wanted = Vec::new();
        for scope in 0..SCOPES.len() {
            let expected = match self.random.below(6) {
                0 => newest[scope] - self.random.below(4) as i64,
                1 => newest[scope] + 1,
                _ => seen[scope],
            };
            if self.random.below(2) == 0 {
                wanted.push((scope, expected.max(0)));
            }
        }
        if wanted.is_empty() {
            return;
        }
        let open = |o: &Owner| o.tx.as_ref().is_some_and(|tx| tx.taken.0.iter().any(|s| wanted.iter().any(|(w, _)| w == s)));
        let rivals: Vec<usize> = (0..OWNERS).filter(|o| *o != owner && open(&self.owners[*o])).collect();
        let state = self.next;
        self.next += 1;
        let mut wins = wanted.iter().all(|(scope, expected)| *expected == newest[*scope] && *expected == seen[*scope]);
        let result = match rivals[..] {
            [] => append(&mut self.owners[owner].conn, &wanted, state).await,
            // It waits for the rival, if it gets so far, and the rival's end decides.
            [rival] => {
                let commits = self.random.below(2) == 0;
                let Ok([mine, other]) = self.owners.get_disjoint_mut([owner, rival]) else { panic!("one owner twice") };
                let (pid, watcher) = (mine.pid, &mut self.watcher);
                let (done, finished) = tokio::sync::oneshot::channel::<()>();
                let appending = async {
                    let result = append(&mut mine.conn, &wanted, state).await;
                    drop(done);
                    result
                };
                let ending = async {
                    let waited = waits(watcher, pid, finished).await;
                    other.conn.execute(if commits { "commit" } else { "rollback" }).await.unwrap();
                    waited
                };
                let (result, waited) = tokio::join!(appending, ending);
                assert!(waited || !wins, "it took a step that an open transaction holds");
                self.waited += usize::from(waited);
                let taken = other.tx.take().map(|tx| tx.taken);
                if commits {
                    wins = false;
                    self.committed(taken);
                }
                result
            }
            _ => return,
        };
        match result {
            Ok(()) => {
                assert!(wins, "{wanted:?} taken, and the newest were {newest:?}, seen {seen:?}");
                if let Some(tx) = &mut self.owners[owner].tx {
                    tx.taken = Taken(wanted.iter().map(|(scope, _)| *scope).collect(), state);
                }
            }
            Err(Error::Fenced { .. }) => {
                assert!(!wins, "{wanted:?} refused, and the newest were {newest:?}, seen {seen:?}");
                self.fenced += 1;
                self.owners[owner].conn.execute("rollback").await.unwrap();
                self.owners[owner].tx = None;
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    fn committed(&mut self, taken: Option<Taken>) {
        let Taken(scopes, state) = taken.unwrap_or_default();
        scopes.into_iter().for_each(|scope| self.log[scope].push(state));
    }

    async fn end(&mut self, owner: usize) {
        let commits = self.random.below(4) > 0;
        let Owner { conn, tx, .. } = &mut self.owners[owner];
        conn.execute(if commits { "commit" } else { "rollback" }).await.unwrap();
        let taken = tx.take().map(|tx| tx.taken);
        if commits {
            self.committed(taken);
        }
    }

    async fn trim(&mut self, owner: usize) {
        let (scope, keep) = (self.random.below(3) as usize, self.random.below(3) as u32);
        step::trim(&mut self.owners[owner].conn, SCOPES[scope], 0, keep).await.unwrap();
    }

    /// What is there is what was committed: the newest always, and whatever else wasn't trimmed.
    async fn look(&mut self) {
        let rows: Vec<(String, i64, String)> =
            sqlx::query_as("select scope, step, state::text from farandole.steps").fetch_all(&mut self.watcher).await.unwrap();
        for (scope, step, state) in rows {
            let scope = SCOPES.iter().position(|s| *s == scope).unwrap();
            let states = &self.log[scope];
            assert_eq!(states.get(step as usize - 1).map(i64::to_string), Some(state), "step {step} of {}", SCOPES[scope]);
        }
        for (scope, states) in SCOPES.iter().zip(&self.log) {
            let newest = step::latest::<i64>(&mut self.watcher, scope).await.unwrap();
            assert_eq!(newest, states.last().map(|state| (states.len() as i64, *state)), "the newest of {scope}");
        }
    }

    async fn finish(mut self) -> (usize, usize, usize) {
        for owner in 0..OWNERS {
            if self.owners[owner].tx.is_some() {
                self.end(owner).await;
            }
        }
        self.look().await;
        // Nobody has an old snapshot any more: all but the newest may go.
        for (scope, states) in SCOPES.iter().zip(&self.log) {
            let (owner, watcher) = (&mut self.owners[0].conn, &mut self.watcher);
            eventually("old steps to go", PATIENCE, async || {
                step::trim(owner, scope, 0, 0).await.unwrap();
                let left: i64 = sqlx::query_scalar("select count(*) from farandole.steps where scope = $1")
                    .bind(*scope)
                    .fetch_one(&mut *watcher)
                    .await
                    .unwrap();
                left == i64::from(!states.is_empty())
            })
            .await;
        }
        self.look().await;
        (self.log.iter().map(Vec::len).sum(), self.fenced, self.waited)
    }
}

/// Until `pid` waits for a lock, or has finished without; says which.
async fn waits(watcher: &mut PgConnection, pid: i32, mut finished: tokio::sync::oneshot::Receiver<()>) -> bool {
    let mut waited = false;
    eventually("the append to wait or end", PATIENCE, async || {
        if !matches!(finished.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty)) {
            return true;
        }
        waited =
            sqlx::query_scalar("select cardinality(pg_blocking_pids($1)) > 0").bind(pid).fetch_one(&mut *watcher).await.unwrap();
        waited
    })
    .await;
    waited
}

/// D4, D5. Guards: the primary key, `max(step)`, the newest that is never trimmed. Each step is taken once, by one who knew the
/// newest; who was fenced wrote nothing. (`backend_xmin` in `trim` takes a rarer meeting: `steps.rs` arranges it.)
#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_taken_once_by_one_who_knew_the_newest() {
    let world = World::new().await;
    let (mut steps, mut fenced, mut waited) = (0, 0, 0);
    for seed in 1..=12 {
        let mut history = History::new(&world, seed).await;
        for _ in 0..150 {
            history.act().await;
        }
        let all = history.finish().await;
        (steps, fenced, waited) = (steps + all.0, fenced + all.1, waited + all.2);
        world.pool.execute("truncate farandole.steps").await.unwrap();
    }
    assert!(steps > 100 && fenced > 30 && waited > 10, "{steps} steps, {fenced} fenced, {waited} waited: too little was tried");
}
