# Prefect's server, its services, our worker and the registration, for compose.yaml and Kubernetes.
#
#     docker build -f deployments/worker.Dockerfile -t engine-bench-worker .
FROM python:3.12-slim-trixie

# Local sandboxes grade with Rust and keep what they grade in namespaces; psutil has no wheel for every platform.
RUN apt-get update \
    && apt-get install -y --no-install-recommends cargo gcc libc6-dev util-linux \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/engine-bench
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes -r requirements/lock.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .

# Where compose.yaml mounts volumes; a named volume takes over this owner.
RUN useradd --create-home engine-bench && install --directory --owner engine-bench /data /results
USER engine-bench
ENV PREFECT_SERVER_ANALYTICS_ENABLED=false PYTHONUNBUFFERED=1
CMD ["python", "-m", "deployments.worker"]
