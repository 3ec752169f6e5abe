"""What a config can get wrong is one ValueError that begins with its config path, before anything compiles."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from mmrep import config as cfg
from mmrep import validate
from mmrep.core import sharding
from mmrep.core.types import View
from mmrep.data import streams
from mmrep.data.sources import arrays
from mmrep.run import assemble
from tests import tiny

CLIP = {"clip": {"name": "contrastive"}}
FUSION = {"fusion": {"name": "cross_attention", "width": 16, "depth": 1, "heads": 2}}
IMAGES = {"source": {"name": "phantom", "n": 64, "size": 32, "modalities": ("image",)}, "batch": 16}
IMAGE = {"image": tiny.TOWERS["image"]}
EMA = {"teacher": {"decay": 0.9}}


def term(**spec):
    return {"t": spec}


@pytest.mark.parametrize("objectives, changes, message", [
    (CLIP, {"encoders.image.heads": 3}, r"config.encoders.image: .*"),
    (CLIP, {"encoders.image.patch": (5, 5)}, r"config.encoders.image: .*multiple of the patch"),
    (CLIP, {"encoders.image.pool": "avg"}, r"config.encoders.image: unknown pooling 'avg'"),
    (CLIP, {"data.main": IMAGES}, r"config.objectives.clip: reads 'text', which config.data.main does not give; valid: .*image"),
    (term(name="masked"), {"data.main": IMAGES}, r"config.encoders.text: no stream of config.data gives 'text'"),
    (CLIP | term(name="matching", after="clip"), {}, r"config.objectives.t: net: config.nets has no 'fusion'"),
    (term(name="caption"), {}, r"config.objectives.t: net: config.nets has no 'fusion'"),
    (CLIP, {"nets": {"fusion": FUSION["fusion"] | {"heads": 3}}}, r"config.nets.fusion: "),
    (CLIP, {"nets": {"fusion": FUSION["fusion"] | {"context": "ecg"}}}, r"config.nets.fusion: reads 'ecg'"),
    (term(name="masked") | {"m": {"name": "matching", "after": "t"}}, {"nets": FUSION}, r"config.objectives.m.after: 't' gives no"),
    (CLIP | term(name="matching", after="clip", b="image"), {"nets": FUSION}, r"config.objectives.t.b: is not b of 'clip'"),
    (term(name="supervised", heads={"clas": {"kind": "ce", "classes": 10}}), {},
     r"config.objectives.t: heads.clas: the data have no 'clas'; did you mean 'class'"),
    (term(name="supervised", heads={"findings": {"kind": "bce", "classes": 3}}), {}, r"config.objectives.t: heads.findings: bce of 3"),
    (term(name="contrastive", soft=True), {}, r"config.objectives.t: the data have no 'soft'"),
    (term(name="sigmoid", soft=True), {}, r"config.objectives.t: the data have no 'soft'"),
    (term(name="contrastive", a={"modality": "image", "smaple": 1}), {}, r"config.objectives.t: a view has no 'smaple'; .*'sample'"),
    (term(name="contrastive", method="fast"), {}, r"config.objectives.t: method 'fast' is unknown"),
    (term(name="moco", key="image", queue=8), {"ema": EMA}, r"config.objectives.t: queue: 8 is shorter than the batch, 16"),
    (term(name="moco"), {"ema": EMA}, r"config.objectives.t: reads sample 1 of 'image', of which an example has 1"),
    (term(name="distill"), {"ema": EMA}, r"config.objectives.t: reads sample 1 of 'image', of which an example has 1"),
    (term(name="contrastive", direction=1.5), {}, r"config.objectives.t: direction: 1.5 is not in \[0, 1\]"),
    (term(name="contrastive", temperature=-1.0), {}, r"config.objectives.t: temperature: -1.0 is not in \(0, inf\)"),
    (term(name="sigmoid", temperature=0.0), {}, r"config.objectives.t: temperature: 0.0 is not in \(0, inf\)"),
    (term(name="contrastive", a={"modality": "image", "mask": 1.5}), {}, r"config.objectives.t: mask of a view: 1.5 is not in \[0, 1\)"),
    (term(name="masked", ratio=0.01) | CLIP, {}, r"config.objectives.t: ratio: 0.01 of \d+ patches hides none"),
    (CLIP, {"encoders.image.drop": 2.0}, r"config.encoders.image: drop: 2.0 is not in \[0, 1\)"),
    (CLIP, {"encoders.text.dropout": 1.0}, r"config.encoders.text: dropout: 1.0 is not in \[0, 1\)"),
    (CLIP | term(name="masked", view="text"), {}, r"config.objectives.t: .*text"),
    (term(name="contrastive", weight="a"), {}, r"config.objectives.t.weight: 'a' is no number"),
    (CLIP, {"ema": {"eval": {"decay": "a"}}}, r"config.ema.eval.decay: 'a' is no number"),
    (CLIP, {"ema": {"eval": {"decay": 1.5}}}, r"config.ema.eval.decay: 1.5 is not in"),
    (CLIP, {"rules": ({"match": ".*", "lr": "a"},)}, r"config.rules\[0\].lr: 'a' is no number"),
    (CLIP, {"rules": ({"match": ".*", "shard": ("tensr",)},)}, r"config.rules.0.shard: no mesh axis 'tensr'"),
    ({"clip": "contrastive"}, {}, r"config.objectives.clip: 'contrastive' is no dict"),
    (CLIP, {"encoders.text": {"name": "text", "width": 16, "depth": 1, "heads": 2, "pool": "cls", "causal": True}},
     r"config.encoders.text: pool='cls' of a causal text encoder"),
    (term(name="contrastive", b={"modality": "text", "causal": True}), {},
     r"config.objectives.t: compares causal embeddings of 'text', .* set config.encoders.text.causal = True"),
    (term(name="contrastive", a={"modality": "image", "causal": True}), {}, r"config.objectives.t: .*no causal form"),
    (CLIP, {"encoders.image.depth": 0}, r"config.encoders.image.depth: 0 is not in \[1, inf\)"),
    (CLIP, {"head.dim": 0}, r"config.head.dim: 0 is not in \[1, inf\)"),
    (CLIP, {"eval.batch": 0}, r"config.eval.batch: 0 is not in"),
    (CLIP, {"loader.threads": -1}, r"config.loader.threads: -1 is not in"),
    (CLIP, {"data.main.cache_mib": -3}, r"config.data.main.cache_mib: -3 is not in"),
    (CLIP, {"data.main.augment": ({"name": "random_crop", "size": 16, "scale": 0.5},)},
     r"config.data.main.*random_crop: scale 0.5 is no pair"),
    (CLIP, {"data.main.prepare": ({"name": "resize", "size": 0},)}, r"config.data.main.*size: 0 is no whole number above 0"),
    (CLIP, {"data.main.source.size": 8}, r"config.data.main.*phantom size must be 16..1024"),
    (CLIP, {"tokenizer": {"name": "byte", "length": 24, "lenght": 16}}, r"config.tokenizer.lenght: byte takes no 'lenght'; .*'length'"),
    (CLIP, {"tokenizer": {"name": "bytes", "length": 24}}, r"config.tokenizer.name: unknown 'bytes'; did you mean 'byte'"),
    (CLIP, {"optim.name": "muon", "optim.kwargs": {"consistent_rm": 0.2}},
     r"config.optim.kwargs.consistent_rm: optax.muon takes no .*'consistent_rms'"),
    (CLIP, {"total": "50%"}, r"config.total: '50%' is no duration here; write a number >= 0 and steps, epochs or examples, e.g."),
    (CLIP, {"rules": ("freeze",)}, r"config.rules.0: 'freeze' is no dict"),
    (CLIP, {"seed": 2**31}, r"config.seed: 2147483648"),
    (CLIP, {"total": "inf steps"}, r"config.total: 'inf steps' is no duration"),
    (CLIP, {"data.main.batch": 0}, r"config.data.main.batch: 0 is no number of examples"),
    (CLIP | term(name="contrastive", a="image", b="image", **{"from": "x"}), {}, r"config.objectives.t.from: 'x' is no duration"),
])
def test_mistakes_are_named_by_their_path(objectives, changes, message):
    with pytest.raises(ValueError, match="^" + message) as caught:
        assemble(tiny.config(objectives, **changes), devices=jax.devices()[:1])
    assert "\n" not in str(caught.value)


def test_heads_of_unequal_width_name_the_term():
    c = tiny.config(CLIP, **{"head.kind": "none", "encoders.text.width": 32})
    with pytest.raises(ValueError, match=r"^config.objectives.clip: u has shape .*16.* and v .*32"):
        assemble(c, devices=jax.devices()[:1])


def test_every_net_and_objective_takes_bfloat16_remat_and_scan():
    objectives = CLIP | {"m": {"name": "matching", "after": "clip"}, "c": {"name": "caption"},
                         "r": {"name": "masked", "scan": True, "remat": True, "width": 16, "depth": 2, "heads": 2}}
    run = assemble(tiny.config(objectives, nets={"fusion": FUSION["fusion"] | {"scan": True, "remat": True}}, dtype="bfloat16"),
                   devices=jax.devices()[:1])
    assert {x.dtype.name for x in jax.tree.leaves(run.shapes.params)} == {"float32"}
    example = jax.tree.map(lambda s: s, run.shapes)
    from mmrep.run import batch_like

    batches = {n: batch_like(spec, 16) for n, spec in run.specs.items()}
    text = str(jax.make_jaxpr(run.loss)(example.params, {}, {}, batches, example.rng, example.step, run.hp))
    products = [line for line in text.splitlines() if " dot_general[" in line]
    assert sum("bf16[" in line for line in products) > 10


def test_a_batch_larger_than_the_data_names_its_stream():
    sources = {"main": range(20)}
    c = tiny.config(CLIP)
    with c.unlocked():
        c.data.main.batch = 32
    with pytest.raises(ValueError, match="^config.data.main.batch: batch of 32 from 20 rows"):
        streams.check_sizes(c, sources)


def test_hosts_must_divide_the_row_shards(monkeypatch):
    mesh = sharding.make_mesh(2, 2, 2)
    validate.check_batches(tiny.config(CLIP), mesh)
    monkeypatch.setattr(jax, "process_count", lambda: 8)
    with pytest.raises(ValueError, match="^config.mesh: the rows are split 4 ways .* 8 hosts do not divide"):
        validate.check_batches(tiny.config(CLIP), mesh)


def test_a_head_with_fewer_classes_than_the_label_has_names():
    heads = {"organ": {"kind": "ce", "classes": 2}, "finding": {"kind": "bce", "classes": 1}}
    c = tiny.config({"labels": {"name": "supervised", "heads": heads}})
    source = SimpleNamespace(label_names={"organ": ["brain", "chest", "knee"], "finding": ["a", "b"]})
    with pytest.raises(ValueError, match=r"config.objectives.labels.heads.organ.classes: 2, .* has 3: brain, chest, knee"):
        validate.check_heads(c, {"main": source})
    validate.check_heads(c, {"main": SimpleNamespace(label_names={"organ": ["brain", "chest"]})})
    numbered = SimpleNamespace(labels={"organ": np.array([1, 2, -1], np.int32)})
    for source in (numbered, SimpleNamespace(components=(SimpleNamespace(), numbered))):
        with pytest.raises(ValueError, match="heads.organ.classes: 2, but config.data.main has a class 2, counted from 0; set 3, or"):
            validate.check_heads(c, {"main": source})


def test_a_term_needs_a_row_that_holds_all_that_it_reads():
    term = SimpleNamespace(stream="main", objective=SimpleNamespace(views={"a": View("image"), "b": View("text")}))
    reads = {"image": {"image": ()}, "text": {"text": ()}}
    halves = arrays(image=np.zeros((4, 8, 8, 1), np.uint8), text=["a"] * 4,
                    present={"image": np.arange(4) < 2, "text": np.arange(4) > 1})
    whole = arrays(image=np.zeros((4, 8, 8, 1), np.uint8), text=["a"] * 4, present={"image": np.arange(4) < 2})
    for source in (halves, SimpleNamespace(components=(halves, halves))):
        with pytest.raises(ValueError, match="^config.objectives.clip: no training row of config.data.main holds image and text together"):
            validate.check_pairs({"clip": term}, reads, {"main": source})
    for source in (whole, range(4), SimpleNamespace(components=(halves, whole))):
        validate.check_pairs({"clip": term}, reads, {"main": source})
    validate.check_pairs({"clip": term}, reads, {})


def test_a_config_that_is_not_from_base_names_what_it_lacks():
    c = tiny.config(CLIP)
    for path in ("optim.lr", "mesh", "stages"):
        lacking = cfg.from_json(cfg.to_json(c))
        with lacking.unlocked():
            *parents, last = path.split(".")
            del (lacking[parents[0]] if parents else lacking)[last]
        with pytest.raises(ValueError, match=f"^config.{path}.*: is missing; start the config from base"):
            cfg.check_keys(lacking)
