# Debian with a C compiler and the Rust toolchain in the build context. This is docker/Dockerfile's BUILDER if none can be
# pulled.
ARG DEBIAN=debian:trixie-slim
FROM ${DEBIAN}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY bin /usr/local/bin
COPY lib /usr/local/lib
