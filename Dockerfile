# The rollgym server as an image. How to build and run it, also without a Docker daemon: docs/docker.md

FROM python:3.11-slim AS build
WORKDIR /src
# compiled: a wheel that is not compiled is an error.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore ROLLGYM_BUILD=compiled
# First what changes seldom, so that a change of the sources reuses these layers. What pip installs is pinned by hash.
RUN apt-get update -qq \
    && apt-get install -qq --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY requirements/run.txt requirements/compile.txt requirements/
RUN python -m venv /opt/build \
    && python -m venv --without-pip /opt/rollgym \
    && /opt/build/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/compile.txt \
    && /opt/build/bin/python -m pip --python /opt/rollgym/bin/python install --no-cache-dir --require-hashes -r requirements/run.txt
COPY . .
RUN /opt/build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/build/bin/python -m pip --python /opt/rollgym/bin/python install --no-cache-dir --no-index --no-deps /wheels/*.whl

FROM python:3.11-slim
ENV PATH=/opt/rollgym/bin:$PATH PYTHONUNBUFFERED=1 ROLLGYM_HOST=0.0.0.0 ROLLGYM_PORT=8000 ROLLGYM_DATA=/data
# The numeric id is fixed so that a mounted data folder can be given to it: chown 10001 data
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin rollgym \
    && install -d -o rollgym -g rollgym /data
COPY --from=build /opt/rollgym /opt/rollgym
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=2)"]
ENTRYPOINT ["rollgym"]
CMD ["serve"]
