"""API, dashboard, launcher, runtimes, access, models, alerts, state."""
