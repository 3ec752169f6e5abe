"""Pictures without what was written beside their pixels: EXIF, XMP, IPTC and comments, which may name a patient or a place."""

import re
import struct

PNG = b"\x89PNG\r\n\x1a\n"
# what decoding the pixels takes: of a PNG, its pixels and palette, transparency, gamma, color profile; of a JPEG, JFIF and Adobe's color
# transform. Thumbnails of JFIF are small pictures of the same and go, too.
PNG_KEPT = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"pHYs")
EOI = b"\xff\xd9"
_NEXT = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # in coded pixels FF is followed by 00, or by the number of a restart
JFIF, ADOBE, APPS, COMMENT, SCAN = 0xE0, 0xEE, range(0xE0, 0xF0), 0xFE, 0xDA


def without_comments(data: bytes) -> bytes:
    """A JPEG or PNG with the same pixels, bit by bit, and nothing beside them. Raises ValueError where its parts do not follow on.

    Sources: ITU-T T.81, B.1.1.4 (segments); PNG (Third Edition), 5.3 (chunks).
    """
    return _png(data) if data.startswith(PNG) else _jpeg(data)


def _png(data: bytes) -> bytes:
    kept, at = [PNG], len(PNG)
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at) if at + 12 <= len(data) else (len(data), b"")
        if at + 12 + size > len(data):
            raise ValueError("a PNG that is cut short")
        if kind in PNG_KEPT:
            kept.append(data[at:at + 12 + size])
        at += 12 + size
        if kind == b"IEND":  # what follows it is no part of the picture
            break
    return b"".join(kept)


def _jpeg(data: bytes) -> bytes:
    kept, at, scans = [data[:2]], 2, False
    while at + 2 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        if data[at:at + 2] == EOI or at + 4 > len(data):  # what follows the end is no part of the picture
            break
        marker, size = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        segment = data[at:at + 2 + size]
        if marker == JFIF and segment[4:9] == b"JFIF\0":
            kept.append(segment[:2] + struct.pack(">H", 16) + segment[4:16] + b"\0\0")
        elif marker == ADOBE or marker not in (*APPS, COMMENT):
            kept.append(segment)
        at += 2 + size
        if marker == SCAN:  # its coded pixels go on to the next marker; of a progressive picture there may be segments between scans
            scans = True
            end = _NEXT.search(data, at)
            kept.append(data[at:end.start() if end else len(data)])
            at = end.end() - 2 if end else len(data)
    if not scans:
        raise ValueError("a JPEG without a scan")
    return b"".join([*kept, EOI] if data[at:at + 2] == EOI else kept)  # without an end it is cut short: decoding it will say so
