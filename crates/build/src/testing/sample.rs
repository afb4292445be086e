//! Values made up from a schema, as the bytes that Avro's specification says and as the JSON of generated types.
//!
//! **Invariant:** nothing here comes from apache-avro or serde's derives: that both ways give the same bytes is what the tests are for.

use serde_json::{Value, json};

use crate::schema::{Body, Primitive, Schema, Type};

/// Most items of an array or map.
const MOST_ITEMS: u64 = 3;

/// A value of a type.
#[derive(Debug, Clone)]
pub(crate) enum Sample {
    Null,
    Boolean(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Bytes(Vec<u8>),
    String(String),
    Fixed(Vec<u8>),
    /// A UUID on 16 bytes, which is text in JSON.
    Uuid([u8; 16]),
    Symbol(usize, String),
    /// A branch, its name in JSON (none where it is an option) and its value.
    Branch(usize, Option<String>, Box<Sample>),
    Array(Vec<Sample>),
    /// In the order of the keys.
    Map(Vec<(String, Sample)>),
    Record(Vec<(String, Sample)>),
}

/// The `n`th value of a schema, always the same one: the 0th is the least, the 1st the most that its types allow, all others are between.
pub(crate) fn sample(schema: &Schema, n: u64) -> Sample {
    Making { schema, n }.value("", &schema.root)
}

struct Making<'a> {
    schema: &'a Schema,
    n: u64,
}

