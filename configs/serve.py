r"""An endpoint with OpenAI's chat API.

    python -m mmssr_jax.main --config=configs/serve.py --workdir=runs/tiny --config.serve.model=mmssr_0

Serves the run that `--config.serve.model` names, or the model that ships with the package, until Ctrl-C, and only to
this machine. A tiny model is ready in seconds, a large one after a minute or two of compilation. Clients use
base_url="http://127.0.0.1:8000/v1" and any key. To serve other machines, put a token into an environment variable and
name it: --config.serve.host=0.0.0.0 --config.serve.token_env=MMSSR_TOKEN. For TLS, use a reverse proxy. Pages of other
origins need --config.serve.cors=http://localhost:3000. Before the first request, shapes of common prompts are compiled:
text and one image, square, wide and tall, at the two shortest lengths (--config.serve.warm_up_images=0,1,2 for more).
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
        "cors": (),
        "warm_up_images": (0, 1),
        "prompts": {"rows": 8, "length_step": 128, "max_length": 2048, "images": (0, 1, 2, 4, 8)},
    }
    return c
