# The program with the shipped model, for a machine without a GPU; docs/install.md says how to run it.
FROM python:3.11-slim-bookworm AS build

# torch without CUDA, about 3 GB less
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_EXTRA_INDEX_URL=$TORCH_INDEX
WORKDIR /src
RUN python -m venv /opt/pp1

# The dependencies are a layer of their own, which a change of the code leaves as it is.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && /opt/pp1/bin/pip install -c constraints.txt -r requirements.txt

COPY MANIFEST.in README.md CHANGELOG.md LICENSE ./
COPY conf conf
COPY ui ui
COPY hydra_plugins hydra_plugins
COPY pp1_orchestrator pp1_orchestrator
RUN /opt/pp1/bin/pip install --no-deps . && /opt/pp1/bin/pp1 --version


FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="PP1 Orchestrator" \
      org.opencontainers.image.source="https://github.com/pp1-orchestrator/pp1-orchestrator" \
      org.opencontainers.image.licenses="Apache-2.0"

RUN useradd --create-home --uid 10001 pp1
COPY --from=build /opt/pp1 /opt/pp1
COPY deploy/healthcheck.py /opt/healthcheck.py
ENV PATH=/opt/pp1/bin:$PATH PYTHONUNBUFFERED=1

# Runs leave their files in outputs/, weights are looked for in pp1-models/.
USER 10001
WORKDIR /home/pp1

EXPOSE 7860
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "/opt/healthcheck.py"]
ENTRYPOINT ["pp1"]
