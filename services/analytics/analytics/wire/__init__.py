"""What is in a record: docs/wire.md in code. Nothing here asks Kafka, a registry or a database."""
