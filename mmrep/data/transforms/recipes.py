"""What published systems do to their rows, as plain dicts of a stream's `prepare`, `augment` and `evaluate`.

One line of a config: `c.data = {"main": {"source": {...}, "batch": 128, **recipes.convirt(224)}}`. Each is a start, to be changed by
hand; pixels are u8 and go through `config.inputs` on the device. None mirrors left and right by default where a text names a side.
"""

from typing import Any

Recipe = dict[str, tuple[dict[str, Any], ...]]


def convirt(size: int = 224) -> Recipe:
    """ConVIRT (Zhang et al. 2022, "Contrastive learning of medical visual representations from paired images and text", section 3.3).

    Crop of 0.6 to 1, flip, affine (20 degrees, 0.1 of the sides, 0.95 to 1.05), brightness and contrast 0.6 to 1.4, blur (0.1, 3); one
    sentence of the report. Its flip is here that of texts which name no side, so it comes before the sentence is drawn.
    """
    return {"augment": ({"name": "random_crop", "size": size, "scale": (0.6, 1.0)}, {"name": "flip", "p": 0.5},
                        {"name": "affine", "degrees": 20.0, "translate": 0.1, "scale": (0.95, 1.05)},
                        {"name": "color_jitter", "brightness": 0.4, "contrast": 0.4}, {"name": "blur", "sigma": (0.1, 3.0)},
                        {"name": "sample_sentences", "count": 1}),
            "evaluate": ({"name": "resize", "size": size, "fit": "cover"},)}


def gloria(size: int = 224) -> Recipe:
    """GLoRIA (Huang et al. 2021; marshuang80/gloria, configs/chexpert_pretrain_config.yaml): padded to a square of 256, of which 224 at
    random; one sentence of the report."""
    whole = round(size * 256 / 224)
    return {"prepare": ({"name": "resize", "size": whole, "fit": "pad"},),
            "augment": ({"name": "crop", "size": size}, {"name": "sample_sentences", "count": 1}),
            "evaluate": ({"name": "center_crop", "size": size},)}


def mgca(size: int = 224) -> Recipe:
    """MGCA (Wang et al. 2022; HKU-MedAI/MGCA, mgca/datasets/transforms.py): as GLoRIA, with the whole report in lower case."""
    return gloria(size) | {"prepare": (*gloria(size)["prepare"], {"name": "lowercase"}), "augment": ({"name": "crop", "size": size},)}


def cxr_clip(size: int = 224) -> Recipe:
    """CXR-CLIP (You et al. 2023; kakaobrain/cxr-clip, configs/transform/clahe.yaml): crop of 0.8 to 1, CLAHE with clip 4 and p 0.5, color
    jitter of 0.1, 0.2 and 0.2 (hue left out: it changes nothing of gray pictures), two parts of the report, two views of the image.

    Its text views are sections; here those of `sections`, lines where a table joins text columns: change `of`. Train with a term for each
    pair of samples, {"modality": "image", "sample": 1} and {"modality": "text", "sample": 1} among them.
    """
    image = ({"name": "random_crop", "size": size, "scale": (0.8, 1.0)}, {"name": "clahe", "clip": 4.0, "p": 0.5},
             {"name": "color_jitter", "brightness": 0.1, "contrast": 0.2, "saturation": 0.2})
    return {"augment": ({"name": "views", "count": 2, "transforms": image}, {"name": "text_views", "count": 2, "of": "sections"}),
            "evaluate": ({"name": "resize", "size": size, "fit": "cover"}, {"name": "views", "count": 2, "transforms": ()},
                         {"name": "text_views", "count": 2, "of": "sections", "random": False})}


def biovil(size: int = 480) -> Recipe:
    """After BioViL (Boecking et al. 2022, "Making the most of text semantics"): affine maps, brightness and contrast, no flip at all, for
    reports tell sides; sentences in random order. How strong is our choice, not the paper's numbers."""
    return {"prepare": ({"name": "resize", "size": round(size * 512 / 480), "fit": "cover"},),
            "augment": ({"name": "crop", "size": size}, {"name": "affine", "degrees": 30.0, "shear": 15.0},
                        {"name": "color_jitter", "brightness": 0.2, "contrast": 0.2}, {"name": "shuffle_sentences"}),
            "evaluate": ({"name": "center_crop", "size": size},)}


