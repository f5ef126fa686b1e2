# The last stage is the serving image: no torch, no transformers, not root. `--target offline` is that
# of the offline commands: build, publish, refresh, events archive.
FROM python:3.11-slim AS build
WORKDIR /src
# What is used: a smaller image goes without signed bundles, or bundles on S3.
ARG EXTRAS=serve,signatures,s3
RUN python -m venv /opt/longtail
# Dependencies before the code, so that a change of code reuses this layer.
COPY pyproject.toml constraints.txt README.md LICENSE longtail.py ./
RUN mkdir app model_store offline loadtest \
 && touch app/__init__.py model_store/__init__.py \
 && /opt/longtail/bin/pip install --no-cache-dir --constraint constraints.txt ".[$EXTRAS]"
COPY model_store model_store
COPY app app
# Only the two packages that serve: `longtail` shows the commands of those that are there.
RUN /opt/longtail/bin/pip install --no-cache-dir --no-deps --force-reinstall .

FROM python:3.11-slim AS offline
WORKDIR /src
# For the CPU's build of torch: docs/index.md.
ARG PIP_EXTRA_INDEX_URL
RUN python -m venv /opt/longtail
COPY pyproject.toml constraints.txt README.md LICENSE longtail.py ./
RUN mkdir app model_store offline loadtest \
 && touch app/__init__.py model_store/__init__.py offline/__init__.py \
 && /opt/longtail/bin/pip install --no-cache-dir --constraint constraints.txt '.[serve,signatures,s3,offline]'
COPY model_store model_store
COPY app app
COPY offline offline
RUN /opt/longtail/bin/pip install --no-cache-dir --no-deps --force-reinstall . \
 && useradd --system --uid 10001 --gid 0 --no-create-home longtail \
 && install -d -o longtail -g 0 -m 2770 /var/lib/longtail/bundles /var/lib/longtail/store /builds
ENV PATH=/opt/longtail/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LONGTAIL_BUNDLES_DIR=/var/lib/longtail/bundles \
    LONGTAIL_STORE_DIR=/var/lib/longtail/store
USER 10001
WORKDIR /builds
CMD ["longtail", "--help"]

FROM python:3.11-slim
# Group 0 may write what the user may: some clusters run images under an arbitrary user id of that
# group. Nothing else is written, so that the root file system may be read-only.
RUN useradd --system --uid 10001 --gid 0 --no-create-home longtail \
 && install -d -o longtail -g 0 -m 2770 /var/lib/longtail/bundles /var/lib/longtail/store
COPY --from=build /opt/longtail /opt/longtail
ENV PATH=/opt/longtail/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LONGTAIL_HOST=0.0.0.0 \
    LONGTAIL_BUNDLES_DIR=/var/lib/longtail/bundles \
    LONGTAIL_STORE_DIR=/var/lib/longtail/store
USER 10001
VOLUME ["/var/lib/longtail"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=2s --start-period=300s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
CMD ["longtail", "serve"]
