"""A relay from an address to the real engine: it can be cut, go silent, and stand for an engine on another machine."""

import contextlib
import socket
import threading

ENGINE = "/var/run/docker.sock"


class Relay:
    """Listens on a free port of the loopback. `cut` ends all connections and refuses new ones; `silence` accepts
    and never answers."""

    def __init__(self) -> None:
        self.port = 0
        self.silent = False
        self._server: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.listen()

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def listen(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        self.port = self._server.getsockname()[1]
        self._run(self._accept, self._server)

    def cut(self) -> None:
        if self._server is not None:
            self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._server = None
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for connection in self._open:
            connection.close()
        self._open.clear()

    def _run(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(ENGINE)
            self._open += [client, engine]
            if not self.silent:
                self._run(self._copy, client, engine)
                self._run(self._copy, engine, client)

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
