"""The dashboard: pages rendered here, live by htmx and small ES modules. `docs/dashboard.md` says how one is made."""

from labdock_controller.dashboard import static
from labdock_controller.dashboard.pages import MODULES

ROUTERS = (static.router, *(module.router for module in MODULES))
