"""Readers of event files, one for each format: each yields tables of event types and notes what it could not read."""
