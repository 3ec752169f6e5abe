"""Our train step, or image embedding, for an interleaving harness: one JSON line, or a server of timed steps (--serve).

The harness (`perfcommon.py`, `pair.py`) lies beside the peers' scripts: --peers says where. Work and sizes are those of
configs/bench_clip.py; the peer must be given the same --vocab (260, bytes) and sizes. See README.md.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def main() -> None:
    own = argparse.ArgumentParser(description=__doc__)
    own.add_argument("--peers", default=str(ROOT.parent / "shared" / "peers"))
    own.add_argument("--low-memory", action="store_true")
    given, rest = own.parse_known_args()
    sys.path.insert(0, given.peers)
    import perfcommon

    args = perfcommon.finish(perfcommon.parser().parse_args(rest))
    from mmrep.cli import prepare_process

    prepare_process()  # as the mmrep command does, before jax is imported
    import jax

    from mmrep import config as cfg
    from mmrep.bench import prepare
    from mmrep.core import allocator
    from mmrep.core.types import View

    name = f"{ROOT / 'configs' / 'bench_clip.py'}:preset={args.preset or 'ti64'},batch={args.bs}"
    run, state, batches, hp = prepare(cfg.load(name + (",low_memory" if given.low_memory else "")))
    info = {"peer": "mmrep", "params": sum(x.size for x in jax.tree.leaves(run.shapes.params)), "flops": perfcommon.clip_flops(args)}
    with jax.set_mesh(run.mesh):
        if args.mode == "train":
            program = jax.jit(run.step, donate_argnums=0, out_shardings=(run.placed, None)).lower(state, batches, hp).compile()
            info["xla_temp_mib"] = round(program.memory_analysis().temp_size_in_bytes / 2**20)
            kept = {"state": state}

            def step() -> float:
                kept["state"], metrics = program(kept["state"], batches, hp)
                return float(jax.device_get(metrics)["loss"])  # finite flags and all other metrics included
        else:
            inputs = state.params["encoders"], batches["main"]["image"]
            embed = jax.jit(lambda params, x: run.encode(params, View("image"), {"image": x}, None).embedding).lower(*inputs).compile()

            def step() -> float:
                return float(embed(*inputs)[0, 0])
        allocator.fill_holes()
        perfcommon.drive(args, step, info)


if __name__ == "__main__":
    main()
