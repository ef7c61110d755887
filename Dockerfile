# The image of cairn-node, cairn and cairn-operator: programs, the libraries they load, a few small
# files. No shell, no package manager, nobody to become. The first stage makes its files with the
# very command that makes the image where no registry can be reached (`cargo xtask image`).

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo xtask image --files /image

FROM scratch
LABEL org.opencontainers.image.title="cairn" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/cairn-db/cairn"
COPY --from=build /image /
USER 10001:10001
CMD ["cairn-node", "--help"]
