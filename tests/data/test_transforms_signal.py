"""Signals: spectra of what is added and kept, leads never all dropped, lengths."""

import numpy as np
import pytest

from mmrep.data.rng import philox
from mmrep.data.transforms import TRANSFORMS, compose

RATE, LEADS = 250.0, 12


def run(name, example, seed=0, **kwargs):
    return TRANSFORMS[name](**kwargs)(example, philox(seed, 9))


def record(n=2500, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, (n, LEADS)).astype(np.float32)


def power(x, low, high):
    """Share of the power between two frequencies."""
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x))[:, None], axis=0)) ** 2
    at = np.fft.rfftfreq(len(x), 1 / RATE)
    return spectrum[(at >= low) & (at <= high)].sum() / spectrum.sum()


def test_crops_and_padding_keep_the_mask_along():
    x = np.arange(20, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    example = {"signal": x, "mask/signal": np.arange(20)}
    starts = set()
    for seed in range(200):
        out = run("crop_signal", example, seed, length=17)
        assert np.array_equal(out["signal"][:, 0], out["mask/signal"])
        starts.add(int(out["mask/signal"][0]))
    assert starts == {0, 1, 2, 3}
    assert run("crop_signal", example, length=10, random=False)["mask/signal"].tolist() == [*range(5, 15)]
    padded = run("pad_signal", example, length=25, where="center")
    assert padded["mask/signal"].tolist() == [0, 0, *range(20), 0, 0, 0] and np.array_equal(padded["signal"][:, 1], padded["mask/signal"])
    assert run("pad_signal", example, length=22)["signal"][20:].sum() == 0 and run("pad_signal", example, length=5) is example
    with pytest.raises(ValueError, match="the signal has 20 samples, the crop 21; pad_signal first"):
        run("crop_signal", example, length=21)
    assert run("crop_signal", {"text": "x"}, length=3) == {"text": "x"}


def test_leads_drop_as_often_as_asked_and_never_all():
    x = record(50)
    gone = np.array([(run("drop_leads", {"signal": x}, s, p=0.5)["signal"] == 0).all(0) for s in range(400)])
    assert abs(gone.mean() - 0.5) < 4 * 0.5 / np.sqrt(gone.size) and not gone.all(1).any()
    all_but_one = [(run("drop_leads", {"signal": x}, s, p=1.0)["signal"] != 0).any(0).sum() for s in range(30)]
    assert set(all_but_one) == {1}
    kept = run("drop_leads", {"signal": x}, 3, p=0.5)["signal"]
    assert all((kept[:, j] == 0).all() or np.array_equal(kept[:, j], x[:, j]) for j in range(LEADS))


def test_disturbances_lie_where_they_should():
    x = np.zeros((5000, LEADS), np.float32)
    wander = run("baseline_wander", {"signal": x}, 1, rate=RATE, amplitude=0.3, p=1.0)["signal"]
    assert power(wander, 0, 0.6) > 0.99 and 0 < np.abs(wander).max() <= 0.3 and wander.dtype == np.float32
    assert np.linalg.matrix_rank(wander) == 1  # one breath, seen by every lead
    hum = run("powerline", {"signal": x}, 1, rate=RATE, frequency=60.0, p=1.0)["signal"]
    assert power(hum, 59.5, 60.5) > 0.99 and np.abs(hum).max() <= 0.05
    with pytest.raises(ValueError, match="powerline: 50.0 Hz is not below half of the rate, 100"):
        run("powerline", {"signal": x}, rate=100)
    white = run("noise", {"signal": x}, 1, std=0.2, key="signal")["signal"]
    assert 0 < white.std() < 0.2 and abs(power(white, 0, 62.5) - 0.5) < 0.02
    off = [run(name, {"signal": x}, s, p=0.0, **kw)["signal"] for s in range(5)
           for name, kw in (("baseline_wander", {"rate": RATE}), ("powerline", {"rate": RATE}), ("mask_time", {}))]
    assert all(one is x for one in off)


def test_bandpass_keeps_the_band_and_moves_nothing():
    t = np.arange(5000) / RATE
    tone = lambda f: np.repeat(np.sin(2 * np.pi * f * t)[:, None], 2, 1).astype(np.float32)  # noqa: E731
    out = run("bandpass", {"signal": tone(10) + tone(0.05) + tone(100) + 3}, rate=RATE)["signal"]
    middle = slice(1000, 4000)
    np.testing.assert_allclose(out[middle], tone(10)[middle], atol=0.02)  # neither delayed nor shrunk
    low = run("bandpass", {"signal": tone(10) + tone(100) + 3}, rate=RATE, low=0, high=40)["signal"]
    np.testing.assert_allclose(low[middle], tone(10)[middle] + 3, atol=0.02)
    for n in (1, 2, 30):                      # however short
        assert np.isfinite(run("bandpass", {"signal": record(n)}, rate=RATE)["signal"]).all()
    with pytest.raises(ValueError, match="bandpass: 0.5 to 130 Hz is not within 0 and half of the rate"):
        run("bandpass", {"signal": out}, rate=RATE, high=130)


def test_bandpass_makes_of_an_end_what_it_makes_of_a_longer_record(shared):
    from scipy.signal import butter, sosfiltfilt

    with np.load(shared / "data" / "ludb_ecg" / "signals.npz", allow_pickle=False) as arrays:
        records = arrays["signals_uV"][:12].transpose(0, 2, 1).astype(np.float32) / 1000
    sos = butter(3, (0.5, 40), "bandpass", fs=RATE, output="sos")
    part, ends = slice(625, 1875), np.r_[0:50, 1200:1250]                     # 5 of 10 s, and a fifth of a second at either end
    whole = np.stack([sosfiltfilt(sos, x, axis=0)[part] for x in records])
    ours = np.stack([run("bandpass", {"signal": x[part]}, rate=RATE)["signal"] for x in records])
    scipys = np.stack([sosfiltfilt(sos, x[part], axis=0) for x in records])
    off, default = (np.sqrt(((y - whole)[:, ends] ** 2).mean()) for y in (ours, scipys))
    assert off < 0.04 and off < default / 2 and np.abs(ours - whole)[:, 400:850].max() < 0.02  # mV


def test_scale_and_normalization():
    x = record()
    factors = np.array([run("scale_signal", {"signal": x}, s, low=0.5, high=2.0)["signal"][0, 0] / x[0, 0] for s in range(300)])
    assert 0.5 <= factors.min() < 0.6 and 1.8 < factors.max() <= 2 and abs(np.log(factors).mean()) < 0.1
    each = run("scale_signal", {"signal": x}, per_lead=True)["signal"] / x
    assert np.allclose(each.std(0), 0, atol=1e-4) and each[0].std() > 0.01
    x[:, 3] = 7                               # a lead that came off
    out = run("normalize_signal", {"signal": x * 5 + 2})["signal"]
    keep = [j for j in range(LEADS) if j != 3]
    assert np.allclose(out.mean(0), 0, atol=1e-5) and np.allclose(out[:, keep].std(0), 1, atol=1e-3) and not out[:, 3].any()
    assert out.dtype == np.float32
    whole = run("normalize_signal", {"signal": x}, per="record")["signal"]
    assert np.allclose(whole.std(), 1, atol=1e-4) and whole[:, 3].std() < 1e-3
    masked = run("mask_time", {"signal": np.ones((100, 2), np.float32)}, share=0.2, count=2)["signal"]
    assert 20 <= (masked == 0).all(1).sum() <= 40 and set(masked.sum(1)) == {0.0, 2.0}
    tone = np.sin(2 * np.pi * 5 * np.arange(500) / 500)[:, None].astype(np.float32)
    want = np.sin(2 * np.pi * 5 * np.arange(200) / 200)[:, None]
    np.testing.assert_allclose(run("resample_signal", {"signal": tone}, length=200)["signal"][10:-10], want[10:-10], atol=0.02)


def test_nothing_writes_into_its_input_and_the_seed_decides():
    x = record(300)
    x.setflags(write=False)
    steps = [{"name": "crop_signal", "length": 250}, {"name": "scale_signal"}, {"name": "baseline_wander", "rate": RATE, "p": 1.0},
             {"name": "powerline", "rate": RATE, "p": 1.0}, {"name": "noise", "key": "signal"}, {"name": "mask_time"},
             {"name": "drop_leads"}, {"name": "normalize_signal"}]
    change = compose(steps)
    one, same, other = (change({"signal": x}, philox(seed, 9))["signal"] for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other) and one.shape == (250, LEADS) and one.dtype == np.float32
    for wrong, message in [({"name": "drop_leads", "p": 1.5}, "drop_leads: p: 1.5"),
                           ({"name": "mask_time", "count": 0}, "mask_time: count"),
                           ({"name": "normalize_signal", "per": "beat"}, "per 'beat' is not"),
                           ({"name": "pad_signal", "length": 3, "where": "a"}, "where 'a' is not"),
                           ({"name": "scale_signal", "low": 0}, "scale_signal: low: 0"), ({"name": "baseline_wander"}, "rate")]:
        with pytest.raises(ValueError, match=f"transforms\\[0\\]: .*{message}"):
            compose([wrong])
