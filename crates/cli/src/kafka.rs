//! How topics are read from one end to the other.

use rdkafka::config::ClientConfig;

/// A client's settings: enough is fetched at once that reading a whole topic is as fast as its brokers. `properties` come over them.
pub fn client(id: &str, bootstrap: &str, properties: &[(String, String)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("client.id", id).set("fetch.max.bytes", "16777216").set("queued.max.messages.kbytes", "32768");
    for (name, value) in properties {
        config.set(name, value);
    }
    config.set("bootstrap.servers", bootstrap);
    config
}
