"""What is known of the phantom without training: synergy, redundancy, uniqueness, retrieval ceiling, survival; and how fast it is made.
Command: python -m experiments.headroom.invariants [--n 20000] [--speed]

Each line is what was promised and what was found on `n` subjects, read from the modalities themselves: of the image by the rendering that
is nearest, of the report by its parser. A label is predicted by the most frequent value beside a reading on the first half of the
subjects, and tested on the second. SE: standard error.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mmrep.data.phantom import CATEGORIES, MODALITIES, SCALES, ceiling, information, parse, phantom, render_image
from mmrep.metrics.retrieval import retrieval
from mmrep.metrics.survival import concordance

Line = tuple[str, str, str, bool]


def nearest(block: dict, image: np.ndarray, name: str, count: int) -> np.ndarray:
    """i64[B]: the value of a factor whose rendering is nearest to the image, all else given."""
    scores = [((render_image(block | {name: np.full_like(block[name], k)}, whole=True).astype(np.float32) - image) ** 2).mean((1, 2, 3))
              for k in range(count)]
    return np.argmin(scores, 0)


def predicted(label: np.ndarray, *readings: np.ndarray) -> float:
    """Accuracy on the second half of the rows of the label that is most frequent, on the first, beside these readings together."""
    _, code = np.unique(np.stack(readings, -1), axis=0, return_inverse=True)
    half, code = len(label) // 2, code.ravel()
    counts = np.zeros((code.max() + 1, label.max() + 1))
    np.add.at(counts, (code[:half], label[:half]), 1)
    return float((counts.argmax(1)[code[half:]] == label[half:]).mean())


def bits(label: np.ndarray, *readings: np.ndarray) -> float:
    """I(label; readings together) in bits, by counting, less its bias (Miller & Madow 1955)."""
    _, code = np.unique(np.stack(readings, -1), axis=0, return_inverse=True)
    table = np.zeros((code.max() + 1, label.max() + 1))
    np.add.at(table, (code.ravel(), label), 1)
    p, cells = table / table.sum(), table > 0
    ratio = p[cells] / (p.sum(1, keepdims=True) * p.sum(0))[cells]
    bias = cells.sum() - cells.any(1).sum() - cells.any(0).sum() + 1
    return float((p[cells] * np.log2(ratio)).sum() - bias / (2 * table.sum() * np.log(2)))


def lines(n: int, seed: int = 0) -> list[Line]:
    """(what, wanted, found, whether it is so) of every invariant, on n subjects of the test split."""
    se, found = 0.5 / np.sqrt(n - n // 2), []

    def add(what: str, wanted: str, value: float, low: float, high: float) -> None:
        found.append((what, wanted, f"{value:.3f}", bool(low <= value <= high)))

    for kind in ("bijection", "xor", "parity"):
        source = phantom("test", seed=seed, n=n, scale="tiny", modalities=("image", "text", "tabular"), synergy=kind)
        block, batch = source.latents(), source.block(np.arange(n))
        image = nearest(block, batch["image"].astype(np.float32), "marker_a", 10 if kind == "bijection" else 2)
        text, table = np.array([parse(one)["marker"] for one in batch["text"]]), batch["category"][:, CATEGORIES.index("marker")]
        label = block["synergy"]
        for name, reading in (("image", image), ("report", text), ("table", table)):
            add(f"synergy label ({kind}) from the {name}", f"0.5 within 3 SE ({3 * se:.3f})", predicted(label, reading),
                0.5 - 3 * se, 0.5 + 3 * se)
        readings = (image, text, table) if kind == "parity" else (image, text)
        together = "all three" if kind == "parity" else "image and report"
        add(f"synergy label ({kind}) from {together}", "1", predicted(label, *readings), 1, 1)
        if kind == "parity":
            add("synergy label (parity) from two of three", f"0.5 within 3 SE ({3 * se:.3f})", predicted(label, image, text),
                0.5 - 3 * se, 0.5 + 3 * se)
        if kind == "bijection":
            found += shared(block, batch, image, text)
    found += survival(block, n)
    return found


def shared(block: dict, batch: dict, marker_a: np.ndarray, marker_b: np.ndarray) -> list[Line]:
    """Redundancy, uniqueness and synergy in bits against `information`, and the ceiling of retrieval by a perfect encoder."""
    n, read = len(marker_a), [parse(one) for one in batch["text"]]
    image = {"class": nearest(block, batch["image"].astype(np.float32), "class", 10)}
    image["texture"] = nearest(block, batch["image"].astype(np.float32), "texture", 10)
    text = {name: np.array([one[name] for one in read]) for name in ("class", "history")}
    found: list[Line] = []
    for name, readings in (("image", image), ("report", text)):
        value = float((readings["class"] == block["class"]).mean())
        found.append((f"redundancy: class from the {name}", ">= 0.95", f"{value:.3f}", value >= 0.95))
    exact = information()
    for label, one, other in (("class", image["class"], text["class"]), ("texture", image["texture"], text["history"]),
                              ("history", image["texture"], text["history"]), ("synergy", marker_a, marker_b)):
        want, y = exact[label], block[label]
        for name, value, wanted in (
                ("image", bits(y, one), want["redundant"] + want["unique_image"]),
                ("report", bits(y, other), want["redundant"] + want["unique_text"]), ("both", bits(y, one, other), sum(want.values()))):
            found.append((f"bits about {label} in the {name}".replace("the both", "both"), f"{wanted:.3f} +- 0.02", f"{value:.3f}",
                          abs(value - wanted) <= 0.02))
    rows = np.arange(min(n, 512))
    group = batch["group"][rows]
    wanted = ceiling(group)["R@1/instance"]
    perfect = np.eye(len(rows), dtype=np.float32)[np.unique(group, return_inverse=True)[1]]  # an axis for every meaning
    value = retrieval(perfect, perfect, ks=(1,))[0]["R@1/instance"]
    return [*found, (f"R@1 of a perfect encoder, gallery of {len(rows)}", f"{wanted:.3f}, the ceiling", f"{value:.3f}",
                     abs(value - wanted) < 1e-6)]


def survival(block: dict, n: int) -> list[Line]:
    """The oracle's concordance, that of shuffled risks, the share of deaths."""
    shuffled = np.random.default_rng(0).permutation(block["risk"])
    oracle, chance = (concordance(block["time"], block["event"], risk) for risk in (block["risk"], shuffled))
    event, se = float(block["event"].mean()), np.sqrt(0.24 / n)
    return [("C-index of the true risk", "> 0.70", f"{oracle:.3f}", oracle > 0.7),
            ("C-index of shuffled risks", "0.50 +- 0.02", f"{chance:.3f}", abs(chance - 0.5) <= 0.02),
            ("share of deaths, the rest censored", f"0.6 within 3 SE ({3 * se:.3f})", f"{event:.3f}", abs(event - 0.6) <= 3 * se)]


def speed(scale: str, seconds: float = 5.0, block: int = 64, threads: int = 2) -> float:
    """Subjects of all six modalities a second, on so many threads."""
    source = phantom("train", n=65_536, scale=scale, modalities=MODALITIES)
    block = 8 if scale == "paper" else block
    source.block(np.arange(block))

    def work(thread: int) -> int:
        made, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            at = (thread * 30_000 + made) % 60_000
            source.block(np.arange(at, at + block))
            made += block
        return made

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, range(threads))) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000, help="subjects")
    parser.add_argument("--speed", action="store_true", help="time the making of subjects instead")
    args = parser.parse_args()
    if args.speed:
        for scale in SCALES:
            print(f"{scale}: {speed(scale):.0f} subjects/s")
        return
    found = lines(args.n)
    print("| invariant | wanted | found | kept |\n|---|---|---|---|")
    print("\n".join(f"| {what} | {wanted} | {value} | {'yes' if kept else 'NO'} |" for what, wanted, value, kept in found))
    raise SystemExit(any(not kept for *_, kept in found))


if __name__ == "__main__":
    main()
