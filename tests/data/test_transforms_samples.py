"""Several samples: multi-crop in a batch, pictures of a study, two texts; absent modalities; bags of tiles."""

import numpy as np
import pytest

from mmrep.data.pipeline import eval_batches, train_batches
from mmrep.data.reports import sections
from mmrep.data.rng import philox
from mmrep.data.sources import arrays
from mmrep.data.streams import stream_transform
from mmrep.data.tokenizers import byte
from mmrep.data.transforms import TRANSFORMS, compose
from mmrep.data.transforms.recipes import multi_crop, slide

REPORT = "EXAMINATION: Chest.\nFINDINGS: Lungs are clear. Heart is normal.\nNo effusion.\n\nIMPRESSION:  No acute disease.\n"


def run(name, example, seed=0, **kwargs):
    return TRANSFORMS[name](**kwargs)(example, philox(seed, 9))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def test_multi_crop_reaches_a_batch_and_evaluation_has_one_picture():
    source = arrays(image=noise(24, 40, 32, 1), text=["clear lungs", "left opacity"] * 12)
    recipe = multi_crop(16, 8, 6)
    train = stream_transform(recipe, byte(), 8, True, "config.data.main")
    batch = next(train_batches(source, 8, 0, train, threads=0))
    assert batch["image"].shape == (8, 2, 16, 16, 1) and batch["image/local"].shape == (8, 6, 8, 8, 1) and batch["text"].shape == (8, 8)
    assert batch["present"]["image"].all() and batch["present"]["image/local"].all()
    assert len({crop.tobytes() for crop in batch["image/local"].reshape(-1, 8, 8, 1)}) == 48
    again = next(train_batches(source, 8, 0, train, threads=2))
    assert all(np.array_equal(batch[key], again[key]) for key in ("image", "image/local"))
    evaluate = stream_transform(recipe, byte(), 8, False, "config.data.main")
    one, two = [[*eval_batches(source, 8, evaluate, threads=0, seed=seed)] for seed in (0, 1)]
    assert one[0]["image"].shape == (8, 16, 16, 1) and all(np.array_equal(a["image"], b["image"]) for a, b in zip(one, two))
    with pytest.raises(ValueError, match=r"^config.data.main.evaluate\[0\].name: unknown 'crp'; did you mean 'crop'"):
        stream_transform({"evaluate": ({"name": "crp"},)}, byte(), 8, False, "config.data.main")


def test_views_of_several_keys_boxes_and_an_untouched_first():
    example = {"tabular": np.arange(5, dtype=np.float32), "category": np.arange(3, dtype=np.int32), "text": "x"}
    out = run("views", example, count=3, key=("tabular", "category"), first=True, transforms=[
        {"name": "drop_features", "p": 1.0, "key": "tabular"}, {"name": "drop_features", "p": 1.0, "key": "category", "value": 9}])
    assert np.array_equal(out["tabular"], [example["tabular"], np.zeros(5), np.zeros(5)]) and out["text"] == "x"
    assert np.array_equal(out["category"], [[0, 1, 2], [9, 9, 9], [9, 9, 9]])
    image, box = noise(8, 8, 1), np.array([[0.25, 0, 0.5, 0.5], [0, 0, 0, 0]], np.float32)
    out = run("views", {"image": image, "label/boxes": box, "mask/a": image}, count=2, transforms=({"name": "flip", "p": 1.0},))
    assert np.allclose(out["label/boxes"], [[[0.25, 0.5, 0.5, 1], [0, 0, 0, 0]]] * 2) and np.array_equal(out["mask/a"], out["image"])
    crops = run("views", {"image": image, "label/boxes": box, "mask/a": image}, count=2, to="image/local",
                transforms=({"name": "crop", "size": 3},))
    assert np.array_equal(crops["label/boxes"], box) and crops["mask/a"].shape == (8, 8, 1) and crops["image/local"].shape == (2, 3, 3, 1)
    volume = run("views", {"volume": noise(6, 6, 6, 1), "mask/volume": noise(6, 6, 6, 1)}, count=2, key="volume",
                 transforms=({"name": "crop_volume", "size": 4},))
    assert volume["volume"].shape == volume["mask/volume"].shape == (2, 4, 4, 4, 1)
    with pytest.raises(ValueError, match=r"views: samples of image are \[8, 6, 1\] and \[8, 8, 1\]; make them alike"):
        run("views", {"image": noise(8, 8, 1)}, count=2, first=True, transforms=({"name": "crop", "size": (8, 6)},))
    with pytest.raises(ValueError, match="views: to='x' for 2 keys"):
        run("views", example, count=2, key=("tabular", "category"), to="x", transforms=())


