"""Where a run's metrics also go by flag: TensorBoard, Weights & Biases, MLflow. metrics.jsonl is what the rest of the package reads."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mmrep import config as cfg
from mmrep.core.files import write_json

EXTRAS = {"tensorboardX": ("tensorboard", "trackers"), "wandb": ("wandb", "wandb"), "mlflow": ("mlflow", "mlflow")}  # module: key, extra


class Tracker(NamedTuple):
    """write(step, {name: value}) and close()."""

    write: Callable[[int, dict[str, float]], None]
    close: Callable[[], None]


def open_trackers(config: Any, workdir: Path) -> list[Tracker]:
    """What `config.log` asks for. Raises ValueError where its package is not installed, naming the extra."""
    log = config.log
    made = [(log.tensorboard, tensorboard), (log.get("wandb", ""), wandb), (log.get("mlflow", ""), mlflow)]
    return [make(config, workdir, asked) for asked, make in made if asked]


def _imported(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        key, extra = EXTRAS[module.partition(".")[0]]
        raise ValueError(f"config.log.{key}: needs the extra `{extra}`: pip install mmrep[{extra}]") from None


def tensorboard(config: Any, workdir: Path, asked: bool) -> Tracker:
    """Event files in WORKDIR/tensorboard."""
    board = _imported("tensorboardX").SummaryWriter(str(workdir / "tensorboard"))

    def write(step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            board.add_scalar(name, value, step)

    return Tracker(write, board.close)


def wandb(config: Any, workdir: Path, project: str) -> Tracker:
    """A run of the project, kept in WORKDIR/wandb; WANDB_MODE=offline keeps it there until `wandb sync`. A resumed run goes on as the same
    one, and what it logs again of steps after its checkpoint is dropped there. Runs that are trained together stay apart: without
    `create_new` a second `init` in one process gives the first run again."""
    module = _imported("wandb")
    run = module.init(project=project, name=workdir.name, id=_name(config, workdir), dir=str(workdir), resume="allow", reinit="create_new",
                      config=cfg.plain(config), settings=module.Settings(silent=True, console="off"))
    return Tracker(lambda step, metrics: run.log(metrics, step=step), run.finish)


def mlflow(config: Any, workdir: Path, experiment: str) -> Tracker:
    """A run of the experiment at MLFLOW_TRACKING_URI (unset: files in ./mlruns). WORKDIR/mlflow.json says which, so that a resumed run goes
    on as the same one. Characters that MLflow refuses in names become _."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which it asks for since it recommends data bases
    tracking, entities = _imported("mlflow.tracking"), _imported("mlflow.entities")
    client = tracking.MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"file:{Path.cwd() / 'mlruns'}")
    file = workdir / "mlflow.json"
    if file.is_file():
        number = json.loads(file.read_text())["run"]
    else:
        found = client.get_experiment_by_name(experiment)
        of = found.experiment_id if found else client.create_experiment(experiment)
        number = client.create_run(of, run_name=workdir.name).info.run_id
        for key, value in flat(cfg.plain(config)).items():
            client.log_param(number, _safe(key), str(value)[:500])
        write_json(file, {"run": number})

    def write(step: int, metrics: dict[str, float]) -> None:
        client.log_batch(number, metrics=[entities.Metric(_safe(k), float(v), 0, step) for k, v in metrics.items()])

    return Tracker(write, lambda: client.set_terminated(number))


def flat(config: dict, prefix: str = "") -> dict[str, Any]:
    """{path: value} of nested dicts."""
    return {path: one for key, value in config.items() for path, one in (
        flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}).items()}


def _name(config: Any, workdir: Path) -> str:
    """A name that a resume finds again."""
    return f"{cfg.digest(config)}-{cfg.digest({'folder': str(workdir.resolve())})[:6]}"


def _safe(name: str) -> str:
    return re.sub(r"[^\w\-./ ]", "_", name)
