"""Bytes of a .farthing file: both directions, against the safetensors package, written whole."""

import functools
import json
import math
import os
import stat
import struct
import time

import hypothesis
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from farthing import FarthingError, _core, container

SAMPLE = [
    ("ops", np.arange(32, dtype=np.uint8)),
    ("dense0.weight", np.arange(-3, 3, dtype=np.int8).reshape(2, 3)),
    ("dense0.bins", np.array([1, -2], np.int32)),
    ("dense0.bias", np.array([[0.5], [np.inf]], np.float32)),
    ("dense0.edges", np.empty(0, np.float32)),
]


def assert_same(tensors, read):
    assert list(read) == [name for name, _ in tensors]
    for name, tensor in tensors:
        np.testing.assert_array_equal(read[name], tensor)
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)


def test_there_and_back():
    assert_same(SAMPLE, container.loads(container.dumps(SAMPLE)))


def test_safetensors_reads_it():
    read = safetensors.numpy.load(container.dumps(SAMPLE))
    assert set(read) == {name for name, _ in SAMPLE}
    assert_same(SAMPLE, {name: read[name] for name, _ in SAMPLE})


def test_the_bytes_are_the_documented_ones():
    data = container.dumps(SAMPLE[:2])
    (size,) = struct.unpack_from("<Q", data)
    header = data[8 : 8 + size]
    assert size % 8 == 0
    text = header.rstrip(b" ").decode()
    digits = json.loads(text)["__metadata__"]["checksum"]
    assert text == (
        f'{{"__metadata__":{{"checksum":"{digits}","format":"farthing","version":"0"}},'
        '"ops":{"dtype":"U8","shape":[32],"data_offsets":[0,32]},'
        '"dense0.weight":{"dtype":"I8","shape":[2,3],"data_offsets":[32,38]}}'
    )
    assert data[8 + size :] == bytes(range(32)) + bytes([253, 254, 255, 0, 1, 2])
    value = 14695981039346656037
    for byte in data.replace(digits.encode(), b"0" * 16):
        value = (value ^ byte) * 1099511628211 % 2**64
    assert digits == f"{value:016x}"


def test_any_layout_and_byte_order_is_stored_in_one_form():
    tensor = np.arange(12, dtype=np.float32).reshape(3, 4)
    expected = container.dumps([("a", tensor)])
    for other in (np.asfortranarray(tensor), tensor.astype(">f4"), np.repeat(tensor, 2, 0)[::2]):
        assert container.dumps([("a", other)]) == expected


@hypothesis.given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z0-9_.]{1,64}", fullmatch=True),
            st.sampled_from(["u1", "i1", "i4", "f4"]).flatmap(
                lambda kind: hnp.arrays(kind, hnp.array_shapes(max_dims=2, max_side=5))
            ),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda pair: pair[0],
    )
)
def test_any_tensors_survive(tensors):
    data = container.dumps(tensors)
    assert_same(tensors, container.loads(data))
    read = safetensors.numpy.load(data)
    assert_same(tensors, {name: read[name] for name, _ in tensors})


@pytest.mark.parametrize(
    ("tensors", "error", "match"),
    [
        ([("a", np.zeros(2))], TypeError, "a must be uint8, .*, got float64"),
        ([("a", np.array(["x"]))], TypeError, "a must be uint8"),
        ([("A", np.zeros(2, np.int8))], FarthingError, "name .* got 'A'"),
        ([("", np.zeros(2, np.int8))], FarthingError, "name .* got ''"),
        ([('a"b', np.zeros(2, np.int8))], FarthingError, "name .* got"),
        ([("a\n", np.zeros(2, np.int8))], FarthingError, "name .* got"),
        ([("a" * 65, np.zeros(2, np.int8))], FarthingError, "name .* got"),
        ([("a", np.zeros(2, np.int8))] * 2, FarthingError, "'a': its name is used twice"),
        ([("a", np.zeros((1, 1, 1), np.int8))], FarthingError, "a must have .* dimensions, got 3"),
        ([("a", np.int8(1))], FarthingError, "a must have .* dimensions, got 0"),
    ],
)
def test_what_cannot_be_stored(tensors, error, match):
    with pytest.raises(error, match=match):
        container.dumps(tensors)


