//! Keys of rows, as texts.

/// A column's type that can be part of a key, and how it is written.
pub trait Part {
    /// The column's SQL type.
    const SQL: &'static str;
    /// The value as PostgreSQL prints it.
    fn text(&self) -> String;
}

/// The key of a table's rows: of one column, or a tuple of those of two or three.
///
/// An id of one's own is one by `farandole::key!(OrderId: "uuid")`, where its [`Display`](std::fmt::Display) is what PostgreSQL prints.
pub trait Key {
    /// The columns' SQL types.
    const SQL: &'static [&'static str];
    /// The parts of a key, borrowed.
    type Ref<'a>
    where
        Self: 'a;
    /// The key as one text, as it is looked up and locked.
    fn text_of(parts: Self::Ref<'_>) -> String;
    /// The same.
    fn text(&self) -> String;
    /// The parts of a key's text, as PostgreSQL prints each.
    fn parts(text: &str) -> Vec<String>;
}

/// Makes an id of one's own a [`Key`], as its [`Display`](std::fmt::Display) writes it: `farandole::key!(OrderId: "uuid")`.
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
