"""`python -m mmssr_jax` is the console command `mmssr`."""

from mmssr_jax.main import command

command()
