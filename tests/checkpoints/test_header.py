"""Headers of safetensors files, damaged in every way: told in one line, and never believed."""

import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from evomerge.checkpoints.header import read_header
from evomerge.errors import CheckpointError

SINGLE = "model.safetensors"


def describe(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def write_raw(file: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return file


FOUR_FLOATS = describe("F32", [2, 2], 0, 16)


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (
            {"a": describe("F32", [2, 3], 0, 16)},
            bytes(16),
            r"a of shape \[2, 3\] and dtype F32 has 16",
        ),
        ({"a": describe("F12", [2, 2], 0, 16)}, bytes(16), "tensor a has the unknown dtype F12"),
        ({"a": FOUR_FLOATS}, bytes(15), "is cut short: tensor a ends at byte .* the file has"),
        ({"a": FOUR_FLOATS}, bytes(20), "it has 4 bytes that belong to no tensor"),
        ({}, bytes(7), "it has 7 bytes that belong to no tensor"),
        (
            {"a": FOUR_FLOATS, "b": describe("F32", [2], 12, 20)},
            bytes(20),
            "tensor b overlaps another or leaves a hole",
        ),
        (
            {"a": FOUR_FLOATS, "b": describe("F32", [2], 20, 28)},
            bytes(28),
            "tensor b overlaps another or leaves a hole",
        ),
        ({"a": describe("F32", [4], 4, 20)}, bytes(20), "tensor a overlaps another or leaves a ho"),
        ({"a": describe("F32", [4], -16, 0)}, b"", "tensor a overlaps another or leaves a hole"),
        ({"a": describe("F32", [-2, -2], 0, 16)}, bytes(16), r"tensor a of shape \[-2, -2\]"),
        ({"a": {"dtype": "F32", "shape": [4]}}, bytes(16), "a has no dtype, shape and data_offse"),
        ({"a": [1, 2]}, bytes(16), "tensor a has no dtype, shape and data_offsets"),
        ({"a": None}, bytes(16), "tensor a has no dtype, shape and data_offsets"),
        ({"a": {**FOUR_FLOATS, "shape": 4}}, bytes(16), "a has no dtype, shape and data_offsets"),
        ({"a": {**FOUR_FLOATS, "shape": "22"}}, bytes(16), "has no dtype, shape and data_offsets"),
        ({"a": {**FOUR_FLOATS, "shape": [4.0]}}, bytes(16), "has no dtype, shape and data_offsets"),
        ({"a": {**FOUR_FLOATS, "data_offsets": [0]}}, bytes(16), "no dtype, shape and data_offse"),
        ({"a": {**FOUR_FLOATS, "shape": [True, 4]}}, bytes(16), "no dtype, shape and data_offsets"),
        ({"a": {**FOUR_FLOATS, "shape": [1] * 65}}, bytes(16), "has no dtype, shape and data_offs"),
        ({"a": {**FOUR_FLOATS, "shape": [2**63]}}, bytes(16), "has no dtype, shape and data_offse"),
        ({"a": {**FOUR_FLOATS, "data_offsets": [0, 1e3]}}, bytes(16), "no dtype, shape and data_o"),
        ({"a": {**FOUR_FLOATS, "dtype": ["F32"]}}, bytes(16), r"has the unknown dtype \['F32'\]"),
        ({"a\nb": FOUR_FLOATS}, bytes(16), r"a tensor's name is 'a\\nb', of 3 characters"),
        ({"\ud800": FOUR_FLOATS}, bytes(16), "a tensor's name is .* of 1 characters"),
        ({"": FOUR_FLOATS}, bytes(16), "a tensor's name is '', of 0 characters"),
        ({"x" * 501: FOUR_FLOATS}, bytes(16), "a tensor's name is 'x+', of 501 characters"),
        (
            b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 4]}}',
            bytes(4),
            "its header is not valid JSON",
        ),
        (b"[" + b"0," * 4_000_001 + b"0]", b"", "its header has more than 4000000 values"),
        (
            b'{"a": {"dtype": "U8", "dtype": "I8", "shape": [1], "data_offsets": [0, 1]}}',
            bytes(1),
            r"its header is not valid JSON \(a name stands twice\)",
        ),
        ([1, 2], b"", "its header is not a table of tensors"),
        (b'{"a": ', b"", "its header is not valid JSON"),
        (b"\xff\xfe\xfd", b"", "its header is not valid JSON"),
        (b"[" * 100_000, b"", "its header is not valid JSON"),
        (
            b'{"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}}',
            bytes(4),
            "has no dty",
        ),
        (
            b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},'
            b' "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}',
            bytes(1),
            r"its header is not valid JSON \(a name stands twice\)",
        ),
    ],
)
def test_a_damaged_header_is_described_in_one_line(
    tmp_path: Path, header: Any, data: bytes, message: str
) -> None:
    file = write_raw(tmp_path / SINGLE, header, data)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_header(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint == "Fetch the file again"


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "it is only 0 bytes long"),
        (b"1234567", "it is only 7 bytes long"),
        (struct.pack("<Q", 0) + b"{}", "its header cannot be 0 bytes long"),
        (struct.pack("<Q", 3) + b"{}", "its header cannot be 3 bytes long"),
        (struct.pack("<Q", 2**63) + b"{}", "its header cannot be 9223372036854775808 bytes long"),
        (b"<!DOCTYPE html><html>not found</html>", "its header cannot be [0-9]+ bytes long"),
    ],
)
def test_a_file_without_room_for_its_header_is_damaged(
    tmp_path: Path, contents: bytes, message: str
) -> None:
    file = tmp_path / SINGLE
    file.write_bytes(contents)
    with pytest.raises(CheckpointError, match=message):
        read_header(file)


def test_a_header_of_more_than_100_mb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / SINGLE
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", 100_000_001))
        stream.truncate(200_000_000)  # a sparse file: nothing is written
    with pytest.raises(CheckpointError, match="its header cannot be 100000001 bytes long"):
        read_header(file)


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(min_value=0, max_value=10_000), flip=st.booleans(), bit=st.integers(0, 7))
def test_a_cut_file_is_always_refused_and_a_flipped_header_bit_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: bool, bit: int
) -> None:
    file = tmp_path_factory.mktemp("damage") / SINGLE
    save_file({"a": torch.zeros(3), "b": torch.zeros(2, 2, dtype=torch.bfloat16)}, file)
    whole = file.read_bytes()
    place = cut % len(whole)
    if not flip:
        file.write_bytes(whole[:place])
        with pytest.raises(CheckpointError, match=r"is (damaged|cut short)"):
            read_header(file)
        return
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    damaged = bytearray(whole)
    damaged[place % header] ^= 1 << bit
    file.write_bytes(damaged)
    with suppress(CheckpointError):  # a flipped bit in a name is a legal header
        read_header(file)