impl Making<'_> {
    fn value(&self, at: &str, ty: &Type) -> Sample {
        let mut random = self.random(at);
        match ty {
            Type::Primitive(Primitive::String, Some(logical)) if logical == "uuid" => {
                Sample::String(uuid_text(self.uuid(random)))
            }
            Type::Primitive(Primitive::Bytes, Some(logical)) => Sample::Bytes(self.decimal(random, logical)),
            Type::Primitive(primitive, _) => self.primitive(random, *primitive),
            Type::Array(items) => {
                let items = (0..self.count(&mut random)).map(|i| self.value(&format!("{at}/{i}"), items));
                Sample::Array(items.collect())
            }
            Type::Map(values) => {
                let entry = |i: u64| (format!("key {i}, é"), self.value(&format!("{at}/{i}"), values));
                Sample::Map((0..self.count(&mut random)).map(entry).collect())
            }
            Type::Union(branches) => {
                let i = self.choose(&mut random, branches.len());
                let name = ty.nullable().is_none().then(|| branch_name(&branches[i]));
                Sample::Branch(i, name, Box::new(self.value(at, &branches[i])))
            }
            Type::Named(name) => match self.schema.named.get(name).map(|definition| &definition.body) {
                Some(Body::Record(fields)) => {
                    let field = |field: &crate::schema::Field| {
                        (field.name.clone(), self.value(&format!("{at}/{}", field.name), &field.ty))
                    };
                    Sample::Record(fields.iter().map(field).collect())
                }
                Some(Body::Enum { symbols, .. }) => {
                    let i = self.choose(&mut random, symbols.len());
                    Sample::Symbol(i, symbols[i].clone())
                }
                Some(Body::Fixed { logical: Some(logical), .. }) if logical == "uuid" => Sample::Uuid(self.uuid(random)),
                Some(Body::Fixed { size, .. }) => Sample::Fixed((0..*size).map(|_| self.byte(&mut random)).collect()),
                None => Sample::Null,
            },
        }
    }

    fn primitive(&self, mut random: Random, primitive: Primitive) -> Sample {
        // Floats of few digits, which are the same in JSON whether they are written as float or as double.
        let float = |random: &mut Random| f64::from(random.next() as u16) / 4.0 - 1000.0;
        match (primitive, self.n) {
            (Primitive::Null, _) => Sample::Null,
            (Primitive::Boolean, 0) => Sample::Boolean(false),
            (Primitive::Boolean, 1) => Sample::Boolean(true),
            (Primitive::Boolean, _) => Sample::Boolean(random.below(2) == 1),
            (Primitive::Int, 0) => Sample::Int(i32::MIN),
            (Primitive::Int, 1) => Sample::Int(i32::MAX),
            (Primitive::Int, _) => Sample::Int((random.next() as i32) >> random.below(32)),
            (Primitive::Long, 0) => Sample::Long(i64::MIN),
            (Primitive::Long, 1) => Sample::Long(i64::MAX),
            (Primitive::Long, _) => Sample::Long((random.next() as i64) >> random.below(64)),
            (Primitive::Float, 0) => Sample::Float(0.0),
            (Primitive::Float, _) => Sample::Float(float(&mut random) as f32),
            (Primitive::Double, 0) => Sample::Double(0.0),
            (Primitive::Double, _) => Sample::Double(float(&mut random)),
            (Primitive::Bytes, 0) => Sample::Bytes(Vec::new()),
            (Primitive::Bytes, _) => Sample::Bytes((0..random.below(200)).map(|_| self.byte(&mut random)).collect()),
            (Primitive::String, 0) => Sample::String(String::new()),
            (Primitive::String, _) => {
                let letters = ['a', 'Z', '0', ' ', '"', '\\', '\n', 'ü', '茶', '🫖'];
                Sample::String((0..random.below(80)).map(|_| letters[random.below(10) as usize]).collect())
            }
        }
    }

    /// As many bytes as its precision may need: apache-avro's resolution refuses fewer.
    fn decimal(&self, mut random: Random, logical: &str) -> Vec<u8> {
        let precision = logical.trim_start_matches("decimal(").split(',').next().and_then(|digits| digits.parse::<usize>().ok());
        // log2(10) is a little less than 3.33, and there is a sign.
        let bytes = (precision.unwrap_or(1) * 333 / 100 + 2).div_ceil(8);
        (0..bytes).map(|_| self.byte(&mut random)).collect()
    }

    fn uuid(&self, mut random: Random) -> [u8; 16] {
        std::array::from_fn(|_| self.byte(&mut random))
    }

    fn byte(&self, random: &mut Random) -> u8 {
        match self.n {
            0 => 0,
            1 => 0xff,
            _ => random.next() as u8,
        }
    }

    fn count(&self, random: &mut Random) -> u64 {
        match self.n {
            0 => 0,
            1 => MOST_ITEMS,
            _ => random.below(MOST_ITEMS + 1),
        }
    }

    fn choose(&self, random: &mut Random, of: usize) -> usize {
        match self.n {
            0 => 0,
            1 => of - 1,
            _ => random.below(of as u64) as usize,
        }
    }

    /// What is made up at a place depends on the place, so that a new field leaves the others as they were.
    fn random(&self, at: &str) -> Random {
        let seed =
            at.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let mut random = Random(seed ^ self.n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.next();
        random
    }
}

/// As the variant is called in JSON.
fn branch_name(ty: &Type) -> String {
    match ty {
        Type::Primitive(primitive, _) => primitive.word().to_owned(),
        Type::Array(_) => "array".to_owned(),
        Type::Map(_) => "map".to_owned(),
        Type::Union(_) => "union".to_owned(),
        Type::Named(name) => name.clone(),
    }
}

