"""Saved searches, and alerts: those with a schedule, a condition and actions."""
