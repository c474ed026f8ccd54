"""mmssr_jax: judge, score, select, train on and evaluate vision-language instruction data, in JAX."""

__version__ = "0.1.0"
