# docker build -t ui . && docker run --gpus all -p 7860:7860 -t ui        the page, on a GPU if there is one
# docker build --target cpu -t ui-cpu .                                   the same without CUDA's gigabytes
# docker build --target train -t train .                                  for Vertex AI jobs and pipelines
# -e MODEL=llava-hf/llava-1.5-7b-hf loads a model of the hub, in 4 bits where there is a GPU
# -e AUTH=1 -v tutor:/data lets visitors log in and remembers them; without it the page is for strangers and keeps nothing

FROM python:3.11.13-slim-bookworm AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 GRADIO_ANALYTICS_ENABLED=False
# one home for whatever user the container runs as (`docker run --user`, OpenShift): without a name it would be /
ENV HOME=/home/tutor XDG_CACHE_HOME=/home/tutor/.cache
# folders for volumes: a new volume takes its owner and mode from here
RUN useradd --create-home --uid 1000 tutor && chmod 777 /home/tutor \
    && install -d -m 777 -o tutor -g tutor /data /home/tutor/.cache /home/tutor/.cache/huggingface
WORKDIR /app
COPY constraints.txt settings.ini setup.py pyproject.toml MANIFEST.in README.md LICENSE LICENSE-DATA.md ./
RUN grep '^torch==' constraints.txt > torch.txt

# the tested versions; torch alone decides between CUDA and CPU, and the rest follows. --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126
# takes it from elsewhere, for a driver or a card that PyPI's build does not know. Sizes: 0.2 GB for the CPU, 3 GB with CUDA.
FROM base AS cpu-packages
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --index-url "$TORCH_INDEX" -r torch.txt || pip install -r torch.txt
COPY sciencetutor sciencetutor
COPY nbs nbs
COPY configs configs
COPY pipelines pipelines
RUN pip install -c constraints.txt '.[serve,quant]'

FROM base AS gpu-packages
ARG TORCH_INDEX=https://pypi.org/simple
RUN pip install --index-url "$TORCH_INDEX" -r torch.txt
COPY sciencetutor sciencetutor
COPY nbs nbs
COPY configs configs
COPY pipelines pipelines
RUN pip install -c constraints.txt '.[serve,quant]'

# notebooks as programs: papermill, kfp's executor, and a compiler for what DeepSpeed builds at its first run
FROM gpu-packages AS train
RUN apt-get update && apt-get install -y --no-install-recommends g++=4:12.* ninja-build=1.11.* && rm -rf /var/lib/apt/lists/* \
    && pip install -c constraints.txt '.[train,track,deepspeed,quant,cloud,pipeline]'
USER 1000
CMD ["python", "-m", "sciencetutor.cloud.job", "--help"]

FROM cpu-packages AS cpu
COPY --chmod=755 deploy/serve.sh deploy/serve.sh
USER 1000
ENV MODEL=tutor
RUN python -c "from sciencetutor.models.core import resolve_model; resolve_model('tutor')" && chmod -R a+rwX /home/tutor
EXPOSE 7860 5000 5005
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/healthz', timeout=4)"]
CMD ["/app/deploy/serve.sh"]

FROM gpu-packages AS serve
COPY --chmod=755 deploy/serve.sh deploy/serve.sh
USER 1000
ENV MODEL=tutor
RUN python -c "from sciencetutor.models.core import resolve_model; resolve_model('tutor')" && chmod -R a+rwX /home/tutor
EXPOSE 7860 5000 5005
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/healthz', timeout=4)"]
CMD ["/app/deploy/serve.sh"]
