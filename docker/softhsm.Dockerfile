# The HSM worker beside a software token, for tests and the demo: as a sidecar (the default command), or as a network HSM,
# where p11-kit serves the token to processes outside.
#
#   docker build --file docker/softhsm.Dockerfile <folder with the program pkcs11-hsm-worker>
#
# BASE: Debian 12 or newer, with a C library not older than the one that the program was built with.
# tests/setup/docker builds all this, the base too where none can be pulled.
ARG BASE=debian:bookworm-slim
FROM ${BASE}

RUN apt-get update \
    && apt-get install --yes --no-install-recommends softhsm2 p11-kit \
    && rm -rf /var/lib/apt/lists/*

COPY pkcs11-hsm-worker /usr/local/bin/

# Whoever runs it mounts SoftHSM's configuration and tokens, and names the configuration by SOFTHSM2_CONF.
USER 65532:65532
ENTRYPOINT ["pkcs11-hsm-worker"]
CMD ["listen", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--socket", "/run/hsm/worker.sock"]
