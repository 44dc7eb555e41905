# The HSM worker with a software token, for tests and the demo. It can be a sidecar (the default command), a simulated
# network HSM (p11-kit serves the token to processes outside), or the image from which a library is copied.
#
#   docker build --file docker/softhsm.Dockerfile <folder with the program pkcs11-hsm-worker>
#
# BASE: Debian 12 or newer, with a C library not older than the one that the program was built with.
# tests/setup/docker builds this image for tests, docker/build for use. Both make the base if it cannot be pulled.
ARG BASE=debian:trixie-slim
FROM ${BASE}

RUN apt-get update \
    && apt-get install --yes --no-install-recommends softhsm2 p11-kit \
    && rm -rf /var/lib/apt/lists/*

# For the chart's `copy`, which follows links: SoftHSM's library and the libraries that it needs and that docker/Dockerfile's
# image lacks. LD_LIBRARY_PATH must name the folder into which they are copied.
RUN mkdir /opt/softhsm \
    && ln -s /usr/lib/softhsm/libsofthsm2.so /opt/softhsm/ \
    && ldd /usr/lib/softhsm/libsofthsm2.so | awk '$3 ~ "^/" && $1 !~ "^lib(c|m|gcc_s)[.]so" { print $3 }' \
        | xargs --no-run-if-empty ln -s --target-directory=/opt/softhsm

COPY pkcs11-hsm-worker /usr/local/bin/

# To run it, mount SoftHSM's configuration and tokens, and set SOFTHSM2_CONF to the path of the configuration.
USER 65532:65532
ENTRYPOINT ["pkcs11-hsm-worker"]
CMD ["listen", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--socket", "/run/hsm/worker.sock"]
