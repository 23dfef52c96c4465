"""Runs inside every environment: stage, fit, apply, export."""
