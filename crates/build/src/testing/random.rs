//! Schemas at random: what this crate says of them is what apache-avro does.

use apache_avro::Schema as Avro;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use serde_json::{Value, json};

use crate::compatibility::between;
use crate::testing::sample::{Random, sample};
use crate::testing::{Version, value_as};

/// Words of the refusals that Avro has no rule for: a logical type stays, and strings and bytes aren't one another.
const STRICTER: [&str; 4] = ["logical type", "string", "bytes", "can be taken for"];

/// Makes schemas, each with a version that differs here and there.
struct Maker {
    random: Random,
    names: usize,
}

impl Maker {
    fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len() as u64) as usize].clone()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("N{}", self.names)
    }

    /// A type, and the same or another for the other version.
    fn ty(&mut self, depth: u32) -> (Value, Value) {
        let same = |ty: Value| (ty.clone(), ty);
        match self.random.below(if depth == 0 { 3 } else { 8 }) {
            0..=2 => {
                let leaves = [
                    json!("boolean"),
                    json!("int"),
                    json!("long"),
                    json!("double"),
                    json!("string"),
                    json!("bytes"),
                    json!({"type": "string", "logicalType": "uuid"}),
                    json!({"type": "long", "logicalType": "timestamp-millis"}),
                ];
                let leaf = self.one_of(&leaves);
                if self.chance(5) { (leaf, self.one_of(&leaves)) } else { same(leaf) }
            }
            3 => {
                let (a, b) = self.ty(depth - 1);
                let key = self.one_of(&[("array", "items"), ("map", "values")]);
                let of = |inner: Value| json!({"type": key.0, key.1: inner});
                (of(a), of(b))
            }
            4 | 5 => self.union(depth),
            6 => {
                let name = self.name();
                let mut symbols =
                    || (0..4).filter(|_| self.random.below(3) > 0).map(|i| format!("S{i}")).chain(["Z".to_owned()]).collect();
                let (a, b): (Vec<String>, Vec<String>) = (symbols(), symbols());
                let (default, b) = (self.chance(70), if self.chance(50) { b } else { a.clone() });
                let of = |symbols: Vec<String>| match default {
                    true => json!({"type": "enum", "name": name, "symbols": symbols, "default": "Z"}),
                    false => json!({"type": "enum", "name": name, "symbols": symbols}),
                };
                (of(a), of(b))
            }
            _ => self.record(depth - 1),
        }
    }

    fn union(&mut self, depth: u32) -> (Value, Value) {
        let (mut a, mut b) = (vec![json!("null")], vec![json!("null")]);
        for _ in 0..=self.random.below(2) {
            let (x, y) = self.ty(depth - 1);
            a.push(x);
            b.push(y);
        }
        if self.chance(30) {
            a.reverse();
        }
        (json!(a), json!(b))
    }

    fn record(&mut self, depth: u32) -> (Value, Value) {
        let name = self.name();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for i in 0..self.random.below(4) {
            let (x, y) = self.ty(depth);
            a.push(json!({"name": format!("f{i}"), "type": x}));
            b.push(json!({"name": format!("f{i}"), "type": y}));
        }
        for fields in [&mut a, &mut b] {
            if self.chance(25) {
                let field = json!({"name": self.one_of(&["x", "y"]), "type": "int", "default": 7});
                fields.insert(self.random.below(fields.len() as u64 + 1) as usize, field);
            }
            if self.chance(5) {
                fields.push(json!({"name": "required", "type": "int"}));
            }
        }
        let of = |fields: Vec<Value>| json!({"type": "record", "name": name, "fields": fields});
        (of(a), of(b))
    }
}

/// What is called compatible here is so for apache-avro, and every value of one is read as the other.
#[test]
fn verdicts_are_apache_avros_and_what_it_does() {
    let (mut taken, mut compatible, mut refused) = (0, 0, 0);
    for seed in 0..4000 {
        let mut maker = Maker { random: Random(seed), names: 0 };
        let (old, new) = maker.record(3);
        let versions = [old.to_string(), new.to_string()].map(|text| Version::of("it", &text));
        let [Ok(old), Ok(new)] = versions else { continue };
        taken += 1;
        let found = between(&old.schema, &new.schema);
        let theirs = SchemaCompatibility::mutual_read(&old.avro, &new.avro);
        if found.is_empty() {
            compatible += 1;
            assert!(matches!(theirs, Ok(Compatibility::Full)), "{seed}: {theirs:?}");
            for n in 0..8 {
                for (writer, reader) in [(&old, &new), (&new, &old), (&new, &new)] {
                    let bytes = sample(&writer.schema, n).avro();
                    let read = value_as(writer, reader, &bytes).unwrap_or_else(|why| panic!("{seed}: {why}"));
                    assert!(read.validate(&reader.avro), "{seed}: {read:?}");
                }
            }
        } else if !found.iter().all(|why| STRICTER.iter().any(|about| why.contains(about))) {
            refused += 1;
            assert!(!matches!(theirs, Ok(Compatibility::Full)), "{seed}: {found:?}");
        }
    }
    assert!(taken > 2000 && compatible > 500 && refused > 200, "{taken} taken, {compatible} compatible, {refused} refused");
}

/// A schema that is taken here is one for the codecs, too.
#[test]
fn what_is_taken_here_is_a_schema_for_apache_avro() {
    for seed in 0..4000 {
        let (schema, _) = Maker { random: Random(seed), names: 0 }.record(3);
        let text = schema.to_string();
        if crate::parse::parse(&text).is_ok() {
            Avro::parse_str(&text).unwrap_or_else(|why| panic!("{seed}: {why}: {text}"));
        }
    }
}
