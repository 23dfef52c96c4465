"""The pages, one file for each noun with a `router`. To add one, write its file and name it in `MODULES`."""

from labdock_controller.dashboard.pages import (
    administration,
    alerts,
    data,
    environments,
    lab,
    models,
    modules,
    provider,
    search,
    sign_in,
)

MODULES = (sign_in, provider, lab, environments, search, data, alerts, models, modules, administration)
