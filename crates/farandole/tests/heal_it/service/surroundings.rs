//! A whole service where it wasn't set up by a superuser, and by two at once.

use super::*;

/// Has the shop's service connect as a role that owns nothing; gives a pool of the owner's, and the role.
async fn rows_alone(shop: &mut Shop) -> (PgPool, String) {
    let owner = shop.pool().await;
    let mut admin = PgConnection::connect(Stage::shared().postgres()).await.unwrap();
    let (role, password) = (format!("{}_rows", shop.database.name), Uuid::new_v4().simple());
    let made =
        format!("create role {role} login password '{password}'; grant connect on database {} to {role}", shop.database.name);
    admin.execute(AssertSqlSafe(made)).await.unwrap();
    let user = format!("{}:{}@", shop.database.role, shop.database.password);
    shop.config.database.url = shop.database.url.replace(&user, &format!("{role}:{password}@")).into();
    (owner, role)
}

/// O12: who migrates owns the tables, who serves has rights on rows. `/readyz` names each right that is missing with the words that give it;
/// after that commands pass, also where the outbox's partitions made by `migrate` end.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_rights_on_rows_alone() {
    let mut shop = Shop::new().await;
    service(shop.insurer.clone()).migrate(&shop.config).await.unwrap();
    let (owner, _) = rows_alone(&mut shop).await;

    let till = shop.start(Missing::Refuse).await;
    let mut given = Vec::new();
    eventually("the service to be ready with what it asked for", PATIENCE, async || {
        let Ok(answer) = reqwest::get(format!("{}/readyz", till.url)).await else { return false };
        let (ready, said) = (answer.status().is_success(), answer.text().await.unwrap());
        if let Some(words) =
            said.split('`').nth(1).filter(|words| words.starts_with("grant ") && !given.contains(&(*words).to_owned()))
        {
            let words = words.replace("\\\"", "\"");
            sqlx::raw_sql(AssertSqlSafe(words.clone())).execute(&owner).await.unwrap_or_else(|e| panic!("{words}: {e}"));
            given.push(words);
        }
        assert!(!till.task.is_finished(), "{given:?}");
        ready
    })
    .await;
    let given = given.join("; ");
    for needed in ["grant usage on schema farandole", "farandole.outbox", "grant select on _sqlx_migrations", "tills"] {
        assert!(given.contains(needed), "no word of {needed}: {given}");
    }

    assert_eq!(shop.ask(&till, "first", ("k", "tea", 1), false).await.0, 201);
    owner.execute("select setval(pg_get_serial_sequence('farandole.outbox', 'seq'), 2999999)").await.unwrap();
    let made = async || {
        let there = "select to_regclass('farandole.outbox_3000001') is not null";
        sqlx::query_scalar::<_, bool>(there).fetch_one(&owner).await.unwrap()
    };
    eventually("the next partition", PATIENCE, made).await;
    for i in 0..5 {
        assert_eq!(shop.ask(&till, &format!("later-{i}"), ("k", "tea", 1), false).await.0, 201);
    }
    shop.all_counted().await;
    owner.close().await;
    till.stop().await;
}

/// O26: two replicas at their very first start, on a database, topics and subjects that nobody has made yet.
#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_start_at_once_for_the_first_time() {
    for _ in 0..3 {
        let mut shop = Shop::new().await;
        let (one, other) = tokio::join!(shop.start(Missing::Make), shop.start(Missing::Make));
        let (one, other) = tokio::join!(one.ready(), other.ready());
        assert_eq!(shop.ask(&one, "one", ("k", "tea", 1), false).await.0, 201);
        assert_eq!(shop.ask(&other, "other", ("k", "tea", 2), false).await.0, 201);
        shop.all_counted().await;
        tokio::join!(one.stop(), other.stop());
    }
}

/// E35. Guard: the look at rights when the database refuses something for want of one. Without, every command is answered 503 and `/readyz`
/// is green.
#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_lost_are_named_and_come_back() {
    let mut shop = Shop::new().await;
    service(shop.insurer.clone()).migrate(&shop.config).await.unwrap();
    let (owner, role) = rows_alone(&mut shop).await;
    let run = async |sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&owner).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    };
    for schema in ["farandole", "public"] {
        run(format!(
            "grant usage on schema {schema} to {role}; grant select, insert, update, delete on all tables in schema {schema} to {role};
             grant execute on all functions in schema {schema} to {role}"
        ))
        .await;
    }
    let till = shop.start(Missing::Refuse).await.ready().await;
    assert_eq!(shop.ask(&till, "before", ("k", "tea", 1), false).await.0, 201);
    let rights = async || {
        let Ok(answer) = reqwest::get(format!("{}/readyz", till.url)).await else { return (0, None) };
        let (status, said) = (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap());
        let check = said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "rights").cloned().unwrap();
        (status, check["why"].as_str().map(str::to_owned))
    };
    for table in ["farandole.steps", "farandole.outbox", "farandole.idempotency", "farandole.parked", "farandole.tasks", "tills"]
    {
        run(format!("revoke select, insert on {table} from {role}")).await;
        let mut n = 0;
        eventually("it to be said", PATIENCE, async || {
            n += 1;
            let _ = shop.ask(&till, &format!("{table}-{n}"), ("k", "tea", 1), false).await; // 503, or before the look
            matches!(rights().await, (503, Some(why)) if why.contains("as the owner of the tables: `grant") && why.contains(table))
        })
        .await;
        let why = rights().await.1.unwrap();
        run(why.split('`').nth(1).unwrap().to_owned()).await;
        eventually("it to be well again", PATIENCE, async || rights().await == (200, None)).await;
        assert_eq!(shop.ask(&till, &format!("{table}-after"), ("k", "tea", 1), false).await.0, 201, "{table}");
    }
    owner.close().await;
    till.stop().await;
}