def test_only_the_strict_form_is_read():
    data = container.dumps(SAMPLE[:1])
    wrong = [
        data + b"\0",
        data[:-1],
        data.replace(b'"ops":', b'"ops" :'),
        data.replace(b'"farthing"', b'"nothing!"'),
        data.replace(b'"U8"', b'"I8"'),
        safetensors.numpy.save(dict(SAMPLE[:1])),
        b"",
        b"\xff" * 40,
    ]
    for bad in wrong:
        assert bad != data
        with pytest.raises(FarthingError, match=r"\w"):
            container.loads(bad)


def test_checksum_needs_room_for_its_digits():
    with pytest.raises(ValueError, match="digits must be at most 4, got 5"):
        _core.checksum(bytes(20), 5)
    with pytest.raises(ValueError, match="digits"):
        _core.checksum(b"", 0)


# ---- writing --------------------------------------------------------------------------------


def test_write_and_replace(tmp_path):
    path = tmp_path / "a.farthing"
    container.write_atomic(path, b"one")
    assert path.read_bytes() == b"one"
    path.chmod(0o640)
    container.write_atomic(str(path), b"two")
    assert path.read_bytes() == b"two"
    container.write_atomic(os.fsencode(path), b"three")
    assert path.read_bytes() == b"three"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a.farthing"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to("target")
    container.write_atomic(tmp_path / "link", b"data")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"data"


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, stat.S_ISFIFO), (os.mkdir, stat.S_ISDIR)])
def test_only_a_regular_file_is_replaced(tmp_path, make, kind, linked):
    there = tmp_path / "there"
    make(there)
    path = there
    if linked:
        path = tmp_path / "link"
        path.symlink_to(there)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(OSError, match=f"(regular file|directory).*: '{path}'"):
        container.write_atomic(path, b"data")
    assert kind(os.lstat(there).st_mode)
    assert sorted(os.listdir(tmp_path)) == before


def test_links_that_lead_nowhere_are_named(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=f"'{tmp_path}/a'"):
        container.write_atomic(tmp_path / "a", b"data")


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_leaves_nothing(tmp_path, monkeypatch, failing):
    path = tmp_path / "a.farthing"
    path.write_bytes(b"old")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.farthing"):
        container.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.farthing"]


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        container.write_atomic(tmp_path / "a.farthing", b"new")
    assert os.listdir(tmp_path) == []


def test_unwritable_paths_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no/such/a\.farthing"):
        container.write_atomic(tmp_path / "no/such/a.farthing", b"")
    with pytest.raises(OSError, match=str(tmp_path)):
        container.write_atomic(tmp_path, b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match=r"file/a\.farthing"):
        container.write_atomic(tmp_path / "file" / "a.farthing", b"")


def test_stale_temporaries_are_cleaned(tmp_path):
    stale, fresh, other = (
        tmp_path / name for name in (".a.0123.tmp", ".a.4567.tmp", ".b.0123.tmp")
    )
    for leftover in (stale, fresh, other):
        leftover.write_bytes(b"half")
    for leftover in (stale, other):
        os.utime(leftover, (time.time() - 7200,) * 2)
    container.write_atomic(tmp_path / "a", b"data")
    assert sorted(os.listdir(tmp_path)) == [".a.4567.tmp", ".b.0123.tmp", "a"]


def test_a_stale_temporary_that_stays_is_no_failure(tmp_path):
    stale = tmp_path / ".a.0123.tmp"
    stale.mkdir()  # which unlink refuses
    os.utime(stale, (time.time() - 7200,) * 2)
    container.write_atomic(tmp_path / "a", b"data")
    assert (tmp_path / "a").read_bytes() == b"data"


# ---- metadata -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({1: "a"}, "metadata must have texts as keys, got 1"),
        ({"a": [({"b": {None: 0}},)]}, "metadata must have texts as keys, got None"),
        ({True: 1}, "metadata must have texts as keys, got True"),
        ({(1, 2): 1}, "metadata must be representable as JSON"),
        ({"a": math.nan}, "metadata must be representable as JSON"),
        ({"a": "\ud800"}, "metadata must be representable as JSON"),
        ({"a": {1, 2}}, "metadata must be representable as JSON"),
        (functools.reduce(lambda inner, _: [inner], range(100_000), []), "metadata must be"),
    ],
    ids=["int", "None inside", "bool", "tuple", "NaN", "surrogate", "set", "deep"],
)
def test_values_that_json_cannot_give_back(value, match):
    with pytest.raises(FarthingError, match=match):
        container.check_json(metadata=value)


def test_values_that_json_gives_back():
    for value in (None, 1, "é", [], {}, {"a": [{"b": (1, 2.5, True)}]}, [{}, [{"": None}]]):
        container.check_json(metadata=value)
