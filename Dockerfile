# The serving image: the service and the core it stands on; no torch, no offline pipeline.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/choirrec
COPY pyproject.toml constraints.txt LICENSE ./
COPY proto proto
COPY model model
COPY service service
RUN /opt/choirrec/bin/pip install --no-cache-dir -c constraints.txt ".[service,cpu]"

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/choirrec --create-home choirrec
COPY --from=build /opt/choirrec /opt/choirrec
ENV PATH=/opt/choirrec/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A bundle is copied into a private store below this folder before it is checked and mapped.
WORKDIR /var/lib/choirrec
USER choirrec
# 8080 scores, 9100 is for the operator: administration, probes and metrics.
EXPOSE 8080 9100
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9100/health/live', timeout=2)"]
ENTRYPOINT ["choirrec-serve"]
CMD ["run"]
