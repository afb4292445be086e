//! What a team may ask of its schemas beyond what Avro does.

use crate::files::File;
use crate::names::{is_camel, is_snake};
use crate::schema::{Body, Definition, Field};

/// What a team asks of its schemas beyond what Avro does; by default nothing. Whoever breaks a rule is told the file, the field and
/// what to do, and the build fails.
///
/// ```
/// use farandole_build::Rules;
///
/// let rules = Rules::none().docs().enum_defaults();    // some of them
/// let all = Rules::house().namespaces("com.acme");     // all of them
/// assert_ne!(rules, all);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    docs: bool,
    names: bool,
    enum_defaults: bool,
    null_defaults: bool,
    no_nullable_end: bool,
    file_names: bool,
    namespace: Option<String>,
}

impl Rules {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// Those that Farandole's own shop keeps: all but [`Rules::namespaces`].
    pub fn house() -> Self {
        Self::none().docs().names().enum_defaults().null_defaults().no_nullable_end().file_names()
    }

    /// Every record, enum and field has a `doc`: others read it in the registry.
    #[must_use]
    pub fn docs(self) -> Self {
        Self { docs: true, ..self }
    }

    /// Types are `CamelCase`, fields `snake_case`, symbols `UPPER_SNAKE`.
    #[must_use]
    pub fn names(self) -> Self {
        Self { names: true, ..self }
    }

    /// Every enum has a `default`, without which no symbol can ever be added.
    #[must_use]
    pub fn enum_defaults(self) -> Self {
        Self { enum_defaults: true, ..self }
    }

    /// Every nullable field has a `default`, without which it can never go again.
    #[must_use]
    pub fn null_defaults(self) -> Self {
        Self { null_defaults: true, ..self }
    }

    /// No event ends with a nullable field: apache-avro takes one whose bytes are cut off there for a null.
    #[must_use]
    pub fn no_nullable_end(self) -> Self {
        Self { no_nullable_end: true, ..self }
    }

    /// A file holds the record of its name.
    #[must_use]
    pub fn file_names(self) -> Self {
        Self { file_names: true, ..self }
    }

    /// An event's namespace is `prefix` and its topic, `farandole.orders`, and the types in it stay there.
    #[must_use]
    pub fn namespaces(self, prefix: impl Into<String>) -> Self {
        Self { namespace: Some(prefix.into()), ..self }
    }

    /// What of a file, whose events are on `topic`, breaks them.
    pub(crate) fn broken(&self, file: &File, topic: Option<&str>) -> Vec<String> {
        let mut found = Vec::new();
        if self.file_names && !matches!(file.schema.record(), Some((record, _)) if record.name.simple == file.name()) {
            found.push(format!("must be a record named {}; rename the file or the record", file.name()));
        }
        if let (true, Some((record, [.., last]))) = (self.no_nullable_end, file.schema.record())
            && last.ty.nullable().is_some()
        {
            let at = format!("{}.{}", record.name.simple, last.name);
            found.push(format!("{at}: a nullable field ends the record, and cut off it reads as null; move it before another"));
        }
        for definition in file.schema.named.values() {
            self.definition(definition, topic, &mut found);
        }
        found.into_iter().map(|why| format!("{}: {why}", file.shown)).collect()
    }

    fn definition(&self, definition: &Definition, topic: Option<&str>, found: &mut Vec<String>) {
        let name = &definition.name.simple;
        if self.docs && definition.doc.is_none() {
            found.push(format!("{name} has no doc; others read it in the registry, so say what it is"));
        }
        if self.names && !is_camel(name) {
            found.push(format!("{name} isn't CamelCase; rename it"));
        }
        if let (Some(prefix), Some(topic)) = (&self.namespace, topic) {
            let wanted = format!("{prefix}.{topic}");
            if definition.name.namespace != wanted {
                found.push(format!("{name} must be in the namespace {wanted}; give the event \"namespace\": \"{wanted}\""));
            }
        }
        match &definition.body {
            Body::Record(fields) => fields.iter().for_each(|field| self.field(name, field, found)),
            Body::Enum { symbols, default } => {
                if self.enum_defaults && default.is_none() {
                    found.push(format!("{name} needs a default among its symbols, or no symbol can ever be added; append OTHER"));
                }
                let shouted = |symbol: &&String| is_snake(&symbol.to_ascii_lowercase()) && !symbol.contains(char::is_lowercase);
                let odd = symbols.iter().filter(|symbol| self.names && !shouted(symbol));
                found.extend(odd.map(|symbol| format!("{name}: {symbol} isn't UPPER_SNAKE; rename it")));
            }
            Body::Fixed { .. } => {}
        }
    }

    fn field(&self, record: &str, field: &Field, found: &mut Vec<String>) {
        let at = format!("{record}.{}", field.name);
        if self.docs && field.doc.is_none() {
            found.push(format!("{at} has no doc; others read it in the registry, so say what it is"));
        }
        if self.names && !is_snake(&field.name) {
            found.push(format!("{at} isn't snake_case; rename it"));
        }
        if self.null_defaults && field.ty.nullable().is_some() && field.default.is_none() {
            found.push(format!("{at}: nullable without a default, so it can never go again; give it \"default\": null"));
        }
    }
}
