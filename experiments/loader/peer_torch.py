"""torch's DataLoader over the same files, for bench.py. Run by an interpreter with torch, Pillow, simplejpeg and opencv-python-headless.

  python peer_torch.py pil|fast FOLDER WORKERS    then "BATCHES" a line on standard input -> "SECONDS CPU_SECONDS" on standard output

pil is what its users write; fast has the same decoder as ours. Texts are tokenized beforehand, which ours is not spared.
"""

import csv
import io
import os
import sys
import warnings
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

SIZE, BATCH, TICKS = 64, 256, os.sysconf("SC_CLK_TCK")


def pil(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def fast(data: bytes) -> np.ndarray:
    import cv2
    import simplejpeg

    return cv2.resize(simplejpeg.decode_jpeg(data, min_height=SIZE, min_width=SIZE, min_factor=1), (SIZE, SIZE),
                      interpolation=cv2.INTER_AREA)


class Pictures(Dataset):
    def __init__(self, folder: Path, decode):
        with open(folder / "metadata.csv") as file:
            rows = list(csv.DictReader(file))
        self.files, self.decode = [str(folder / row["image"]) for row in rows], decode
        self.tokens = np.zeros((len(rows), 32), np.int32)
        for tokens, row in zip(self.tokens, rows):
            tokens[:32] = [1, *(byte + 3 for byte in row["text"].encode()[:30]), 2]

    def __len__(self) -> int:
        return 1000 * len(self.files)

    def __getitem__(self, i: int) -> dict:
        i %= len(self.files)
        with open(self.files[i], "rb") as file:
            return {"image": self.decode(file.read()), "text": self.tokens[i]}


def cpu() -> float:
    """CPU seconds of this process and its workers."""
    pids = [os.getpid(), *map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())]
    return sum(sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])) for pid in pids) / TICKS


def main() -> None:
    how, folder, workers = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # in the workers, too: they are forked
    loader = iter(DataLoader(Pictures(folder, {"pil": pil, "fast": fast}[how]), BATCH, shuffle=True, num_workers=workers, drop_last=True))
    next(loader)
    print("ready", flush=True)
    for line in sys.stdin:
        for _ in range(6):  # what lay ready
            next(loader)
        began, before = perf_counter(), cpu()
        for _ in range(int(line)):
            batch = next(loader)
        assert batch["image"].shape == (BATCH, SIZE, SIZE, 3) and batch["text"].shape == (BATCH, 32)
        print(perf_counter() - began, cpu() - before, flush=True)
    loader._shutdown_workers()


if __name__ == "__main__":
    main()
