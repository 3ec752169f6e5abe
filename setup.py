"""Packaging: lower bounds here, exact versions in constraints.txt."""

from setuptools import find_packages, setup

setup(
    name="mmrep",
    version="0.1.0",
    description="Representation learning across medical modalities, in JAX",
    python_requires=">=3.11",
    packages=find_packages(include=["mmrep", "mmrep.*"]),
    package_data={"mmrep.sweeps": ["page/*"]},
    package_dir={"": "."},  # an editable install by path: `import mmrep` beside the clone must not find the clone's own folder
    install_requires=[
        "jax>=0.10", "flax>=0.12", "optax>=0.2.8", "orbax-checkpoint>=0.12", "tensorflow-datasets>=4.9.10",
        "grain>=0.2.18", "array_record>=0.8", "ml-collections>=1.1", "einops>=0.8", "pillow>=11", "scikit-learn>=1.6", "threadpoolctl>=3.5",
        "numpy>=2.0", "scipy>=1.14", "tokenizers>=0.21", "pyarrow>=18", "matplotlib>=3.9",
    ],
    extras_require={
        "cuda": ["jax[cuda13]"],
        "tpu": ["jax[tpu]"],
        "trackers": ["tensorboardX>=2.6"],
        "wandb": ["wandb>=0.20"],
        "mlflow": ["mlflow-skinny>=2.20"],
        "slurm": ["submitit>=1.5.2"],
        "search": ["optuna>=4.5"],
        "medical": ["pydicom>=3", "imagecodecs>=2026.1.14", "nibabel>=5.3", "wfdb>=4.1", "tifffile>=2025.3.30", "h5py>=3.11",
                    "edfio>=0.4.18"],
        "slides": ["openslide-python>=1.4", "openslide-bin>=4"],  # LGPL
        "fast": ["simplejpeg>=1.9", "opencv-python-headless>=4.10"],
        "beam": ["apache-beam>=2.77"],  # without constraints.txt: wants older Pillow, protobuf and PyArrow
        "convert": ["safetensors>=0.5"],
        "dev": ["pytest>=8", "pytest-xdist>=3.6", "ruff>=0.9", "scikit-image>=0.25"],
    },
    entry_points={"console_scripts": ["mmrep = mmrep.cli:main"]},
)
