"""Events and exposures to and from Kafka, beside the services: none of them knows of it."""
