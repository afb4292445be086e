//! One schema's types as Rust.

use std::fmt::Write as _;

use crate::generate::helper::{self, Used};
use crate::generate::module::Module;
use crate::names::{Scope, camel, is_camel, snake};
use crate::schema::{Body, Definition, Field, Primitive, Schema, Type};

/// The words of others are no matter for Clippy, nor is how long their records are.
const ALLOW: &str = "#[allow(clippy::all, clippy::pedantic)]\n";

/// Writes the types of one file into its module.
pub(crate) struct Types<'a> {
    pub schema: &'a Schema,
    pub module: &'a mut Module,
    /// Modules around it.
    pub depth: usize,
    pub used: &'a mut Used,
}

/// A type in Rust.
struct Rust {
    name: String,
    /// The way of the module `avro_serde` that it is written and read in; none: serde's own.
    way: Option<String>,
    /// Whether it is `Eq`: there are no floats in it.
    eq: bool,
}

impl Rust {
    fn plain(name: impl Into<String>) -> Self {
        Self { name: name.into(), way: None, eq: true }
    }
}

/// A field or variant, ready to be written.
struct Member {
    rust: String,
    avro: String,
    ty: Rust,
}

impl Types<'_> {
    /// Writes the definition.
    pub(crate) fn define(&mut self, definition: &Definition) {
        let rust = self.module.named(&definition.name);
        match &definition.body {
            Body::Record(fields) => self.record(&rust, definition, fields),
            Body::Enum { symbols, .. } => self.enumeration(&rust, definition, symbols),
            // An array of bytes where it is used.
            Body::Fixed { .. } => {}
        }
    }

    fn record(&mut self, rust: &str, definition: &Definition, fields: &[Field]) {
        let simple = &definition.name.simple;
        let mut scope = Scope::default();
        let mut code = String::new();
        let mut members = Vec::new();
        for field in fields {
            let union = format!("{}{}", rust.trim_start_matches("r#"), camel(&field.name));
            let ty = self.ty(&union, &format!("{simple}.{}", field.name), &field.ty);
            code.push_str(&doc(field.doc.as_deref(), &format!("`{}`.", field.name)));
            let name = scope.add(&snake(&field.name));
            if name.trim_start_matches("r#") != field.name {
                let _ = writeln!(code, "#[serde(rename = {:?})]", field.name);
            }
            code.push_str(&self.read_with(&ty));
            if ty.way.is_some() && field.ty.nullable().is_some() {
                // As it is for options without a way of their own: text formats may leave it out.
                code.push_str("#[serde(default)]\n");
            }
            let _ = writeln!(code, "pub {name}: {},", ty.name);
            members.push(Member { rust: name, avro: field.name.clone(), ty });
        }
        let eq = if self.is_eq(&Type::Named(definition.name.full())) { "Eq, " } else { "" };
        let head = head(rust, definition, &format!("Debug, Clone, PartialEq, {eq}::serde::Deserialize"));
        let serialize = self.serialize(rust, simple, &members);
        let _ = write!(self.module.code, "{head}pub struct {rust} {{\n{code}}}\n{serialize}");
    }

    fn enumeration(&mut self, rust: &str, definition: &Definition, symbols: &[String]) {
        let derives = "Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize";
        let mut code = format!("{}pub enum {rust} {{\n", head(rust, definition, derives));
        let mut scope = Scope::default();
        for symbol in symbols {
            let _ = writeln!(code, "/// `{symbol}`.\n#[serde(rename = {symbol:?})]\n{},", scope.add(&camel(symbol)));
        }
        code.push_str("}\n");
        self.module.code.push_str(&code);
    }

    /// Writes an enum with a variant for each of the types. Its names in text formats are those that Avro gives the types in JSON.
    fn union(&mut self, wanted: &str, at: &str, branches: &[Type]) -> String {
        let rust = self.module.scope.add(wanted);
        let mut scope = Scope::default();
        let (mut variants, mut arms) = (String::new(), String::new());
        for (i, branch) in branches.iter().enumerate() {
            let (avro, simple) = self.branch(branch);
            let variant = scope.add(&camel(&simple));
            let _ = write!(variants, "/// `{avro}`.\n#[serde(rename = {avro:?})]\n{variant}");
            if *branch == Type::NULL {
                variants.push_str(",\n");
                let _ = writeln!(arms, "Self::{variant} => serializer.serialize_unit_variant({rust:?}, {i}, {avro:?}),");
                continue;
            }
            let ty = self.ty(&format!("{wanted}{variant}"), at, branch);
            let _ = writeln!(variants, "({}{}),", self.read_with(&ty).trim_end(), ty.name);
            let value = self.written(&ty, "value");
            let _ = writeln!(
                arms,
                "Self::{variant}(value) => serializer.serialize_newtype_variant({rust:?}, {i}, {avro:?}, {value}),"
            );
        }
        let eq = if branches.iter().all(|branch| self.is_eq(branch)) { "Eq, " } else { "" };
        let _ = write!(
            self.module.code,
            "/// What `{at}` can be.\n#[derive(Debug, Clone, PartialEq, {eq}::serde::Deserialize)]\n\
             {ALLOW}pub enum {rust} {{\n{variants}}}\n\
             {ALLOW}impl ::serde::Serialize for {rust} {{
fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error> {{
match self {{\n{arms}}}\n}}\n}}\n"
        );
        rust
    }

    /// A union's type as Avro calls it in JSON, and the same in one word.
    fn branch(&self, ty: &Type) -> (String, String) {
        let word = match ty {
            Type::Primitive(primitive, _) => primitive.word(),
            Type::Array(_) => "array",
            Type::Map(_) => "map",
            Type::Union(_) => "union",
            Type::Named(name) => return (name.clone(), name.rsplit('.').next().unwrap_or(name).to_owned()),
        };
        (word.to_owned(), word.to_owned())
    }

    /// The type in Rust. `union` is what an enum that has to be made for it is called, `at` where it stands.
    fn ty(&mut self, union: &str, at: &str, ty: &Type) -> Rust {
        if let Some(some) = ty.nullable() {
            return self.holding(union, at, some, "::std::option::Option<", "Nullable");
        }
        match ty {
            Type::Primitive(Primitive::String, Some(logical)) if logical == "uuid" => self.uuid("UuidText"),
            Type::Primitive(Primitive::Bytes, _) => {
                self.used.bytes = true;
                Rust { way: Some(self.way("Bytes")), ..Rust::plain("::std::vec::Vec<u8>") }
            }
            Type::Primitive(primitive, _) => Rust { eq: self.is_eq(ty), ..Rust::plain(primitive_name(*primitive)) },
            Type::Array(items) => self.holding(union, at, items, "::std::vec::Vec<", "Array"),
            Type::Map(values) => self.holding(union, at, values, "::std::collections::BTreeMap<::std::string::String, ", "Map"),
            Type::Union(branches) => Rust { eq: self.is_eq(ty), ..Rust::plain(self.union(union, at, branches)) },
            Type::Named(name) => {
                let Some(definition) = self.schema.named.get(name) else { return Rust::plain("()") };
                match &definition.body {
                    Body::Fixed { logical: Some(logical), .. } if logical == "uuid" => self.uuid("UuidBytes"),
                    Body::Fixed { size, .. } => {
                        (self.used.fixed, self.used.bytes) = (true, true);
                        Rust { way: Some(self.way("Fixed")), ..Rust::plain(format!("[u8; {size}]")) }
                    }
                    _ => Rust { eq: self.is_eq(ty), ..Rust::plain(self.module.named(&definition.name)) },
                }
            }
        }
    }

    /// `Vec<…>` and the like.
    fn holding(&mut self, union: &str, at: &str, inner: &Type, name: &str, way: &str) -> Rust {
        let inner = self.ty(union, at, inner);
        let way = inner.way.map(|inner| format!("{}<{inner}>", self.way(way)));
        Rust { name: format!("{name}{}>", inner.name), way, eq: inner.eq }
    }

    fn uuid(&mut self, way: &str) -> Rust {
        self.used.uuid = true;
        Rust { way: Some(self.way(way)), ..Rust::plain("::uuid::Uuid") }
    }

    fn way(&self, name: &str) -> String {
        format!("{}{}::{name}", "super::".repeat(self.depth), helper::NAME)
    }

    fn is_eq(&self, ty: &Type) -> bool {
        match ty {
            Type::Primitive(primitive, _) => !matches!(primitive, Primitive::Float | Primitive::Double),
            Type::Array(inner) | Type::Map(inner) => self.is_eq(inner),
            Type::Union(branches) => branches.iter().all(|branch| self.is_eq(branch)),
            Type::Named(name) => match self.schema.named.get(name).map(|definition| &definition.body) {
                Some(Body::Record(fields)) => fields.iter().all(|field| self.is_eq(&field.ty)),
                _ => true,
            },
        }
    }

    fn read_with(&self, ty: &Rust) -> String {
        let read = self.way("read");
        ty.way.as_ref().map(|way| format!("#[serde(deserialize_with = \"{read}::<{way}, _, _>\")]\n")).unwrap_or_default()
    }

    /// The reference `value` as something to serialize.
    fn written(&self, ty: &Rust, value: &str) -> String {
        match &ty.way {
            Some(way) => format!("&{}::<{way}, _>({value})", self.way("with")),
            None => value.to_owned(),
        }
    }

    /// `Serialize` for a record: by the fields' names for text formats, in the schema's order for Avro, which then needn't look each
    /// name up (half of the time that encoding took). The order is right because this comes from the schema that the type names.
    fn serialize(&self, rust: &str, simple: &str, members: &[Member]) -> String {
        let values = members.iter().map(|member| (member, self.written(&member.ty, &format!("&self.{}", member.rust))));
        let (mut named, mut placed) = (String::new(), String::new());
        for (member, value) in values {
            let _ = writeln!(named, "record.serialize_field({:?}, {value})?;", member.avro);
            let _ = writeln!(placed, "record.serialize_field({value})?;");
        }
        let count = members.len();
        format!(
            "{ALLOW}impl ::serde::Serialize for {rust} {{
fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error> {{
if serializer.is_human_readable() {{
use ::serde::ser::SerializeStruct as _;
#[allow(unused_mut)]
let mut record = serializer.serialize_struct({simple:?}, {count})?;
{named}record.end()
}} else {{
use ::serde::ser::SerializeTupleStruct as _;
#[allow(unused_mut)]
let mut record = serializer.serialize_tuple_struct({simple:?}, {count})?;
{placed}record.end()
}}
}}
}}
"
        )
    }
}

