# Images of aisle. Build them with `make image`; docs/images.md says how tags, users and private registries work.
#
# BASE is any Debian image with Python 3.10, such as one that scripts/image_base.sh makes where public images can't be pulled.
ARG BASE=docker.io/library/python:3.10-slim-bookworm

# The pipeline environment. Some pins have no wheel, so a compiler is needed here, and here only.
FROM ${BASE} AS environment
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ > /dev/null \
    && rm -rf /var/lib/apt/lists/*
COPY locks/pipeline.txt /build/pipeline.txt
# The optional secret is a pip.conf with a registry of your own; it stays out of the image and its history.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    python3.10 -m venv --without-pip /opt/aisle \
    && python3.10 -m pip --python /opt/aisle/bin/python install --quiet --no-cache-dir --disable-pip-version-check \
        --use-pep517 --no-deps --requirement /build/pipeline.txt

# The program alone, so that changed code is a small layer above the environment's large one.
FROM environment AS program
COPY LICENSE setup.py pyproject.toml /build/aisle/
COPY components /build/aisle/components
COPY encoders /build/aisle/encoders
COPY few_shot /build/aisle/few_shot
COPY pipeline /build/aisle/pipeline
COPY schemas /build/aisle/schemas
COPY serving /build/aisle/serving
COPY similarity /build/aisle/similarity
COPY stores /build/aisle/stores
COPY studies /build/aisle/studies
COPY trainer_module /build/aisle/trainer_module
RUN python3.10 -m pip --python /opt/aisle/bin/python install --quiet --no-cache-dir --disable-pip-version-check \
        --no-deps --no-build-isolation --root /program --prefix /opt/aisle /build/aisle

# What every step of the pipeline runs in, and the program `aisle`.
FROM ${BASE} AS steps
# Kubeflow's launcher copies artifacts below these folders of the root, whoever the container runs as.
RUN groupadd --gid 1000 aisle \
    && useradd --uid 1000 --gid 1000 --create-home aisle \
    && install -d -o aisle -g aisle /aisle /gcs /minio /s3
COPY --from=environment /opt/aisle /opt/aisle
COPY --from=program /program/opt/aisle /opt/aisle
ENV PATH=/opt/aisle/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TF_CPP_MIN_LOG_LEVEL=3
ARG VERSION=unknown
LABEL org.opencontainers.image.title="aisle steps" \
    org.opencontainers.image.description="Pipeline steps and the program aisle" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}"
USER 1000:1000
WORKDIR /home/aisle
CMD ["aisle", "--help"]
