"""The look of figures: sizes for a page, Okabe-Ito colors, which color-blind readers can tell apart."""

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
COLORS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK)
GREY = "#8C8C8C"
STYLE = {
    "font.size": 8, "font.family": "DejaVu Sans", "axes.titlesize": 9, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.labelsize": 8, "legend.fontsize": 7, "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.spines.top": False,
    "axes.spines.right": False, "axes.linewidth": 0.7, "lines.linewidth": 1.3, "lines.markersize": 4, "legend.frameon": False,
    "figure.constrained_layout.use": True, "savefig.bbox": "tight", "pdf.fonttype": 42}


def over_seeds(ax, x, found, **kwargs) -> None:
    """A line of the means of `found`, a list of values by seed for each x, with each seed's value as a faint dot."""
    import numpy as np

    kwargs = {"marker": "o"} | kwargs
    line = ax.plot(x, [np.mean(v) for v in found], **kwargs)[0]
    for one, values in zip(x, found):
        if len(values) > 1:
            ax.plot([one] * len(values), values, ".", ms=3, color=line.get_color(), alpha=0.45)
