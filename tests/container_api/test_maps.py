"""Frames' files stay mapped for the next frame, and never longer than somebody may read them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labdock.errors import InvalidFrame
from labdock_container.workers.maps import Maps

SIZE = 100_000


@pytest.fixture
def file() -> Iterator[int]:
    fd = os.open("/tmp", os.O_TMPFILE | os.O_RDWR)
    os.write(fd, b"a" * SIZE)
    yield fd
    os.close(fd)


def mapped(fd: int) -> int:
    """How many mappings of the file this process has, as Linux counts."""
    inode = str(os.fstat(fd).st_ino)
    return sum(line.split()[4] == inode for line in Path("/proc/self/maps").read_text().splitlines())


def test_a_kept_file_is_mapped_once_and_shows_the_next_frame(file: int) -> None:
    maps = Maps()
    first = maps.open(file, SIZE)
    assert first.released()
    maps.keep(first)
    os.pwrite(file, b"b" * SIZE, 0)
    second = maps.open(file, SIZE - 1)
    assert second.buffer is not None
    assert second.buffer.to_pybytes() == b"b" * (SIZE - 1)
    assert second.mapping is first.mapping
    assert mapped(file) == 1


def test_a_file_that_grew_is_mapped_anew(file: int) -> None:
    maps = Maps()
    first = maps.open(file, SIZE)
    assert first.released()
    maps.keep(first)
    os.pwrite(file, b"c" * SIZE, SIZE)
    second = maps.open(file, 2 * SIZE)
    assert second.buffer is not None
    assert second.buffer.to_pybytes() == b"a" * SIZE + b"c" * SIZE
    del first
    assert mapped(file) == 1


def test_what_somebody_still_refers_to_is_not_released(file: int) -> None:
    frame = Maps().open(file, SIZE)
    column = frame.buffer
    assert not frame.released()
    assert column is not None
    assert column.to_pybytes() == b"a" * SIZE


def test_nothing_stays_mapped_that_nobody_keeps(file: int) -> None:
    maps = Maps()
    frame = maps.open(file, SIZE)
    assert frame.released()
    maps.keep(frame)
    del frame
    assert mapped(file) == 1
    maps.clear()
    assert mapped(file) == 0


def test_the_oldest_mappings_go_first() -> None:
    maps = Maps(most=2 * SIZE)
    files = [os.open("/tmp", os.O_TMPFILE | os.O_RDWR) for _ in range(3)]
    for fd in files:
        os.write(fd, bytes(SIZE))
        frame = maps.open(fd, SIZE)
        assert frame.released()
        maps.keep(frame)
        del frame
    assert [mapped(fd) for fd in files] == [0, 1, 1]
    for fd in files:
        os.close(fd)


def test_a_file_that_was_cut_short_is_named_and_not_touched(file: int) -> None:
    maps = Maps()
    frame = maps.open(file, SIZE)
    assert frame.released()
    maps.keep(frame)
    os.ftruncate(file, 10)
    with pytest.raises(InvalidFrame, match="shorter than"):
        maps.open(file, SIZE)
    with pytest.raises(InvalidFrame, match="empty"):
        maps.open(file, 0)