def test_a_studys_pictures():
    study = {"image": noise(5, 6, 4, 1), "mask/lung": noise(5, 6, 4, 1, seed=1), "present": {"image": np.array([1, 0, 1, 1, 1], bool)}}
    chosen = set()
    for seed in range(100):
        out = run("choose", study, seed, count=2)
        places = [next(i for i in range(5) if np.array_equal(study["image"][i], one)) for one in out["image"]]
        assert places == sorted(places) and 1 not in places and out["present"]["image"].tolist() == [True, True]
        assert np.array_equal(out["mask/lung"], study["mask/lung"][places])
        chosen.add(tuple(places))
    assert len(chosen) == 6
    first = run("choose", study, count=2, random=False)
    assert np.array_equal(first["image"], study["image"][[0, 2]])
    padded = run("choose", study, count=6, random=False)
    assert padded["present"]["image"].tolist() == [True] * 4 + [False] * 2 and not padded["image"][4:].any()
    rows = arrays(image=noise(9, 3, 8, 8, 1))
    specs = ({"name": "choose", "count": 2}, {"name": "each", "transforms": ({"name": "crop", "size": 5},)})
    batch = next(train_batches(rows, 4, 0, compose(specs), threads=0))
    assert batch["image"].shape == (4, 2, 5, 5, 1) and batch["present"]["image"].shape == (4, 2) and batch["present"]["image"].all()


def test_pictures_of_different_sizes_become_alike_one_by_one():
    pictures = [noise(10, 8, 1), noise(6, 12, 1, seed=1), noise(7, 7, 1, seed=2)]
    steps = ({"name": "choose", "count": 2, "random": False}, {"name": "each", "transforms": ({"name": "resize", "size": 4},)},
             {"name": "choose", "count": 2, "random": False})
    out = compose(steps)({"image": pictures, "text": "a"}, philox(0, 9))
    want = [run("resize", {"image": p}, size=4)["image"] for p in pictures[:2]]
    assert np.array_equal(out["image"], want) and out["present"]["image"].tolist() == [True, True] and out["text"] == "a"
    short = compose(steps)({"image": pictures[:1]}, philox(0, 9))
    assert short["image"].shape == (2, 4, 4, 1) and short["present"]["image"].tolist() == [True, False]
    with pytest.raises(ValueError, match=r"each: samples of image are \[10, 8, 1\] and \[6, 12, 1\] and \[7, 7, 1\]"):
        run("each", {"image": pictures}, transforms=())
    masked = run("each", {"image": noise(2, 6, 6, 1), "mask/a": noise(2, 6, 6, 1)}, 3, transforms=({"name": "crop", "size": 4},))
    assert np.array_equal(masked["image"], masked["mask/a"])  # the same noise, cut alike
    with pytest.raises(ValueError, match="each: a transform changed the text"):
        run("each", {"image": noise(2, 6, 6, 1), "text": "A"}, transforms=({"name": "lowercase"},))


def test_sections_of_a_report_and_texts_as_samples():
    found = sections(REPORT)
    picked = {run("choose_section", {"text": REPORT}, s)["text"] for s in range(20)}
    assert picked == {found["findings"], found["impression"]}
    assert run("choose_section", {"text": REPORT}, random=False)["text"] == found["impression"]
    assert run("choose_section", {"text": "free text"})["text"] == "free text"
    with pytest.raises(ValueError, match="choose_section: names: 'impresion' is no section that is known; did you mean 'impression'"):
        run("choose_section", {}, names=("impresion",))
    two = run("text_views", {"text": "A.\nB."}, 1, of="lines")["text"]
    assert sorted(two) == ["A.", "B."] and run("text_views", {"text": "A.\nB."}, of="lines", random=False)["text"] == ["A.", "B."]
    assert run("text_views", {"text": "One only."})["text"] == ["One only."] * 2
    orders = {tuple(run("text_views", {"text": "A. B. C."}, s, count=2)["text"]) for s in range(80)}
    assert len(orders) == 6
    source = arrays(text=["Clear. Normal. No effusion.", "One."] * 8)
    batch = next(train_batches(source, 8, 0, stream_transform({"augment": ({"name": "text_views"},)}, byte(), 12, True, "main"), threads=0))
    assert batch["text"].shape == (8, 2, 12) and batch["present"]["text"].all()
    shuffled = {run("shuffle_sentences", {"text": "A. B. C."}, s)["text"] for s in range(60)}
    assert len(shuffled) == 6 and run("shuffle_sentences", {"text": "A. B."}, p=0.0)["text"] == "A. B."


