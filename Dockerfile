# One image for server, proxy and client: `docker run framework-relay server --listen 0.0.0.0:5000`.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
# fast,load: also the load generator (examples/load)
ARG EXTRAS=fast
WORKDIR /src
RUN python -m venv /opt/relay
COPY pyproject.toml README.md LICENSE ./
COPY protocol protocol
COPY relay relay
RUN /opt/relay/bin/python -m pip install --no-cache-dir ".[${EXTRAS}]"

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/relay /opt/relay
ENV PATH=/opt/relay/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
# 3128 the proxy, 5000 the emulated Framework Server
EXPOSE 3128 5000
ENTRYPOINT ["relay"]
CMD ["--help"]