def multi_crop(size: int = 224, local: int = 96, count: int = 6) -> Recipe:
    """DINO (Caron et al. 2021, section 3.1 and its main_dino.py): two crops of 0.4 to 1, and `count` of 0.05 to 0.4 under "image/local".

    A view of a global crop is {"modality": "image", "sample": 0 or 1}, of a local one {"modality": "image", "crop": "local", "sample": 0}
    and so on. Its solarization and unequal blurs are left out.
    """
    def crops(pixels: int, low: float, high: float) -> tuple[dict, ...]:
        return ({"name": "random_crop", "size": pixels, "scale": (low, high)}, {"name": "flip", "p": 0.5},
                {"name": "color_jitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "p": 0.8}, {"name": "blur"})

    small = {"name": "views", "count": count, "to": "image/local", "transforms": crops(local, 0.05, 0.4)}
    return {"augment": (small, {"name": "views", "count": 2, "transforms": crops(size, 0.4, 1.0)}),
            "evaluate": ({"name": "resize", "size": size, "fit": "cover"},)}


def nnunet(size: tuple[int, int, int] = (128, 128, 128), mask: str = "volume") -> Recipe:
    """nnU-Net (Isensee et al. 2021): patches, a third of them around a foreground voxel; blur, noise and intensity; mirrors along depth and
    height, and along width where no text tells sides. Its rotations and scalings are left out. For u8 volumes (`read` with a window)."""
    return {"augment": ({"name": "sample_patch", "size": size, "mask": mask}, {"name": "noise", "std": 0.1, "p": 0.1, "key": "volume"},
                        {"name": "blur", "sigma": (0.5, 1.0), "p": 0.2, "key": "volume"},
                        {"name": "intensity", "gain": 0.25, "offset": 0.0, "gamma": 0.35, "p": 0.3, "key": "volume"},
                        *({"name": "flip", "axis": axis, "p": 0.5} for axis in ("depth", "vertical", "horizontal"))),
            "evaluate": ({"name": "pad_volume", "size": size}, {"name": "crop_volume", "size": size, "random": False})}


def ecg(rate: float = 250.0, length: int = 1250) -> Recipe:
    """ECGs (after TaskAug, Raghu et al. 2022, and the random lead masking of Oh et al. 2022): 0.5 to 40 Hz; a random crop, scale, wander,
    mains hum (where the rate holds 50 Hz), noise, a span of time masked, each lead dropped with probability 0.5; standardized last."""
    filtered = ({"name": "bandpass", "rate": rate, "low": 0.5, "high": min(40.0, 0.4 * rate)}, {"name": "pad_signal", "length": length})
    hum = ({"name": "powerline", "rate": rate},) if rate > 100 else ()
    return {"prepare": filtered,
            "augment": ({"name": "crop_signal", "length": length}, {"name": "scale_signal"}, {"name": "baseline_wander", "rate": rate},
                        *hum, {"name": "noise", "std": 0.05, "key": "signal"}, {"name": "mask_time"}, {"name": "drop_leads", "p": 0.5},
                        {"name": "normalize_signal"}),
            "evaluate": ({"name": "crop_signal", "length": length, "random": False}, {"name": "normalize_signal"})}


def table() -> Recipe:
    """SCARF (Bahri et al. 2022): sample 0 is the row, sample 1 the row with 0.6 of its columns corrupted. The term: {"name": "contrastive",
    "a": "tabular", "b": {"modality": "tabular", "sample": 1}}."""
    return {"augment": ({"name": "views", "count": 2, "first": True, "key": ("tabular", "category"), "transforms": ({"name": "scarf"},)},)}


def slide(tiles: int = 512) -> Recipe:
    """Slides as bags: as many tiles of each, drawn anew every epoch, spread evenly in evaluation."""
    return {"augment": ({"name": "sample_tiles", "count": tiles},),
            "evaluate": ({"name": "sample_tiles", "count": tiles, "random": False},)}


RECIPES = {"convirt": convirt, "gloria": gloria, "mgca": mgca, "cxr_clip": cxr_clip, "biovil": biovil, "multi_crop": multi_crop,
           "nnunet": nnunet, "ecg": ecg, "table": table, "slide": slide}
