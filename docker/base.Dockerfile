# The Debian packages that the programs of docker/Dockerfile need, in an otherwise empty root. This is the BASE if none can
# be pulled.
ARG DEBIAN=debian:trixie-slim
FROM ${DEBIAN} AS unpacked
WORKDIR /root-folder
RUN apt-get update \
    && (cd /tmp && apt-get download libc6 libgcc-s1 ca-certificates) \
    && mkdir -p etc/ssl/certs var/lib/dpkg/status.d \
    && for package in /tmp/*.deb; do \
        dpkg-deb --extract "$package" . \
        # Scanners read the list of packages here.
        && dpkg-deb --field "$package" >"var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)" \
        || exit 1; \
    done \
    # If all libraries are below usr/, programs still look for their loader in /lib and /lib64.
    && for folder in lib lib64; do \
        if [ -d "usr/$folder" ] && [ ! -e "$folder" ]; then ln -s "usr/$folder" "$folder"; fi; \
    done \
    && cat usr/share/ca-certificates/mozilla/*.crt >etc/ssl/certs/ca-certificates.crt \
    && echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >etc/passwd \
    && echo 'nonroot:x:65532:' >etc/group

FROM scratch
COPY --from=unpacked /root-folder/ /
