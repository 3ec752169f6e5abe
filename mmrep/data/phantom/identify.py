"""The phantom without pictures: vectors of known latents through known invertible networks, for identifiability studies.

x_1 = f_1(c, s, m_1) and x_2 = f_2(c, s~, m_2): content c is shared, style s is shared but for s~ = s + mask * noise, m_k are private
(Daunhawer et al. 2023, "Identifiability results for multimodal contrastive learning", section 5.1; `shared_mixing` with private 0 is
von Kuegelgen et al. 2021, section 5.1). An ideal contrastive pair of encoders recovers c and nothing else.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from mmrep.data.phantom.latents import SPLITS
from mmrep.data.phantom.philox import bits, normal, uniform

_SLOPE = 0.2
_STRANGER = 1 << 30  # ids from here on are in no split


@lru_cache(maxsize=16)
def mixing(seed: int, view: int, width: int, layers: int, candidates: int) -> tuple[np.ndarray, ...]:
    """`layers` square matrices f64[width,width], columns of unit norm, drawn among the best-conditioned 0.1 % of `candidates`.

    Entries are uniform in (-1, 1); the networks between are leaky ReLUs of slope 0.2, so the whole is invertible.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 7919 + view]))
    drawn = rng.uniform(-1, 1, (candidates, width, width))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    best = np.argsort(np.linalg.cond(drawn), kind="stable")[:max(candidates // 1000, layers)]
    return tuple(drawn[rng.permutation(best)[:layers]])


def _times(z: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """z f64[B,i] @ matrix f64[i,j] in a fixed order of summation: a library's depends on how many rows there are."""
    total = np.zeros((len(z), matrix.shape[1]))
    for i in range(matrix.shape[0]):
        total = total + z[:, i, None] * matrix[i]
    return total


def mixed(matrices: Sequence[np.ndarray], z: np.ndarray) -> np.ndarray:
    """f64[B,D] through the matrices, with leaky ReLUs between them."""
    for k, matrix in enumerate(matrices):
        z = _times(z if k == 0 else np.where(z > 0, z, _SLOPE * z), matrix)
    return z


def unmixed(matrices: Sequence[np.ndarray], x: np.ndarray) -> np.ndarray:
    """The inverse of `mixed`."""
    for k, matrix in reversed(list(enumerate(matrices))):
        x = np.linalg.solve(matrix.T, x.T).T
        x = x if k == 0 else np.where(x > 0, x, x / _SLOPE)
    return x


class Identifiable:
    """Rows of one split: two views (or more) f32[D] under `fields`, their latents as labels; build it with `identifiable`."""

    def __init__(self, split: str, seed: int, n: int, sizes: tuple[int, int, int], options: dict):
        self.split, self.seed, self._sizes, self._options = split, seed, sizes, options
        self.names, self.fields = options["names"], tuple(dict.fromkeys(options["names"]))
        self.index = np.arange(n, dtype=np.int32) + SPLITS[split]
        total = sum(sizes)
        shared = options["shared_mixing"]
        self.mixings = tuple(mixing(seed, 0 if shared else view, total, options["layers"], options["candidates"])
                             for view in range(len(self.names)))
        self._roots = _roots(seed, sizes, options["dependent"], options["freedom"])

    def __len__(self) -> int:
        return len(self.index)

    def latents(self, rows: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """content f64[B,nc], style, style_changed f64[B,ns], private_1, private_2 f64[B,nm], and content/2, what the second view shows (a
        stranger's, with pair noise); of a third view style_changed_3, content/3, private_3."""
        nm, options = self._sizes[2], self._options
        ids = self.index[np.asarray(rows, np.int64)].astype(np.int64)
        content, style = self._shared(ids)
        found, other = {"content": content, "style": style}, (content, style)
        if options["pair_noise"]:  # all views but the first are then of a stranger, who is in no split
            wrong = uniform(bits(self.seed, ids, {"latent/pair": 1})["latent/pair"]) < options["pair_noise"]
            other = tuple(np.where(wrong, theirs, mine) for theirs, mine in zip(self._shared(ids + _STRANGER), other))
        for view in range(1, len(self.names)):
            end = "" if view == 1 else f"/{view + 1}"
            changed = self._changed(ids, other[1], end)
            found |= {"style_changed" + ("" if view == 1 else f"_{view + 1}"): changed, f"content/{view + 1}": other[0]}
        if options["both"]:
            found["style"] = self._changed(ids, style, "/1")
        private = normal(uniform(bits(self.seed, ids, {"latent/private": 2 * max(nm, 1)})["latent/private"]))
        found |= {"private_1": _times(private[:, :nm], self._roots["private_1"]),
                  "private_2": _times(private[:, nm:2 * nm], self._roots["private_2"])}
        for view in range(2, len(self.names)):
            name = f"latent/private/{view + 1}"
            found[f"private_{view + 1}"] = normal(uniform(bits(self.seed, ids, {name: max(nm, 1)})[name]))[:, :nm]
        return found

    def _shared(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Content f64[B,nc] and style f64[B,ns] of subjects."""
        nc, ns, _ = self._sizes
        raw = bits(self.seed, ids, {"latent/content": nc, "latent/style": max(ns, 1)})
        draw = {name: normal(uniform(raw[name]))[:, :size] for name, size in (("latent/content", nc), ("latent/style", ns))}
        content = _times(draw["latent/content"], self._roots["content"])
        style = _times(draw["latent/style"], self._roots["style"])
        if self._options["causal"]:
            style = style + _times(content, self._roots["effect"]) + self._roots["offset"]
        return content, style

    def _changed(self, ids: np.ndarray, style: np.ndarray, end: str) -> np.ndarray:
        """style + mask * noise f64[B,ns], as a view sees it; end: of the names of its draws."""
        ns = self._sizes[1]
        raw = bits(self.seed, ids, {f"latent/{what}{end}": max(ns, 1) for what in ("mask", "change")})
        mask = uniform(raw[f"latent/mask{end}"])[:, :ns] < self._options["change"]
        noise = _times(normal(uniform(raw[f"latent/change{end}"]))[:, :ns], self._roots["change"])
        return style + self._options["amplitude"] * mask * noise

    def block(self, rows: Sequence[int] | np.ndarray) -> dict:
        """Rows i[B] -> the views f32[B,D] (f32[B,S,D] under a key of S views), label/content, label/style, label/style_changed,
        label/private_1, label/private_2 f32, index and case i32[B]. Raises IndexError for rows out of range."""
        rows = np.asarray(rows, np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"phantom {self.split}: rows {rows.min()}..{rows.max()} asked for, but it has {len(self)}")
        z = self.latents(rows)
        views = [np.concatenate([z["content"], z["style"], z["private_1"]], 1)]
        for view in range(2, len(self.names) + 1):
            changed = z["style_changed" if view == 2 else f"style_changed_{view}"]
            views.append(np.concatenate([z[f"content/{view}"], changed, z[f"private_{view}"]], 1))
        shown = [mixed(m, v).astype(np.float32) for m, v in zip(self.mixings, views)]
        out = {}
        for name in self.fields:  # of a key of several views they are its samples
            mine = [view for key, view in zip(self.names, shown) if key == name]
            out[name] = np.stack(mine, 1) if len(mine) > 1 else mine[0]
        out |= {f"label/{name}": value.astype(np.float32) for name, value in z.items() if value.shape[1] and "/" not in name}
        return out | {"index": self.index[rows], "case": self.index[rows]}

    def __getitem__(self, row: int) -> dict:
        """One row: as `block` without the leading axis."""
        return {name: values[0] for name, values in self.block([int(row)]).items()}


def _roots(seed: int, sizes: tuple[int, int, int], dependent: bool, freedom: int) -> dict[str, np.ndarray]:
    """Right factors of the covariances (identity, or Wishart with `freedom` n degrees of freedom, over as many), and the causal effect B
    and a."""
    nc, ns, nm = sizes
    rng = np.random.Generator(np.random.Philox(key=[seed, 104_729]))
    out = {}
    for name, n in (("content", nc), ("style", ns), ("change", ns), ("private_1", nm), ("private_2", nm)):
        draws = rng.standard_normal((freedom * n, n)) / np.sqrt(max(freedom * n, 1))
        out[name] = np.linalg.cholesky(draws.T @ draws).T if dependent and n else np.eye(n)
    return out | {"effect": rng.standard_normal((nc, ns)), "offset": rng.standard_normal(ns)}


def _of(split: str, name: str, value: float | Mapping[str, float]) -> float:
    """The value of a split; of {split: value} 0 where it is not named."""
    if not isinstance(value, Mapping):
        return value
    if wrong := set(value) - set(SPLITS):
        raise ValueError(f"phantom latent: {name} of no split {sorted(wrong)[0]!r}; name some of {', '.join(SPLITS)}")
    return value.get(split, 0.0)


def identifiable(split: str, seed: int = 0, n: int = 65_536, content: int = 5, style: int = 5, private: int = 5, change: float = 1.0,
                 causal: bool = False, dependent: bool = False, layers: int = 3, shared_mixing: bool = False, candidates: int = 25_000,
                 names: Sequence[str] = ("x1", "x2"), amplitude: float | Mapping[str, float] = 1.0, both: bool = False,
                 pair_noise: float | Mapping[str, float] = 0.0, freedom: int = 5) -> Identifiable:
    """Source of two views of latent vectors; row i is a pure function of (seed, split, i, options).

    content, style, private: dimensions (style and private may be 0); change: probability that a style coordinate differs between the
    views; causal: style gets B content + a; dependent: covariances of n latents are Wishart draws of `freedom` n degrees of freedom, over
    as many (1, as in the papers, is nearly singular: some directions of the style hardly change); layers: of the mixing networks (0:
    none, the views are the latents themselves); shared_mixing: one network for all views; names: batch keys of the views, two or more, of
    which every later one changes the style anew and has private latents of its own. Views of one key are its samples, [B, S, D], which
    one encoder reads as View.sample 0, 1, ... amplitude: of the change, of every split or as {split: amplitude}, 0 of those not named;
    both: the first view's style is changed, too; pair_noise: share of rows whose later views are of a stranger's content and style, of
    every split or as {split: share}, 0 of those not named (pairs to be judged are best left true). Every latent is a label: label/content
    f32[nc], ...
    Raises ValueError for anything out of range.
    """
    names = tuple(names)
    if split not in SPLITS or content < 1 or min(style, private) < 0 or layers < 0 or not 0 <= change <= 1 or candidates < layers:
        raise ValueError("phantom latent: needs content >= 1, style, private >= 0, layers >= 0, change in 0..1, candidates >= layers; got "
                         f"{split=} {content=} {style=} {private=} {layers=} {change=} {candidates=}")
    if len(names) < 2:
        raise ValueError(f"phantom latent: names must be two or more batch keys, got {names}")
    if isinstance(freedom, bool) or not isinstance(freedom, int) or freedom < 1:
        raise ValueError(f"phantom latent: freedom must be a whole number of at least 1, got {freedom!r}")
    pair_noise, amplitude = _of(split, "pair_noise", pair_noise), _of(split, "amplitude", amplitude)
    if not 0 <= pair_noise <= 1 or not 0 <= amplitude < np.inf:
        raise ValueError(f"phantom latent: needs pair_noise in 0..1 and amplitude >= 0, got {pair_noise} and {amplitude}")
    options = {"change": change, "causal": causal, "dependent": dependent, "layers": layers, "shared_mixing": shared_mixing,
               "candidates": candidates, "names": names, "amplitude": amplitude, "both": both, "pair_noise": pair_noise,
               "freedom": freedom}
    return Identifiable(split, seed, n, (content, style, private), options)
