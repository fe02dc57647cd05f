"""The canary's side: which users it answers, by a salted hash of the user id alone."""

from hashlib import blake2b

_HASHES = 2**64


def on_canary_side(user_id: str, salt: str, share: float) -> bool:
    """Whether a user is on the canary's side; the same on every worker of every replica.

    A user has one place in [0, 1), by id and salt. Those below the share are on the canary's
    side, so a growing share only adds users. Another salt shuffles everyone.

    Args:
        user_id: as in the request; no record is needed.
        salt: of the desired state.
        share: of users, 0 to 1. Over N users the share found differs from it by chance alone,
            with a standard deviation of sqrt(share (1 - share) / N).

    Returns:
        True: the canary answers.
    """
    # A keyed hash: no user id can be chosen so that it spells another salt's input.
    digest = blake2b(user_id.encode(), digest_size=8, key=salt.encode()).digest()
    return int.from_bytes(digest, "big") < share * _HASHES
