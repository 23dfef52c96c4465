"""32 clients with 32 different models and modules in one environment: every reply is recomputed by its client.

While they apply, each client also edits its module now and then and applies or fits again at once: an answer of the
old code is as wrong as one of another client's model.
"""

import random
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.servers import Setup, everything
from labdock.connection import Connection
from labdock.transport import Frames
from labdock.wire import FrameOptions

MODULE = """
import pandas as pd

NUMBER = {number}
GENERATION = {generation}


def init(df, param):
    return {{"slope": 0.0}}


def fit(model, df, param):
    model["slope"] = float(df["x"].iloc[0]) + NUMBER
    return {{}}


def apply(model, df, param):
    return pd.DataFrame({{"y": df["x"] * model["slope"] + GENERATION, "who": NUMBER}})
"""


class Client(threading.Thread):
    """One user with one module and one model; even ones go through the door, odd ones ask the environment itself."""

    def __init__(self, setup: Setup, number: int, end: float) -> None:
        super().__init__(name=f"client {number}")
        self.number, self.end = number, end
        self.module, self.model = f"load_module_{number}", f"load_model_{number}"
        self.path: Path = setup.notebooks / "modules" / f"{self.module}.py"
        known = setup.direct if number % 2 else setup.door
        self.frames = Frames(Connection(known.url, known.token))
        self.base = "/v1/" if number % 2 else "/api/environments/bench/"
        self.random = random.Random(number)
        self.generation, self.slope = 0, 0.0
        self.count: Counter[str] = Counter()
        self.wrong: list[str] = []

    def save(self) -> None:
        """Write the module as an editor does: another file, then a rename."""
        self.generation += 1
        text = MODULE.format(number=self.number, generation=self.generation)
        draft = self.path.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(self.path)
        self.count["saved"] += 1

    def ask(self, action: str, first: float) -> None:
        rows = self.random.choice([1, 10, 1000, 20_000])
        x = np.random.default_rng(self.random.getrandbits(32)).normal(size=rows)
        x[0] = first
        if action == "fit":
            self.slope = first + self.number
        options = FrameOptions(algo=self.module, model=self.model)
        answer, info = self.frames.post(self.base + action, pa.table({"x": x}), options)
        self.count[action] += 1
        expected = x * self.slope + self.generation
        if not np.array_equal(answer["y"].to_numpy(), expected) or set(answer["who"].to_pylist()) != {self.number}:
            self.wrong.append(f"{self.name}: {action} of {rows} rows, version {info['version']}, differs")

    def run(self) -> None:
        try:
            self.save()
            self.ask("fit", 1.0)
            while time.monotonic() < self.end:
                chance = self.random.random()
                if chance < 0.03:
                    self.save()
                if chance < 0.06:
                    self.ask("fit", self.random.uniform(1, 9))
                self.ask("apply", self.random.uniform(1, 9))
        except Exception as error:  # noqa: BLE001 - told at the end, with whose it was
            self.wrong.append(f"{self.name}: {type(error).__name__}: {error}")


def run(seconds: float, clients: int) -> int:
    """Gives the exit code."""
    with everything() as setup:
        end = time.monotonic() + seconds
        threads = [Client(setup, number, end) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        models = {m["model"] for m in setup.direct.call("GET", "/v1/models")}
        lost = [t.model for t in threads if t.model not in models]
    count = sum((t.count for t in threads), Counter())
    wrong = [text for t in threads for text in t.wrong] + [f"{name} is lost" for name in lost]
    replies = count["fit"] + count["apply"]
    print(f"{clients} clients, {seconds:g} s: {replies} replies ({count['fit']} fits), {count['saved']} modules saved,")
    print(f"{replies / seconds:.0f} replies a second, {len(wrong)} wrong")
    print(*wrong[:20], sep="\n")
    return 1 if wrong or not replies else 0
