//! `tables!`.

/// Declares a participant's tables and their rows: `field: Row in "table" { key: Type, column: Type, … }`. The first column of each is its
/// key, or the columns in brackets together are.
///
/// ```
/// farandole::tables! {
///     pub struct Tables {
///         /// Points by customer.
///         accounts: Account in "accounts" { customer: String, points: i64 },
///         /// What lies in a customer's cart, by article.
///         lines: Line in "cart_lines" { [customer: String, article: i64], quantity: i32 },
///     }
/// }
/// let mut tables = Tables::default();
/// tables.lines.given(&("anna".to_owned(), 7), None); // as if looked for and not found
/// tables.lines.put(Line { customer: "anna".to_owned(), article: 7, quantity: 2 });
/// assert_eq!(tables.lines.get(&("anna".to_owned(), 7)).map(|line| line.quantity), Some(2));
/// tables.lines.delete(&("anna".to_owned(), 7));
/// ```
///
/// - The first table is the aggregate's own: what [`touches`](crate::Participant::touches) names unless you override it.
/// - The SQL that creates the tables is a migration of the service; see [`migrations!`](crate::migrations!).
/// - A column's type is one that sqlx stores. A Rust value of your own is a `sqlx::types::Json<T>` over `jsonb`; what may be null is an
///   `Option`.
/// - A [`Key`](crate::table::Key) is made of texts, integers and UUIDs: one, or two or three in brackets.
#[macro_export]
macro_rules! tables {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $(
        $(#[$row_meta:meta])* $field:ident : $row:ident in $table:literal { $($columns:tt)* }
    ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        #[allow(missing_docs)]
        $vis struct $name { $(pub $field: $crate::Table<$row>),* }

        impl $crate::Tables for $name {
            async fn load(&mut self, conn: &mut $crate::sqlx::PgConnection, keys: &$crate::Keys) -> $crate::sqlx::Result<()> {
                $(self.$field.load(&mut *conn, keys).await?;)*
                Ok(())
            }
            async fn store(&mut self, conn: &mut $crate::sqlx::PgConnection) -> $crate::sqlx::Result<()> {
                $(self.$field.store(&mut *conn).await?;)*
                Ok(())
            }
            #[allow(unused_variables)]
            fn load_from(&mut self, keys: &$crate::Keys, find: $crate::table::Find<'_>) {
                $(self.$field.load_from(keys, find);)*
            }
            #[allow(unused_variables)]
            fn store_to(&self, put: $crate::table::Put<'_>) {
                $(self.$field.store_to(put);)*
            }
            #[allow(unused_variables)]
            fn fold(&mut self, stored: $crate::table::Stored) {
                $(self.$field.fold(stored);)*
            }
            fn mark(&mut self) {
                $(self.$field.mark();)*
            }
            fn back(&mut self) {
                $(self.$field.back();)*
            }
            fn changed(&self) -> usize {
                0 $(+ self.$field.changed())*
            }
            #[allow(unused_variables)]
            async fn prepare(&mut self, conn: &mut $crate::sqlx::PgConnection, resumed: bool) -> $crate::sqlx::Result<()> {
                $(self.$field.prepare(&mut *conn, resumed).await?;)*
                Ok(())
            }
            #[allow(unused_mut)]
            fn take_out(&mut self) -> $crate::sqlx::Result<$crate::table::Out> {
                let mut out = $crate::table::Out::default();
                $(self.$field.take_out(&mut out)?;)*
                Ok(out)
            }
            fn let_go(&mut self) {
                $(self.$field.let_go();)*
            }
            #[allow(unused_variables)]
            fn texts(&self, each: &mut dyn FnMut(&'static str, String, &'static [&'static str], Vec<String>)) {
                $(self.$field.texts(each);)*
            }
            #[allow(unused_variables)]
            fn touched(&self, each: &mut dyn FnMut(&'static str, Vec<String>)) {
                $(self.$field.touched(each);)*
            }
            fn columns() -> Vec<(&'static str, &'static [&'static str], usize)> {
                vec![$($crate::Table::<$row>::columns()),*]
            }
            fn names() -> &'static [&'static str] {
                &[$($table),*]
            }
            fn take_missed(&mut self) -> Option<String> {
                None$(.or_else(|| self.$field.take_missed()))*
            }
            fn missed(&mut self) -> $crate::Keys {
                let mut keys = $crate::Keys::default();
                $(keys.merge(self.$field.missed());)*
                keys
            }
        }

        $($crate::tables!(@row [$(#[$row_meta])*] $vis $row $table $($columns)*);)*
    };
    (@row [$($meta:tt)*] $vis:vis $row:ident $table:literal
        [$($(#[$key_meta:meta])* $key:ident : $key_ty:ty),+ $(,)?] $(, $(#[$col_meta:meta])* $col:ident : $col_ty:ty)* $(,)?
    ) => {
        $($meta)*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        $vis struct $row { $($(#[$key_meta])* pub $key: $key_ty,)+ $($(#[$col_meta])* pub $col: $col_ty),* }

        impl $crate::table::Row for $row {
            #[allow(unused_parens)]
            type Key = ($($key_ty),+);
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [&'static str] = &[$(stringify!($key),)+ $(stringify!($col)),*];
            fn array_types() -> Vec<String> {
                vec![$($crate::table::array_type::<$key_ty>(),)+ $($crate::table::array_type::<$col_ty>()),*]
            }
            fn key(&self) -> String {
                #[allow(unused_parens)]
                let key = ($(&self.$key),+);
                <Self::Key as $crate::table::Key>::text_of(key)
            }
            #[allow(unused_assignments, unused_mut)]
            fn from_row(row: &$crate::sqlx::postgres::PgRow) -> $crate::sqlx::Result<Self> {
                let mut i = 0;
                $(let $key = $crate::table::column(row, i)?; i += 1;)+
                $(let $col = $crate::table::column(row, i)?; i += 1;)*
                Ok(Self { $($key,)+ $($col),* })
            }
            fn texts(&self) -> Vec<String> {
                vec![$(format!("{:?}", self.$key),)+ $(format!("{:?}", self.$col)),*]
            }
            fn copy(&self, rows: &mut $crate::table::CopyRows) -> $crate::sqlx::Result<()> {
                $(rows.column(&self.$key)?;)+
                $(rows.column(&self.$col)?;)*
                Ok(())
            }
            fn bind<'q>(
                rows: &[&Self],
                query: $crate::sqlx::query::Query<'q, $crate::sqlx::Postgres, $crate::sqlx::postgres::PgArguments>,
            ) -> $crate::sqlx::query::Query<'q, $crate::sqlx::Postgres, $crate::sqlx::postgres::PgArguments> {
                $(let query = query.bind(rows.iter().map(|r| r.$key.clone()).collect::<Vec<$key_ty>>());)+
                $(let query = query.bind(rows.iter().map(|r| r.$col.clone()).collect::<Vec<$col_ty>>());)*
                query
            }
        }
    };
    (@row [$($meta:tt)*] $vis:vis $row:ident $table:literal
        $(#[$key_meta:meta])* $key:ident : $key_ty:ty $(, $($rest:tt)*)?
    ) => {
        $crate::tables!(@row [$($meta)*] $vis $row $table [$(#[$key_meta])* $key: $key_ty] $(, $($rest)*)?);
    };
}
