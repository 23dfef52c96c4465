"""JupyterLab's side of an environment: the hook that exports; what the extension asks for: findings, new notebooks."""

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "labdock_container.jupyter"}]


def _keep_token_out_of_pages() -> None:
    """Jupyter Server's own pages (errors, sign-in) would hold the token as an attribute; it has no setting for that."""
    from jupyter_server.base.handlers import JupyterHandler  # noqa: PLC0415

    def without_token(handler: Any) -> dict[str, Any]:
        return {**everything(handler), "token": ""}

    cls: Any = JupyterHandler  # a property of a class is nothing that types know
    everything = cls.template_namespace.fget
    cls.template_namespace = property(without_token)


def _load_jupyter_server_extension(server: Any) -> None:
    from labdock_container.jupyter import findings, new_notebooks  # noqa: PLC0415 - need jupyter_server

    # Both files would hold the token, whose only home is the run folder's own file; Jupyter has no setting for either.
    server.no_browser_open_file = True
    server.write_server_info_file = lambda: None
    # JupyterLab writes the token into its page. The door injects it instead, and a browser that had it would send it
    # in place of its own credentials. Extensions are loaded by name: JupyterLab's has set its page up already.
    server.web_app.settings.setdefault("page_config_data", {})["token"] = ""
    _keep_token_out_of_pages()
    base_url = server.web_app.settings["base_url"]
    server.web_app.add_handlers(".*$", [*findings.handlers(base_url), *new_notebooks.handlers(base_url)])
