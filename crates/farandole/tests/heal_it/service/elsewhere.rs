//! A service whose search path leads elsewhere than where its tables are.

use super::*;

/// Somebody makes a schema of the role's name, which comes first in the default search path. Guard: `elsewhere::refuse`, before
/// migrations and where some are lacking. Without, `migrate` makes a second set of tables, all is green, and the till counts from nothing.
#[tokio::test(flavor = "multi_thread")]
async fn migrations_begin_anew_in_no_other_schema() {
    let mut shop = Shop::new().await;
    let pool = shop.pool().await;
    // A reader beside it, with migrations of its own: no reason to refuse.
    let beside = "create schema reader; create table reader._sqlx_migrations (version bigint, checksum bytea);
                  insert into reader._sqlx_migrations values (1, 'other')";
    pool.execute(beside).await.unwrap();
    let till = shop.start(Missing::Make).await.ready().await;
    assert_eq!(shop.ask(&till, "one", ("k0", "tea", 5), false).await.0, 201);
    shop.all_counted().await;
    till.stop().await;

    let role = shop.database.role.clone();
    pool.execute(AssertSqlSafe(format!("create schema \"{role}\""))).await.unwrap();
    let set = |path: &str| format!("alter role \"{role}\" in database \"{}\" set search_path = {path}", shop.database.name);
    let is_said = |said: &str| {
        let words = said.contains("the tables of till are in schema public, but its migrations would create");
        words && said.contains("second, empty set") && said.contains("search_path = public`") && !said.contains("run `migrate`")
    };
    let migrated = farandole::engine::chain_of(&service(shop.insurer.clone()).migrate(&shop.config).await.unwrap_err());
    assert!(is_said(&migrated) && migrated.contains("\"$user\", public"), "{migrated}");
    let served = shop.start(Missing::Make).await.refuses().await;
    assert!(is_said(&served), "{served}");
    // The path still leads to them: what makes nothing works on.
    shop.start(Missing::Refuse).await.ready().await.stop().await;
    // Now it doesn't, and that migrations are lacking is no reason to run them.
    pool.execute(AssertSqlSafe(set("\"$user\""))).await.unwrap();
    let served = shop.start(Missing::Refuse).await.refuses().await;
    assert!(is_said(&served), "{served}");

    // The command that is named is what helps.
    let advice = served.split('`').find(|part| part.starts_with("alter role")).unwrap().to_owned();
    pool.execute(AssertSqlSafe(advice)).await.unwrap();
    let till = shop.start(Missing::Make).await.ready().await;
    assert_eq!(shop.ask(&till, "two", ("k0", "tea", 5), false).await.0, 201);
    shop.all_counted().await;
    till.stop().await;
    let sets: i64 = sqlx::query_scalar("select count(*) from pg_class where relname = 'tills' and relkind = 'r'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(sets, 1);
    pool.close().await;
}
