"""Sizes that compressed frames declare are asked before a decoder makes room for them."""

import struct

import pytest

from mmrep.data.medical.codestream import check_codestream

SHAPE = (48, 64, 1)


def j2k(rows=48, columns=64, tile=64, samples=1) -> bytes:
    """A JPEG 2000 codestream as far as its SIZ segment."""
    return b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIIIH", 41, 0, columns, rows, 0, 0, tile, tile, 0, 0, samples) + b"\x07\x01\x01"


def jpeg(rows=48, columns=64, samples=1, marker=0xC0) -> bytes:
    """A JPEG as far as its frame header, behind a fill byte and another segment."""
    header = struct.pack(">HBHHB", 11, 8, rows, columns, samples)
    return b"\xff\xd8\xff\xff\xe0\x00\x04ab" + bytes([0xFF, marker]) + header + b"\x12\x34\xff\xd9\0"


def jp2(codestream: bytes, length: int) -> bytes:
    return b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a" + struct.pack(">I", length) + b"ftyp" + bytes(4) + b"\x00\x00\x00\x00jp2c" + codestream


@pytest.mark.parametrize("data", [
    j2k(), jp2(j2k(), 12), jpeg(), jpeg(marker=0xC3), jpeg(marker=0xF7), b"\xff\xd8\xff\xd9", b"run lengths", b""])
def test_frames_of_the_declared_size_and_of_other_codings_pass(data):
    check_codestream(data, "x.dcm", SHAPE)


@pytest.mark.parametrize("data, said", [
    (j2k(rows=60_000), "compressed pixels \\(60000, 64, 1\\)"), (j2k(samples=200), "compressed pixels"), (j2k(tile=0), "tiles of 0 x 0"),
    (jp2(j2k(columns=1 << 20), 12), "compressed pixels"), (jp2(j2k(), 0), "box of 0 bytes"), (jpeg(rows=65_000), "compressed pixels"),
    (jpeg(samples=3, marker=0xC3), "compressed pixels"), (jpeg(columns=1, marker=0xF7), "compressed pixels")])
def test_others_are_refused_by_name(data, said):
    with pytest.raises(ValueError, match=f"x.dcm .*{said}"):
        check_codestream(data, "x.dcm", SHAPE)
    with pytest.raises(ValueError, match="x.dcm is cut short"):
        check_codestream(jpeg()[:-3], "x.dcm", SHAPE)
    with pytest.raises(ValueError, match="tiles of 1 x 1"):
        check_codestream(j2k(rows=4096, columns=4096, tile=1), "x.dcm", (4096, 4096, 1))
