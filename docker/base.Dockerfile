# What the programs of docker/Dockerfile need of Debian, in an otherwise empty root: its BASE where none can be pulled.
ARG DEBIAN=debian:trixie-slim
FROM ${DEBIAN} AS unpacked
WORKDIR /root-folder
RUN apt-get update \
    && (cd /tmp && apt-get download libc6 libgcc-s1 ca-certificates) \
    && mkdir -p etc/ssl/certs var/lib/dpkg/status.d \
    && for package in /tmp/*.deb; do \
        dpkg-deb --extract "$package" . \
        # By this a scanner knows what is here.
        && dpkg-deb --field "$package" >"var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)" \
        || exit 1; \
    done \
    # Where all of it is below usr/, programs still look for their loader at the root.
    && for folder in lib lib64; do \
        if [ -d "usr/$folder" ] && [ ! -e "$folder" ]; then ln -s "usr/$folder" "$folder"; fi; \
    done \
    && cat usr/share/ca-certificates/mozilla/*.crt >etc/ssl/certs/ca-certificates.crt \
    && echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >etc/passwd \
    && echo 'nonroot:x:65532:' >etc/group

FROM scratch
COPY --from=unpacked /root-folder/ /
