"""What a compressed frame says of its own size, asked before a decoder makes room for it."""

from mmrep.data.medical.files import Told

TILES = 65_536  # of a JPEG 2000 image: a decoder keeps some kilobytes for each


def check_codestream(data: bytes, name: str, shape: tuple[int, int, int], smaller: bool = False) -> None:
    """Refuse a JPEG, JPEG-LS or JPEG 2000 frame that declares another size than rows, columns, samples (`shape`; with `smaller`, no
    larger one), that a decoder would walk forever, or a JPEG without an end, which libjpeg would fill up with gray. Frames of other
    codings pass. Raises Told.

    Source: ITU-T T.81 B.2.2 (frame header), T.87 C.2.2, T.800 A.5.1 (SIZ) and I.4 (boxes).
    """
    at = _jp2(data, name)
    if data[at:at + 4] == b"\xff\x4f\xff\x51" and len(data) >= at + 42:
        width, height, left, top, wide, high = (int.from_bytes(data[at + k:at + k + 4], "big") for k in (8, 12, 16, 20, 24, 28))
        found = (height - top, width - left, int.from_bytes(data[at + 40:at + 42], "big"))
        if min(wide, high) < 1 or -(-width // max(wide, 1)) * -(-height // max(high, 1)) > TILES:
            raise Told(f"medical: {name} is damaged (JPEG 2000 tiles of {high} x {wide} pixels); copy or write it again")
    elif data.startswith(b"\xff\xd8"):
        found = _jpeg(data)
        if b"\xff\xd9" not in data[-16:]:  # the end of image; padding follows
            raise Told(f"medical: {name} is cut short in its compressed pixels; copy or write it again")
    else:
        return
    if found is not None and found != shape and not (smaller and found[2] == shape[2] and found[0] <= shape[0] and found[1] <= shape[1]):
        raise Told(f"medical: {name} declares rows, columns and samples {shape}, its compressed pixels {found}; copy or write it again")


def _jp2(data: bytes, name: str) -> int:
    """Where the JPEG 2000 codestream begins: after the boxes of a JP2 file, else at 0."""
    if not data.startswith(b"\x00\x00\x00\x0cjP  "):
        return 0
    at = 12
    while at < len(data) and data[at + 4:at + 8] != b"jp2c":
        length = int.from_bytes(data[at:at + 4], "big")
        if length < 8:
            raise Told(f"medical: {name} is damaged (a JPEG 2000 box of {length} bytes); copy or write it again")
        at += length
    return at + 8


def _jpeg(data: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components of the first frame header; None where there is none, which the decoder will say."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) or marker == 0xF7:
            return int.from_bytes(data[at + 5:at + 7], "big"), int.from_bytes(data[at + 7:at + 9], "big"), data[at + 9]
        at += 2 + max(int.from_bytes(data[at + 2:at + 4], "big"), 2)
    return None
