# docker build -f launch/docker/cuda.Dockerfile -t mmssr:cuda . && docker run --rm --gpus=all -v "$PWD/runs:/runs" \
#     mmssr:cuda --config=configs/sft_llava_ov.py --workdir=/runs/sft --stages=ingest,train \
#     --config.base=/runs/MODEL --config.pool.path=/runs/pool.json
# CUDA itself comes with jax[cuda13]; the machine needs only the driver and the NVIDIA container toolkit.
FROM python:3.12-slim
WORKDIR /mmssr_jax
COPY . .
RUN pip install --no-cache-dir -e '.[cuda]'
ENV XLA_PYTHON_CLIENT_MEM_FRACTION=0.92
# Not root; give --user="$(id -u)" to own the files of a mounted folder.
USER 1000
ENTRYPOINT ["python", "-m", "mmssr_jax.main"]
