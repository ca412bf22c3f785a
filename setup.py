"""Describes the installable package, its program and the extras of each environment."""

from setuptools import find_packages, setup

PACKAGES = ["components", "encoders", "few_shot", "pipeline", "schemas", "serving", "similarity", "stores", "studies", "trainer_module"]

# schemas, few_shot, similarity and stores run in both environments, so what they need is what every app needs.
CORE = ["numpy", "scipy", "PyYAML", "pyahocorasick", "google-re2", "orjson", "google-crc32c"]
PIPELINE = [
    "tfx[kfp]==1.16.0",
    "apache-beam[gcp]>=2.59,<2.62",
    "scann",
    "kfp-kubernetes",
    "kfp-server-api",
    "tensorflow-serving-api",
    "grpcio-health-checking",
    "grpcio-reflection",
    "prometheus-client",
    "tornado",
    "safetensors",
    "h5py",
    "keras",
    "matplotlib",
    "pyarrow",
    "pyarrow-hotfix",
    "pillow",
    "defusedxml",
    "Jinja2",
    "urllib3",
    "setuptools<81",  # TFX's namespaces still import pkg_resources, which 81 drops.
]
# What the similarity server needs; it runs on newer Python than TFX, without TensorFlow. setuptools installs this repository there.
APPS = [
    "grpcio",
    "grpcio-health-checking",
    "grpcio-reflection",
    "prometheus-client",
    "protobuf",
    "scann",
    "setuptools",
    "tornado",
    "urllib3",
]
# A second approximate kind of similarity index, for comparison; similarity/hnsw_index.py says which.
HNSW = ["hnswlib"]
DEV = [
    *HNSW,  # Tested like the kinds that are installed by default; has no wheel, so it is compiled.
    "hypothesis",
    "import-linter",
    "mypy",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "ruff",
    "scikit-learn",
    "types-PyYAML",
]

setup(
    name="aisle",
    version="0.1.0",
    description="Puts noisy affiliate-feed products into a shop's own category tree with few human answers.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")]),
    package_data={
        "schemas": ["*.pbtxt", "*.proto", "*.yaml"],
        "components": ["**/*.html", "**/*.css"],
        "pipeline": ["**/*.yaml", "**/*.html"],
        "studies": ["**/*.html"],
    },
    install_requires=CORE,
    extras_require={"apps": APPS, "pipeline": PIPELINE, "hnsw": HNSW, "dev": DEV},
    entry_points={"console_scripts": ["aisle = pipeline.cli:main"]},
)
