"""Configuration of the environment's JupyterLab, loaded by `jupyter lab --config`; `c` is Jupyter's."""

import os

from labdock_container.jupyter.contents import NotebookContents
from labdock_container.jupyter.settings import LABEXTENSIONS, JupyterSettings

settings = JupyterSettings.from_environment(os.environ)
c = get_config()  # type: ignore[name-defined]  # noqa: F821 - Jupyter defines it

# Who may come in, and where: the door (or the port that a runtime publishes) is the only way.
c.IdentityProvider.token = settings.token()
c.ServerApp.base_url = settings.base_url
c.ServerApp.allow_remote_access = True
c.ServerApp.allow_root = True
c.ServerApp.open_browser = False
c.ServerApp.quit_button = False
c.ServerApp.terminals_enabled = settings.mode == "dev"
if settings.listen:
    c.ServerApp.ip, c.ServerApp.port = settings.address()
    c.ServerApp.port_retries = 0
else:
    c.ServerApp.sock = str(settings.socket)
    c.ServerApp.sock_mode = "0666"  # the run folder is 0700, and the token guards the rest

# A large output, and a large paste or widget, pass; a loop that prints is still stopped.
c.ZMQChannelsWebsocketConnection.iopub_data_rate_limit = 1e8
c.ServerApp.tornado_settings = {"websocket_max_message_size": 2**30}

# Notebooks, their modules and their checkpoints.
c.ServerApp.root_dir = str(settings.notebooks)
c.ServerApp.contents_manager_class = NotebookContents
c.FileContentsManager.delete_to_trash = False
c.FileCheckpoints.root_dir = str(settings.checkpoints())
c.FileCheckpoints.checkpoint_dir = ""
c.ServerApp.jpserver_extensions = {"labdock_container.jupyter": True}

# Nothing is fetched from anywhere, no news, no updates, no extensions from an index.
c.LabApp.extra_labextensions_path = [str(LABEXTENSIONS)]
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
c.LanguageServerManager.autodetect = False  # it would start npm to look for servers

# Kernels on Unix sockets in the run folder instead of TCP ports, where the path is short enough for one.
if settings.kernels_fit_on_sockets():
    c.KernelManager.transport = "ipc"

# SIGTERM must end every kernel, a busy one too, within supervisord's patience.
c.KernelManager.shutdown_wait_time = 2.0
