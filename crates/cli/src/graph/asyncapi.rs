//! A choreography as an AsyncAPI 3 document: a channel a topic, an operation for each service that publishes or consumes there, and a
//! message an event, with the headers that every record of the kit has.

use serde_json::{Map, Value, json};

use super::choreography::{Choreography, Published};
use super::declared::Declared;
use super::schemas::Schemas;
use super::words::{listed, plain, short};

/// The version of Avro's specification that schemas are written in.
const AVRO: &str = "application/vnd.apache.avro;version=1.9.0";
/// The version of AsyncAPI's Kafka bindings.
const BINDING: &str = "0.5.0";

/// The document. Messages have a payload where `schemas` has one.
pub fn asyncapi(all: &Choreography, schemas: Option<&Schemas>) -> Value {
    let mut channels = Map::new();
    for (topic, events) in all.topics() {
        let mut publishers: Vec<&str> = events.iter().map(|event| event.publisher).collect();
        publishers.dedup();
        let messages: Map<String, Value> =
            events.iter().map(|e| (plain(e.event), reference(&["components", "messages", &plain(e.event)]))).collect();
        channels.insert(plain(topic), json!({
            "address": topic,
            "description": format!("Events of {}. The key is the aggregate's id, whose events stay in order.", listed(&publishers)),
            "messages": messages,
            "bindings": { "kafka": { "topic": topic, "bindingVersion": BINDING } },
        }));
    }
    let operations: Map<String, Value> = all.services().iter().flat_map(|service| operations(all, service)).collect();
    let messages: Map<String, Value> = all.events().map(|event| (plain(event.event), message(all, &event, schemas))).collect();
    let names: Vec<&str> = all.services().iter().map(|service| service.name.as_str()).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Choreography",
            "version": "1.0.0",
            "description": format!("What {} publish and consume. Written by `farandole graph` from what each of them declares.", listed(&names)),
        },
        "defaultContentType": farandole::codec::Encoding::Avro.content_type(),
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages, "schemas": { "headers": headers() } },
    })
}

/// What a service does: one operation for its own topic, and one for each that it consumes from.
fn operations(all: &Choreography, service: &Declared) -> Vec<(String, Value)> {
    let operation = |action: &str, topic: &str, summary: String, events: &[&str]| {
        let messages: Vec<Value> =
            events.iter().map(|event| reference(&["channels", &plain(topic), "messages", &plain(event)])).collect();
        json!({
            "action": action,
            "channel": reference(&["channels", &plain(topic)]),
            "summary": summary,
            "messages": messages,
            "tags": [{ "name": service.name }],
        })
    };
    let name = plain(&service.name);
    let mut operations = Vec::new();
    if !service.events.is_empty() {
        let events: Vec<&str> = service.events.iter().map(String::as_str).collect();
        let summary = format!("{} publishes.", service.name);
        operations.push((format!("{name}.publishes"), operation("send", &service.publishes, summary, &events)));
    }
    for (topic, events) in all.inputs(service) {
        let mut consumes = operation("receive", topic, format!("{} consumes from {topic}.", service.name), &events);
        let group = json!({ "type": "string", "const": service.group });
        consumes["bindings"] = json!({ "kafka": { "groupId": group, "bindingVersion": BINDING } });
        operations.push((format!("{name}.consumes.{}", plain(topic)), consumes));
    }
    operations
}

fn message(all: &Choreography, event: &Published<'_>, schemas: Option<&Schemas>) -> Value {
    let publisher = all.service(event.publisher);
    let end = if event.end { " An end: nobody need consume it." } else { "" };
    let mut message = json!({
        "name": event.event,
        "title": short(event.event),
        "contentType": publisher.map(|service| service.content_type.as_str()),
        "description": format!("Published by {}, consumed by {}.{end}", event.publisher, listed(&event.consumers)),
        "headers": reference(&["components", "schemas", "headers"]),
        "bindings": { "kafka": {
            "key": { "type": "string", "description": "The aggregate's id." },
            "bindingVersion": BINDING,
        } },
    });
    if let Some(doc) = schemas.and_then(|schemas| schemas.doc(event.event)) {
        message["summary"] = doc.into();
    }
    if let Some(schema) = schemas.and_then(|schemas| schemas.of(event.event)) {
        message["payload"] = json!({ "schemaFormat": AVRO, "schema": schema });
    }
    message
}

/// The headers of every record.
fn headers() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "content-type", "farandole"],
        "properties": {
            "ce_specversion": { "type": "string", "const": "1.0" },
            "ce_id": { "type": "string", "format": "uuid", "description": "The event's id." },
            "ce_source": text("Who published it."),
            "ce_type": text("The type's full name."),
            "ce_subject": text("The aggregate's id."),
            "ce_time": { "type": "string", "format": "date-time", "description": "When it happened." },
            "content-type": text("The value's format. Avro values are framed with their schema's id."),
            "traceparent": text("W3C trace context, if there is one."),
            "farandole": text("The record's place in its source's chain, what led to it, and what it belongs to."),
        },
    })
}

fn reference(path: &[&str]) -> Value {
    let path: Vec<String> = path.iter().map(|part| part.replace('~', "~0").replace('/', "~1")).collect();
    json!({ "$ref": format!("#/{}", path.join("/")) })
}
