# One image for every verb of Helix. The build needs node for the web monitor and compilers for the rest; what runs needs
# libc and nothing else.
FROM node:20.20-bookworm-slim AS web
WORKDIR /web
COPY services/sidecar/web/package.json services/sidecar/web/package-lock.json services/sidecar/web/.npmrc ./
RUN npm ci
COPY services/sidecar/web/ ./
RUN npm run build

FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake g++ make libssl-dev pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
COPY --from=web /web/dist services/sidecar/web/dist
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release -p helix \
    && install -D -m 0755 target/release/helix /out/helix

FROM debian:12.11-slim
# Time zones are compiled in; certificates are for https upstreams.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin helix \
    && install -d -o helix -g helix -m 0700 /var/lib/helix
COPY --from=build /out/helix /usr/local/bin/helix
USER helix
WORKDIR /var/lib/helix
# The spool of the ingest and the audit journal of each sidecar are here: volumes in production.
VOLUME /var/lib/helix
EXPOSE 4200
# Each service of docker-compose.yml names its own port; this one fits the ingest.
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s --retries=3 \
    CMD ["helix", "healthcheck", "--url", "http://127.0.0.1:4200/readyz"]
ENTRYPOINT ["helix"]
CMD ["--help"]
