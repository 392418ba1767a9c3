# The gateway in a container: the image holds the binary, OpenSSL, CA certificates and what the base
# brings.
#
#   docker build --tag bifrost .
#   docker run --network host --volume ./gateway.yaml:/etc/bifrost/gateway.yaml:ro \
#       --volume bifrost:/var/lib/bifrost bifrost
#
# The host's network, because the gateway serves on loopback alone unless its configuration says
# otherwise. --stop-timeout 45 leaves its sinks time to flush (the drain limit is 30 s).
#
# Both bases have to have the same C library, the second no older than the first.
ARG BUILD_IMAGE=docker.io/library/rust:1.95-slim-bookworm
ARG RUN_IMAGE=docker.io/library/debian:12-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /source
COPY . .
RUN scripts/install.sh build \
 && cargo build --locked --release --package bifrost \
 && install -D --mode 0755 target/release/bifrost /image/usr/local/bin/bifrost
# OpenSSL, which a slim base doesn't have: the libraries that were linked, where the loader looks.
RUN ldd target/release/bifrost | awk '$1 ~ /^lib(ssl|crypto)\./ {print $3}' | while read -r library; do \
        install -D --mode 0644 "$library" "/image/usr/lib/$(cc -print-multiarch)/${library##*/}" || exit 1; \
    done
# Taken over below with their owner: the mount points, for a base without a shell to make them.
RUN install --directory --owner 10001 --group 10001 --mode 0750 /image/var/lib/bifrost \
 && install --directory /image/etc/bifrost
RUN [ -s /etc/ssl/certs/ca-certificates.crt ] \
 || (apt-get update -q && apt-get install -q -y --no-install-recommends ca-certificates) \
 && install -D --mode 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt

FROM ${RUN_IMAGE}
COPY --from=build /image /
# A number, so that an orchestrator can tell that it isn't root. Serial ports: add their group
# (--group-add dialout) and the device (--device /dev/ttyUSB0).
USER 10001:10001
WORKDIR /var/lib/bifrost
VOLUME /var/lib/bifrost
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# One heap for all threads: see docs/decisions/0003-one-heap.md.
ENV MALLOC_ARENA_MAX=1
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["bifrost", "health", "--config", "/etc/bifrost/gateway.yaml"]
ENTRYPOINT ["bifrost"]
CMD ["run", "--config", "/etc/bifrost/gateway.yaml"]
