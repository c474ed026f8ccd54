# docker build -f launch/docker/tpu.Dockerfile -t REGISTRY/mmssr:tpu . && docker push REGISTRY/mmssr:tpu
# For launch/gke.py. On a TPU VM, launch/tpu_vm.py needs no image.
FROM python:3.12-slim
WORKDIR /mmssr_jax
COPY . .
RUN pip install --no-cache-dir -e '.[tpu]'
# As root: the TPU's devices belong to it.
ENTRYPOINT ["python", "-m", "mmssr_jax.main"]