fn uuid_text(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

impl Sample {
    /// In Avro's binary encoding.
    pub(crate) fn avro(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => {}
            Self::Boolean(value) => out.push(u8::from(*value)),
            Self::Int(value) => write_long(i64::from(*value), out),
            Self::Long(value) => write_long(*value, out),
            Self::Float(value) => out.extend(value.to_bits().to_le_bytes()),
            Self::Double(value) => out.extend(value.to_bits().to_le_bytes()),
            Self::Bytes(bytes) => write_bytes(bytes, out),
            Self::String(text) => write_bytes(text.as_bytes(), out),
            Self::Fixed(bytes) => out.extend(bytes),
            Self::Uuid(bytes) => out.extend(bytes),
            Self::Symbol(i, _) => write_long(*i as i64, out),
            Self::Branch(i, _, value) => {
                write_long(*i as i64, out);
                value.write(out);
            }
            Self::Array(items) => {
                block(items.len(), out, |out| items.iter().for_each(|item| item.write(out)));
            }
            Self::Map(entries) => block(entries.len(), out, |out| {
                for (key, value) in entries {
                    write_bytes(key.as_bytes(), out);
                    value.write(out);
                }
            }),
            Self::Record(fields) => fields.iter().for_each(|(_, value)| value.write(out)),
        }
    }

    /// As a generated type is written as JSON.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => json!(value),
            Self::Int(value) => json!(value),
            Self::Long(value) => json!(value),
            Self::Float(value) => json!(value),
            Self::Double(value) => json!(value),
            Self::Bytes(bytes) | Self::Fixed(bytes) => json!(bytes),
            Self::String(text) | Self::Symbol(_, text) => json!(text),
            Self::Uuid(bytes) => json!(uuid_text(*bytes)),
            Self::Branch(_, None, value) => value.json(),
            Self::Branch(_, Some(name), value) if matches!(**value, Self::Null) => json!(name),
            Self::Branch(_, Some(name), value) => json!({ name: value.json() }),
            Self::Array(items) => items.iter().map(Self::json).collect(),
            Self::Map(entries) | Self::Record(entries) => {
                Value::Object(entries.iter().map(|(key, value)| (key.clone(), value.json())).collect())
            }
        }
    }
}

/// All items in one block, and the empty block that ends them.
fn block(items: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if items > 0 {
        write_long(items as i64, out);
        write(out);
    }
    out.push(0);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_long(bytes.len() as i64, out);
    out.extend(bytes);
}

/// Zigzag, so that small negative numbers are short too, then seven bits a byte, the least first.
fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// splitmix64: the same numbers in every run.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(sample: Sample) -> Vec<u8> {
        sample.avro()
    }

    /// The examples of Avro's specification, and what it says of the rest: what is generated is held to this, and this to nothing else here.
    #[test]
    fn values_are_the_bytes_of_the_specification() {
        for (value, written) in [(0, &[0][..]), (-1, &[1]), (1, &[2]), (-2, &[3]), (2, &[4]), (-64, &[0x7f]), (64, &[0x80, 0x01])]
        {
            assert_eq!(bytes(Sample::Long(value)), written, "{value}");
            assert_eq!(bytes(Sample::Int(value as i32)), written, "{value}");
        }
        assert_eq!(bytes(Sample::Long(i64::MIN)), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert_eq!(bytes(Sample::String("foo".into())), [0x06, 0x66, 0x6f, 0x6f]);
        assert_eq!(bytes(Sample::Bytes(vec![0xff])), [0x02, 0xff]);
        assert_eq!(
            bytes(Sample::Record(vec![("a".into(), Sample::Long(27)), ("b".into(), Sample::String("foo".into()))])),
            [0x36, 0x06, 0x66, 0x6f, 0x6f]
        );
        assert_eq!(bytes(Sample::Symbol(3, "D".into())), [0x06]);
        assert_eq!(bytes(Sample::Array(vec![Sample::Long(3), Sample::Long(27)])), [0x04, 0x06, 0x36, 0x00]);
        assert_eq!(bytes(Sample::Array(vec![])), [0x00]);
        assert_eq!(bytes(Sample::Map(vec![("a".into(), Sample::Boolean(true))])), [0x02, 0x02, 0x61, 0x01, 0x00]);
        assert_eq!(bytes(Sample::Branch(0, None, Box::new(Sample::Null))), [0x00]);
        assert_eq!(bytes(Sample::Branch(1, None, Box::new(Sample::String("a".into())))), [0x02, 0x02, 0x61]);
        assert_eq!(bytes(Sample::Float(1.0)), [0, 0, 0x80, 0x3f]);
        assert_eq!(bytes(Sample::Double(1.0)), [0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        assert_eq!(bytes(Sample::Fixed(vec![1, 2])), [1, 2]);
        assert_eq!(bytes(Sample::Uuid([7; 16])), [7; 16]);
        assert_eq!(uuid_text([0xab; 16]), "abababab-abab-abab-abab-abababababab");
    }
}
