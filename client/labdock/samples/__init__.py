"""Data that Labdock makes itself, to try things on; nothing here was recorded anywhere."""
