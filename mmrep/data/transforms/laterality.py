"""Mirror pictures, and leave what the text says of sides true: the words that name one, and `flip`."""

import re
from collections.abc import Sequence

import numpy as np

from mmrep.data.example import Example, Transform
from mmrep.data.transforms.checks import among, field, number
from mmrep.data.transforms.masks import PICTURES, masks_of, move

# English with the abbreviations of reports (lobes, quadrants of the abdomen, ventricles, oblique views, eyes), Spanish, French, German,
# Portuguese, Italian
SIDES = {"left": "right", "lefts": "rights", "leftward": "rightward", "leftwards": "rightwards", "l": "r", "lt": "rt", "lul": "rul",
         "lll": "rll", "luq": "ruq", "llq": "rlq", "lue": "rue", "lle": "rle", "lij": "rij",
         "lv": "rv", "lao": "rao", "lpo": "rpo", "levo": "dextro",
         "levoscoliosis": "dextroscoliosis", "levocurvature": "dextrocurvature", "levoconvex": "dextroconvex",
         "levorotation": "dextrorotation",
         "izquierda": "derecha", "izquierdo": "derecho", "izquierdas": "derechas", "izquierdos": "derechos", "izda": "dcha", "izdo": "dcho",
         "izquierd": "derech",  # as PadChest's stemmed reports have it
         "gauche": "droite", "gauches": "droites", "links": "rechts", "linke": "rechte", "linken": "rechten", "linker": "rechter",
         "linkes": "rechtes", "linkem": "rechtem", "linksseitig": "rechtsseitig", "linksseitige": "rechtsseitige",
         "esquerda": "direita", "esquerdo": "direito", "esquerdas": "direitas", "esquerdos": "direitos",
         "sinistra": "destra", "sinistro": "destro", "sinistre": "destre", "sinistri": "destri"}
# they tell sides, too, and have no counterpart
ONE_SIDED = ("rml", "lingula", "lingular", "dextrocardia", "levocardia", "situs inversus", "azygos", "azygous", "izq", "izqdo", "izqda",
             "drcho", "drcha", "droit", "droits")
# the same after a mirror
BOTH = ("bilateral", "bilaterally", "bilaterales", "bibasilar", "bibasal", "biapical", "unilateral", "unilaterally", "contralateral",
        "ipsilateral", "both sides", "beidseits", "bilaterais", "bilaterali")
# words of sides that here mean something else, or may: what holds one is not swapped
_UNSURE = r"""middle\s+lobe | (?:links|rechts)(?!seitig)\w+ | r\s?/\s?o | r/t | [lr][\s-]spine | [lr][\s-]\d+ | \d\s?l | [lr]/min |
    (?:has|have|had|who|he|she|they)\s+left(?=\s*(?:[.,;]|$)) | left\s+(?:the|against|over|out|in\s+place|without|ama|behind) |
    all\s+right | right\s+(?:now|away|after|before|at)"""
_EYES = r"O[DSU]"  # in capitals: "os" is a bone, and in Portuguese an article
_SWAPS = SIDES | {right: left for left, right in SIDES.items()}


def _words(words: Sequence[str]) -> re.Pattern:
    """Whole words in any case; letters and digits go on with a word, an apostrophe with a lone letter (l'aorte)."""
    longest_first = (re.escape(word) + "(?!['’])" * (len(word) == 1) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(longest_first)})(?![^\W_])", re.IGNORECASE)


_SIDE, _ANY = _words(tuple(_SWAPS)), _words((*_SWAPS, *ONE_SIDED, *BOTH))
_NO_SWAP = re.compile(rf"(?<![^\W_])(?:(?-i:{_EYES})|(?ix:{_UNSURE})|(?i:{'|'.join(ONE_SIDED)}))(?![^\W_])")


def names_side(text: str) -> bool:
    """Whether a text names a side: a word of SIDES, ONE_SIDED or BOTH, in any case ("left-sided", "L > R", "bilateral"), or an eye."""
    return (_ANY.search(text) or _NO_SWAP.search(text)) is not None


def swap_sides(text: str) -> str:
    """The text with left and right exchanged (SIDES), each word in the case it had. Raises ValueError for a word of ONE_SIDED, an eye (OD),
    and words that may mean no side ("r/o", "L-spine", "left the ward", "right after")."""
    if lone := _NO_SWAP.search(text):
        raise ValueError(f"{lone[0]!r} has no counterpart on the other side, or means none")

    def other(match: re.Match) -> str:
        word, new = match[0], _SWAPS[match[0].lower()]
        return new.upper() if word.isupper() else new.capitalize() if word[0].isupper() else new

    return _SIDE.sub(other, text)


def flip(axis: str = "horizontal", p: float = 0.0, laterality: str = "keep", left_right: str = "horizontal") -> Transform:
    """Mirror the image and the volume of an example together, masks and boxes with them, with probability p (default: never, for a
    mirrored chest has its heart on the wrong side).

    axis: "vertical" (height), "horizontal" (width), or "depth" of volumes. left_right: the axis along which the patient's sides lie, width
    in every picture that `mmrep.data.readers` orients; name another for arrays that lie otherwise. A flip along it makes a text's "left"
    wrong, so with laterality="keep" an example whose text names a side (`names_side`) is left as it is; "swap" exchanges the words, too
    (`swap_sides`; what it refuses is left as it is); "ignore" flips whatever the text says. Labels that name a
    side, and a signal or table that does, are not looked at: leave them out, or do not flip. Raises ValueError where text is tokens
    already, and for pictures of several samples or with crops beside them.
    """
    axes = {"depth": -4, "vertical": -3, "horizontal": -2}
    among("flip: axis", axis, axes)
    among("flip: left_right", left_right, axes)
    among("flip: laterality", laterality, ("keep", "swap", "ignore"))
    number("flip: p", p, 0, 1)
    sides = axis == left_right and laterality != "ignore"
    matrix = np.array([[1.0, 0, 0], [0, -1, 1]] if axis == "horizontal" else [[-1.0, 0, 1], [0, 1, 0]])

    def apply(example: Example, rng: np.random.Generator) -> Example:
        keys = [key for key in PICTURES if (key == "volume" or axis != "depth") and field(example, key) is not None]
        if not p or not keys:
            return example
        for key in keys:
            masks_of(example, key)  # what cannot be flipped is refused whatever the draw
        flips = rng.uniform() < p
        text = example.get("text", ())
        texts = [text] if isinstance(text, str) else text
        if sides and not all(isinstance(one, str) for one in texts):
            raise ValueError("flip: the text is tokens already, which do not say whether it names a side; flip before `tokenize`, or pass "
                             "laterality='ignore'")
        if crops := [key for key in example if key.startswith(("image/", "volume/"))]:
            raise ValueError(f"flip: {crops[0]} would not be mirrored with it; flip before or in `views`")
        if flips and sides and any(names_side(one) for one in texts):
            if laterality == "keep" or any(_NO_SWAP.search(one) for one in texts):
                return example
            example = {**example, "text": swap_sides(text) if isinstance(text, str) else [swap_sides(one) for one in text]}
        for key in keys if flips else ():
            example = move(example, key, lambda x, mask: np.flip(x, axes[axis]), matrix)
        return example

    return apply
