# The HSM worker beside a software token, for tests and the demo: as a sidecar (the default command), as a network HSM,
# where p11-kit serves the token to processes outside, or as the image that a library is copied from.
#
#   docker build --file docker/softhsm.Dockerfile <folder with the program pkcs11-hsm-worker>
#
# BASE: Debian 12 or newer, with a C library not older than the one that the program was built with.
# tests/setup/docker builds all this for tests, docker/build for use; both make the base where none can be pulled.
ARG BASE=debian:trixie-slim
FROM ${BASE}

RUN apt-get update \
    && apt-get install --yes --no-install-recommends softhsm2 p11-kit \
    && rm -rf /var/lib/apt/lists/*

# SoftHSM's library and, of what it needs, all that docker/Dockerfile's image lacks: for the chart's `copy`, which follows
# links. To be found beside the library takes LD_LIBRARY_PATH.
RUN mkdir /opt/softhsm \
    && ln -s /usr/lib/softhsm/libsofthsm2.so /opt/softhsm/ \
    && ldd /usr/lib/softhsm/libsofthsm2.so | awk '$3 ~ "^/" && $1 !~ "^lib(c|m|gcc_s)[.]so" { print $3 }' \
        | xargs --no-run-if-empty ln -s --target-directory=/opt/softhsm

COPY pkcs11-hsm-worker /usr/local/bin/

# Whoever runs it mounts SoftHSM's configuration and tokens, and names the configuration by SOFTHSM2_CONF.
USER 65532:65532
ENTRYPOINT ["pkcs11-hsm-worker"]
CMD ["listen", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--socket", "/run/hsm/worker.sock"]
