"""The one exception that is meant for the user's eyes."""


class UserError(Exception):
    """A mistake of the user's: the message is one clear line with the cause and the mend.

    `mmssr_jax.main` prints it without a traceback and exits with status 2.
    """
