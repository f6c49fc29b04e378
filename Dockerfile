# ebb with its plugins, as a user without rights:
#   docker build -t ebb --build-arg EBB_COMMIT=$(git rev-parse --short HEAD) .
#   chown 10001 certs/server.key changefeed-secure.json   # the user in the container; ca.key stays outside
#   docker run --rm -p 30004:30004 -v ebb-staging:/var/lib/ebb \
#     -v ./certs/server.crt:/etc/ebb/certs/server.crt:ro -v ./certs/server.key:/etc/ebb/certs/server.key:ro \
#     -v ./changefeed-secure.json:/etc/ebb/changefeed-secure.json:ro -e EBB_SOURCE -e EBB_TARGET \
#     ebb fetch --mode failback --non-interactive --changefeeds-path changefeed-secure.json
# The staging folder must outlive the container: it holds rows that CockroachDB will not send again.

FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
ARG EBB_COMMIT=unknown
ENV EBB_COMMIT=$EBB_COMMIT
RUN cargo build --release --locked --bin ebb --package ebb --package ebb-postgres --package ebb-mysql --lib \
    && strip target/release/ebb target/release/libebb_postgres.so target/release/libebb_mysql.so

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/ebb --create-home --shell /usr/sbin/nologin ebb
COPY --from=build /build/target/release/ebb /usr/bin/ebb
COPY --from=build /build/target/release/libebb_postgres.so /build/target/release/libebb_mysql.so /usr/lib/ebb/
USER ebb
WORKDIR /etc/ebb
ENV EBB_STAGING_DIR=/var/lib/ebb
VOLUME /var/lib/ebb
EXPOSE 30004
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/ebb"]
CMD ["--help"]