def test_modalities_drop_as_often_as_asked_and_never_all():
    example = {"image": noise(4, 4, 1), "image/local": noise(2, 3, 3, 1), "mask/lung": noise(4, 4, 1), "mask/tabular": np.ones(2),
               "text": "x", "tabular": np.ones(2, np.float32), "category": np.ones(1, np.int32), "label/class": 3,
               "present": {"image": True}}
    seen = []
    for seed in range(1000):
        out = run("drop_modalities", example, seed, p={"image": 0.5, "tabular": 0.2})
        seen.append(("image" in out, "tabular" in out))
        assert ("image" in out) == ("image/local" in out) == ("mask/lung" in out) == ("image" in out["present"])
        assert ("tabular" in out) == ("category" in out) == ("mask/tabular" in out) and out["text"] == "x" and out["label/class"] == 3
    rates = 1 - np.mean(seen, 0)
    assert abs(rates[0] - 0.5) < 3 * 0.5 / np.sqrt(1000) and abs(rates[1] - 0.2) < 3 * 0.4 / np.sqrt(1000)
    left = [len({"image", "text", "tabular"} & set(run("drop_modalities", example, s, p=1.0))) for s in range(50)]
    assert set(left) == {1}                   # one stays, whatever p
    for lone in ({"label/class": 1}, {"text": "x"}):
        assert run("drop_modalities", lone, p=1.0) == lone
    for p, message in [({"imge": 0.5}, "p names 'imge'; did you mean 'image'"),
                       ({"category": 0.5}, "p names 'category'; categories go with tabular"),
                       (1.5, "p: 1.5 is not in")]:
        with pytest.raises(ValueError, match=f"drop_modalities: {message}"):
            run("drop_modalities", example, p=p)
    assert run("drop", example, keys=("label/class", "nothing")).keys() == example.keys() - {"label/class"}


def test_absent_by_chance_is_absent_in_the_batch():
    source = arrays(image=noise(64, 4, 4, 1), text=["a"] * 64)
    transform = stream_transform({"augment": ({"name": "drop_modalities", "p": 0.5},)}, byte(), 4, True, "main")
    batch = next(train_batches(source, 64, 0, transform, threads=0, spec={"image": ((4, 4, 1), np.dtype(np.uint8)),
                                                                          "text": ((4,), np.dtype(np.int32))}))
    here = np.stack([batch["present"][key] for key in ("image", "text")])
    assert here.any(0).all() and 10 < (~here[0]).sum() < 40 and not batch["image"][~here[0]].any() and not batch["text"][~here[1]].any()


def test_bags_of_any_size_become_alike():
    bag, coords = np.arange(40, dtype=np.float32).reshape(20, 2), np.arange(40).reshape(20, 2)
    example = {"features": bag, "features/coords": coords, "label/class": 1}
    chosen = np.zeros(20)
    for seed in range(300):
        out = run("sample_tiles", example, seed, count=8)
        assert out["features"].shape == (8, 2) and out["mask/features"].tolist() == [1] * 8 and out["features"].dtype == np.float32
        assert np.array_equal(out["features"], out["features/coords"]) and (np.diff(out["features"][:, 0]) > 0).all()
        chosen[out["features/coords"][:, 0] // 2] += 1
    assert np.abs(chosen / 300 - 0.4).max() < 4 * np.sqrt(0.24 / 300)
    few = run("sample_tiles", example, count=25)
    assert few["mask/features"].sum() == 20 and np.array_equal(few["features"][:20], bag) and not few["features"][20:].any()
    even = run("sample_tiles", example, count=3, random=False)
    assert even["features"][:, 0].tolist() == [0, 18, 38] and np.array_equal(even["features"], even["features/coords"])
    again = [run("sample_tiles", few, seed, count=8) for seed in range(30)]
    assert all(one["mask/features"].all() and one["features"][:, 1].all() for one in again)  # the padding is no tile
    with pytest.raises(ValueError, match=r"features/coords has 19 rows for 20 tiles"):
        run("sample_tiles", {"features": bag, "features/coords": coords[1:]}, count=3)
    with pytest.raises(ValueError, match=r"features is \[2\], not a bag"):
        run("sample_tiles", {"features": bag[0]}, count=3)


def test_bags_of_any_size_reach_a_batch():
    class Slides:
        fields = ("features",)

        def __len__(self):
            return 12

        def __getitem__(self, i):
            return {"features": np.full((3 + i, 4), i + 1, np.float32)}

    for train, batches in ((True, train_batches), (False, eval_batches)):
        transform = stream_transform(slide(6), byte(), 4, train, "config.data.main")
        batch = next(iter(batches(Slides(), 6, *([0] if train else []), transform=transform, threads=0)))
        assert batch["features"].shape == (6, 6, 4) and np.array_equal(batch["mask/features"], batch["features"][..., 0] > 0)
        assert set(batch["mask/features"].sum(1)) <= {3, 4, 5, 6}


def test_sentences_that_compare_are_removed_and_a_text_of_nothing_else_is_absent():
    remove = compose([{"name": "remove_priors"}])
    rng = np.random.default_rng(0)
    assert remove({"text": "Clear lungs. Unchanged heart."}, rng)["text"] == "Clear lungs."
    assert remove({"text": ["Unchanged.", "Clear."]}, rng)["text"] == ["", "Clear."]
    assert "text" not in remove({"text": "Unchanged.", "case": 1}, rng) and remove({"case": 1}, rng) == {"case": 1}
