r"""A model behind an endpoint that speaks OpenAI's chat API.

    python -m mmssr_jax.main --config=configs/serve.py --workdir=runs/tiny --config.serve.model=mmssr_0

Serves the model that ships with the package, or the run that `--config.serve.model` names, on this machine alone until
Ctrl-C; ready in seconds with a tiny model, after a minute or two of compiling with a large one. Clients take
base_url="http://127.0.0.1:8000/v1" and any key. To serve other machines put a token into an environment variable and
name it: --config.serve.host=0.0.0.0 --config.serve.token_env=MMSSR_TOKEN; TLS is for a proxy in front of it.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    """Serves the shipped model."""
    c = ConfigDict()
    c.name = "serve: a model for clients of OpenAI's API"
    c.stages = ("serve",)
    c.base = "base_tiny"
    c.serve = {
        "model": "base",
        "host": "127.0.0.1",
        "port": 8000,
        "token_env": config_dict.placeholder(str),
        "max_tokens": 256,
        "prompts": {"rows": 8, "length_step": 128, "max_length": 2048, "images": (0, 1, 2, 4, 8)},
    }
    return c
