# syntax=docker/dockerfile:1

# On Alpine the default target is musl, so the binary is static and the final stage can be empty.
FROM rust:1.95.0-alpine AS build
# The toolchain of the image, whatever rust-toolchain.toml asks for besides the compiler.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin sidecarset && cp target/release/sidecarset /sidecarset

FROM scratch
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="sidecarset" \
      org.opencontainers.image.description="Admission webhook that puts sidecars into Kubernetes Pods by SidecarSet" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY LICENSE /LICENSE
COPY --from=build /sidecarset /sidecarset
# A number, so that a kubelet can check runAsNonRoot without a passwd file. Nothing is ever written to the file system.
USER 65532:65532
EXPOSE 10250 8081
ENTRYPOINT ["/sidecarset"]
