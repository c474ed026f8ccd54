#!/usr/bin/env bash
# Runs on every worker of a TPU slice; launch/tpu_vm.py copies the project there and calls it from the home folder.
#
#   tpu_worker.sh setup [BUCKET]     a Python, the project with TPU support, and the bucket mounted at ~/bucket
#   tpu_worker.sh run FLAGS...       python -m mmssr_jax.main FLAGS, as one process of the slice; log in run.log
set -euo pipefail

project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$project/.venv"
bucket_folder="$HOME/bucket"

setup() {
  # The image's own Python may be older than 3.11; uv brings one.
  python3 -m pip install --quiet --user uv
  "$HOME/.local/bin/uv" venv --quiet --clear --python 3.12 "$venv"
  "$HOME/.local/bin/uv" pip install --quiet --python "$venv/bin/python" --editable "${project}[tpu]"
  if [[ -n "${1:-}" ]]; then
    mount_bucket "$1"
  fi
}

mount_bucket() {  # https://cloud.google.com/storage/docs/gcsfuse-install
  if ! command -v gcsfuse > /dev/null; then
    local key=/usr/share/keyrings/cloud.google.asc packages=https://packages.cloud.google.com/apt
    curl --silent --fail "$packages/doc/apt-key.gpg" | sudo tee "$key" > /dev/null
    echo "deb [signed-by=$key] $packages gcsfuse-$(lsb_release -c -s) main" \
      | sudo tee /etc/apt/sources.list.d/gcsfuse.list > /dev/null
    sudo apt-get update -qq
    sudo apt-get install -qq -y gcsfuse
  fi
  mkdir -p "$bucket_folder"
  if ! mountpoint -q "$bucket_folder"; then
    gcsfuse --implicit-dirs "$1" "$bucket_folder"
  fi
}

metadata() {
  curl --silent --fail --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}

# Tells mmssr_jax.parallel.hosts who the other processes are. An endpoint is a name, or name:id:address.
join_slice() {
  local endpoints count
  endpoints="$(metadata worker-network-endpoints)"
  count="$(tr ',' '\n' <<< "$endpoints" | wc -l)"
  if (( count > 1 )); then
    JAX_COORDINATOR_ADDRESS="$(cut -d, -f1 <<< "$endpoints" | awk -F: '{ print $NF }'):8482"
    JAX_NUM_PROCESSES="$count"
    JAX_PROCESS_ID="$(metadata agent-worker-number)"
    export JAX_COORDINATOR_ADDRESS JAX_NUM_PROCESSES JAX_PROCESS_ID
  fi
}

run() {
  join_slice
  cd "$HOME"
  # The config's path is meant from the project's folder, all others from the home folder.
  local flags=()
  for flag in "$@"; do
    flags+=("${flag/#--config=configs\//--config=$project/configs/}")
  done
  "$venv/bin/python" -m mmssr_jax.main "${flags[@]}" 2>&1 | tee "$project/run.log"
}

case "${1:-}" in
  setup | run) "$@" ;;
  *) echo "error: expected 'setup' or 'run', got '${1:-}'" >&2; exit 2 ;;
esac
