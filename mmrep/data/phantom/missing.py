"""Which modalities of a synthetic subject are there: missing at random or not, in blocks, and pairs that are never seen together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmrep.core.names import nearest
from mmrep.data.phantom.latents import Latents
from mmrep.data.phantom.philox import bits_of, choice, uniform

KINDS = ("random", "severity", "normal", "hospital")


def check_missing(missing: Mapping[str, Any], unpaired: Mapping[str, float], fields: tuple[str, ...]) -> dict[str, dict]:
    """Every modality's rule as {"rate", "by", "slope"}. Raises ValueError, naming the knob, for one that says nothing.

    missing: {modality: rate}, completely at random; or {modality: {"rate": r, "by": kind}}: severity (at random given it, "slope" in
    logits), normal (not at random: only where no finding is there), hospital (a block: all of hospital 0 lack it, `rate` is not needed).
    unpaired: {"image+text": share}: of so many subjects one of the two, either as often, is gone.
    """
    for knob, value, example in (("missing", missing, "{'text': 0.3}"), ("unpaired", unpaired, "{'image+text': 0.2}")):
        if not isinstance(value, Mapping):
            raise ValueError(f"phantom {knob}: {value!r} is not like {example}")
    rules = {}
    for name, given in missing.items():
        if name not in fields:
            raise ValueError(f"phantom missing: {name!r} is not among the modalities {fields}; {nearest(name, fields)}")
        rule = {"rate": given} if isinstance(given, (int, float)) else dict(given)
        rule = {"by": "random", "slope": 4.0} | rule
        if rule["by"] == "hospital":
            rule.setdefault("rate", 1.0)
        if set(rule) != {"rate", "by", "slope"} or rule["by"] not in KINDS or isinstance(rule["rate"], bool) \
                or not 0 <= rule["rate"] <= 1:
            raise ValueError(f"phantom missing[{name!r}]: {given!r} is no rate in 0..1, nor {{'rate': ..., 'by': ..., 'slope': ...}} "
                             f"with by one of {', '.join(KINDS)}")
        rules[name] = rule
    for pair, share in unpaired.items():
        if len(set(pair.split("+")) & set(fields)) != 2 or not 0 <= share <= 1:
            raise ValueError(f"phantom unpaired[{pair!r}]: {share!r}: needs two of {fields} joined by +, and a share in 0..1")
    return rules


def presence(block: Latents, fields: tuple[str, ...], rules: Mapping[str, dict], unpaired: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Modality -> bool[B]; every subject keeps at least one."""
    n = len(block["id"])
    there = {name: np.ones(n, bool) for name in fields}
    if not rules and not unpaired:
        return there
    names = {f"missing/{name}": 1 for name in fields} | {"missing/kept": 1} | {f"unpaired/{pair}": 2 for pair in unpaired}
    raw = bits_of(block, names)
    for name, rule in rules.items():
        rate = np.full(n, float(rule["rate"]))
        if rule["by"] == "severity":  # the given rate at middling severity
            odds = np.log(max(rule["rate"], 1e-9) / max(1 - rule["rate"], 1e-9)) + rule["slope"] * (block["severity"].astype(float) - 0.5)
            rate = 1 / (1 + np.exp(-odds))
        elif rule["by"] == "normal":
            rate = rate * ~block["findings"].any(1)
        elif rule["by"] == "hospital":
            rate = rate * (block["hospital"] == 0)
        there[name] = uniform(raw[f"missing/{name}"])[:, 0] >= rate
    for pair, share in unpaired.items():
        first, second = pair.split("+")
        u = uniform(raw[f"unpaired/{pair}"])
        apart, which = u[:, 0] < share, u[:, 1] < 0.5
        both = there[first] & there[second] & apart  # one that lacks either already is no pair
        there[first] &= ~(both & which)
        there[second] &= ~(both & ~which)
    found = np.stack([there[name] for name in fields], -1)
    kept = choice(raw["missing/kept"][:, 0], len(fields))
    nothing = ~found.any(1)
    found[nothing, kept[nothing]] = True
    return dict(zip(fields, found.T))
