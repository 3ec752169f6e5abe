"""Near-duplicates: the index finds what comparing all pairs finds; stored anew a picture stays itself, others stay others."""

import io

import numpy as np
import pytest
from PIL import Image

from mmrep.data.audit import duplicates
from mmrep.data.audit.hashes import digest, is_flat, name_parts, normalized, perceptual, thumbnail
from tests.data.audit.tables import PICTURES, changed


@pytest.mark.parametrize("bits", [0, 3, 4, 7])
def test_candidates_are_those_of_all_pairs(bits, monkeypatch):
    rng = np.random.default_rng(bits)
    a = rng.integers(0, 2**64, 300, np.uint64)
    b = np.concatenate([a[:200], rng.integers(0, 2**64, 100, np.uint64)])
    for row in range(200):  # near ones at every distance from 0 to 9
        for bit in rng.choice(64, row % 10, replace=False):
            b[row] ^= np.uint64(1) << np.uint64(bit)
    b[250:] = b[0]  # a crowd of equal hashes
    wanted = set(map(tuple, np.argwhere(np.bitwise_count(a[:, None] ^ b[None]) <= bits).tolist()))
    for at_once in (7, 1 << 20):  # in pieces, too
        monkeypatch.setattr(duplicates, "_AT_ONCE", at_once)
        found = {(int(i), int(j)) for ii, jj in duplicates.candidates(a, b, bits) for i, j in zip(ii, jj)}
        assert found == wanted
    with pytest.raises(ValueError, match="8 bits is not in 0..7"):
        next(duplicates.candidates(a, b, 8))


def test_a_picture_stored_anew_is_near_and_others_are_not():
    pictures = [*PICTURES[..., None]]
    for i in range(0, 60, 3):
        with Image.open(io.BytesIO(changed(PICTURES[i]))) as image:
            pictures.append(np.asarray(image)[..., None])
    pictures.append((PICTURES[1].astype(np.uint16) * 200)[..., None])  # 16 bits
    pictures.append(np.repeat(PICTURES[2][..., None], 3, -1))  # color
    pictures += [np.zeros((64, 64, 1), np.uint8), np.full((30, 40, 1), 9, np.uint8)]  # even ones have no hash
    thumbs = np.stack([thumbnail(p) for p in pictures])
    comparable = np.array([not is_flat(t) for t in thumbs])
    label = duplicates.clusters(np.array([digest(p) for p in pictures], np.uint64), np.array([perceptual(t) for t in thumbs], np.uint64),
                                thumbs, comparable)
    assert comparable[:-2].all() and not comparable[-2:].any()
    wanted = [*range(60), *range(0, 60, 3), 1, 2]
    np.testing.assert_array_equal(label[:-2][:, None] == label[None, :-2], np.equal.outer(wanted, wanted))
    assert len(set(label[-2:]) | set(label[:60])) == 62


def test_what_texts_names_and_arrays_are_known_by():
    assert normalized("  No acute\nDISEASE. ") == normalized("no acute disease") != normalized("acute disease")
    assert normalized("T2\u2011weighted \ufb01ssure") == "t2 weighted fissure"
    (stem, parts, is_id), (short, own, _) = name_parts("images/MPX1024_synpic40275.jpg"), name_parts("synpic40275.png")
    assert short in parts and stem not in own and name_parts("a/0001.jpg")[0] == name_parts("0001.PNG")[0]
    assert name_parts("view1_frontal.png")[1:] == ([name_parts("view1_frontal.png")[0]], False) and is_id  # no part of it is an id
    zeros = np.zeros((2, 3), np.uint8)
    assert len({digest(zeros), digest(zeros.T), digest(zeros.astype(np.int8)), digest("\0" * 6), digest(zeros[:1])}) == 5
    assert digest(np.asfortranarray(zeros)) == digest(zeros) and digest(["a", "b"]) != digest("ab")
