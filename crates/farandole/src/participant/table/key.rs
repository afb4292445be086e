//! Keys of rows, as texts.

/// A column's type that can be part of a key: `Uuid`, `String`, `i64`, `i32`, `i16`, and ids of your own by [`key!`](crate::key).
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a column of a table's key",
    label = "no type of a key column",
    note = "key columns are `Uuid`, `String`, `i64`, `i32` or `i16`; make an id of your own one by `farandole::key!(MyId: \"uuid\")`"
)]
pub trait Part {
    /// The column's SQL type: `uuid`.
    const SQL: &'static str;
    /// The value as PostgreSQL prints it.
    fn text(&self) -> String;
}

/// The key of a table's rows: of one column, or a tuple of two or three.
///
/// `Uuid`, `String`, `i64`, `i32` and `i16` are keys, tuples of them, and ids of your own by [`key!`](crate::key).
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the key of a table",
    label = "no type of a key",
    note = "keys are `Uuid`, `String`, `i64`, `i32`, `i16`, or tuples of two or three of these; make an id of your own one by \
            `farandole::key!(MyId: \"uuid\")`"
)]
pub trait Key {
    /// The columns' SQL types.
    const SQL: &'static [&'static str];
    /// The key, borrowed: a reference, or a tuple of references.
    type Ref<'a>
    where
        Self: 'a;
    /// The key as one text, by which its row is looked up and locked.
    fn text_of(parts: Self::Ref<'_>) -> String;
    /// The same of a key that isn't borrowed.
    fn text(&self) -> String;
    /// The parts of a key's text, as PostgreSQL prints each.
    fn parts(text: &str) -> Vec<String>;
}

/// Makes an id type of your own a [`Key`](crate::table::Key), given the column's SQL type. Its [`Display`](std::fmt::Display) must write
/// what PostgreSQL prints for that type; as a column it needs sqlx's `Type`, `Encode` and `Decode` besides.
///
/// ```
/// use farandole::table::Key as _;
///
/// #[derive(Debug, Clone, PartialEq)]
/// pub struct Sku(String);
/// impl std::fmt::Display for Sku {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         f.write_str(&self.0)
///     }
/// }
/// farandole::key!(Sku: "text");
///
/// assert_eq!(Sku("tea".to_owned()).text(), "tea");
/// assert_eq!((Sku("tea".to_owned()), 7_i64).text(), "tea/7"); // a key of two columns
/// ```
#[macro_export]
macro_rules! key {
    ($ty:ty : $sql:literal) => {
        impl $crate::table::Part for $ty {
            const SQL: &'static str = $sql;
            fn text(&self) -> String {
                self.to_string()
            }
        }
        impl $crate::table::Key for $ty {
            const SQL: &'static [&'static str] = &[$sql];
            type Ref<'a>
                = &'a $ty
            where
                Self: 'a;
            fn text_of(part: &$ty) -> String {
                part.to_string()
            }
            fn text(&self) -> String {
                self.to_string()
            }
            fn parts(text: &str) -> Vec<String> {
                vec![text.to_owned()]
            }
        }
    };
}

key!(uuid::Uuid: "uuid");
key!(String: "text");
key!(i64: "bigint");
key!(i32: "integer");
key!(i16: "smallint");

macro_rules! tuple {
    ($($part:ident $i:tt),+) => {
        impl<$($part: Part),+> Key for ($($part),+) {
            const SQL: &'static [&'static str] = &[$($part::SQL),+];
            type Ref<'a> = ($(&'a $part),+) where Self: 'a;
            fn text_of(parts: ($(&$part),+)) -> String {
                join(&[$(parts.$i.text()),+])
            }
            fn text(&self) -> String {
                join(&[$(self.$i.text()),+])
            }
            fn parts(text: &str) -> Vec<String> {
                split(text)
            }
        }
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);

/// Parts as one text: `/` between them, and `\\` before those within.
fn join(parts: &[String]) -> String {
    let escaped: Vec<String> = parts.iter().map(|part| part.replace('\\', "\\\\").replace('/', "\\/")).collect();
    escaped.join("/")
}

fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut letters) = (Vec::new(), String::new(), text.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '/' => parts.push(std::mem::take(&mut part)),
            '\\' => part.extend(letters.next()),
            letter => part.push(letter),
        }
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_come_back_and_no_two_keys_are_one(a in "[a/\\\\]{0,4}", b in "[a/\\\\]{0,4}", c in "[a/\\\\]{0,4}", d in "[a/\\\\]{0,4}") {
            let (one, two) = ((a.clone(), b.clone()), (c, d));
            prop_assert_eq!(<(String, String)>::parts(&one.text()), vec![a, b]);
            prop_assert_eq!(one == two, one.text() == two.text());
        }
    }
}
