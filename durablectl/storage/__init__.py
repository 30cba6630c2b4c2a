"""The only place that knows JetStream: subjects, headers, compare-and-set, streams."""