fn primitive_name(primitive: Primitive) -> &'static str {
    match primitive {
        Primitive::Null => "()",
        Primitive::Boolean => "bool",
        Primitive::Int => "i32",
        Primitive::Long => "i64",
        Primitive::Float => "f32",
        Primitive::Double => "f64",
        Primitive::Bytes => "::std::vec::Vec<u8>",
        Primitive::String => "::std::string::String",
    }
}

/// What stands in front of a type.
fn head(rust: &str, definition: &Definition, derives: &str) -> String {
    let mut head = doc(definition.doc.as_deref(), &format!("`{}`.", definition.name.full()));
    let _ = writeln!(head, "#[derive({derives})]");
    if rust != definition.name.simple {
        // Avro's readers ask for the record by its name.
        let _ = writeln!(head, "#[serde(rename = {:?})]", definition.name.simple);
    }
    head.push_str(ALLOW);
    if !is_camel(rust) {
        head.push_str("#[allow(non_camel_case_types)]\n");
    }
    head
}

/// A comment that says the same whatever is in it: no links, no HTML, and no code that `cargo test` would run.
fn doc(doc: Option<&str>, otherwise: &str) -> String {
    let mut text = String::new();
    for line in doc.unwrap_or(otherwise).lines() {
        let line = line.trim().replace("```", "'''").replace("~~~", "'''");
        // One alone opens no code.
        let paired = line.matches('`').count() % 2 == 0;
        let mut code = false;
        text.push(' ');
        for (i, c) in line.char_indices() {
            code ^= paired && c == '`';
            if !code && (matches!(c, '[' | ']' | '<' | '>') || c == '`' && !paired || line[i..].starts_with("://")) {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('\n');
    }
    format!("#[doc = {:?}]\n", text.trim_end())
}
