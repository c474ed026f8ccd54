"""The one exception that is meant for the user's eyes."""


class UserError(Exception):
    """A user's mistake: the message is one clear line with the cause and the fix.

    `mmssr_jax.main` prints it without a traceback and exits with status 2.
    """


class NotMadeError(UserError):
    """What a stage makes is not there; a dry run continues if an earlier stage of the same run would have made it."""
