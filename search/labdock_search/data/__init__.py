"""The data of searches: indexes, ingest, lookups, the HTTP Event Collector, exports."""
