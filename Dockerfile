# decametre in a container, for NVIDIA GPUs and the CPU, or for the CPU alone (a fifth of the size):
#
#   docker build -t decametre .
#   docker build -t decametre:cpu --build-arg TORCH_INDEX=URL .
#   docker run --rm --gpus all -v "$PWD:/data" decametre sharpen PRODUCT.SAFE.zip sharp.tif
#   docker run --rm -v "$PWD:/data" decametre:cpu sharpen PRODUCT.SAFE.zip sharp.tif
#
# TORCH_INDEX is the address of torch's CPU builds, which PyTorch's installation page states; by
# default pip installs the build with CUDA. EXTRAS are the extras of decametre.
FROM python:3.12-slim-bookworm AS build
ARG TORCH_INDEX=
ARG EXTRAS=all
WORKDIR /src
RUN python -m venv /opt/decametre
ENV PATH=/opt/decametre/bin:$PATH
RUN pip install --no-cache-dir torch torchvision ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"}
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
COPY examples examples
RUN pip install --no-cache-dir ".[${EXTRAS}]"

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="decametre" \
      org.opencontainers.image.description="Sentinel-2 super-resolution to 10 m, and land cover" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/decametre /opt/decametre
ENV PATH=/opt/decametre/bin:$PATH \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1
# Results belong to this user. `--user "$(id -u):$(id -g)"` makes them yours.
RUN useradd --create-home --uid 1000 decametre
USER decametre
WORKDIR /data
ENTRYPOINT ["decametre"]
CMD ["--help"]
