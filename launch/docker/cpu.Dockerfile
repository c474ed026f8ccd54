# docker build -f launch/docker/cpu.Dockerfile -t mmssr:cpu . && docker run --rm -v "$PWD/runs:/runs" mmssr:cpu \
#     --config=configs/tiny.py --workdir=/runs/tiny
FROM python:3.12-slim
WORKDIR /mmssr_jax
COPY . .
RUN pip install --no-cache-dir -e .
# Not root; give --user="$(id -u)" to own the files of a mounted folder.
USER 1000
ENTRYPOINT ["python", "-m", "mmssr_jax.main"]
