"""The HTTP edge of an environment's API: the only modules that know Starlette, FastAPI and status codes."""
